"""Put a new chapter in place that already has every part the book asks of one, and runs.

python tools/new_chapter.py 14_two_clean_sets "Two clean sets"
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from repository import bootstrap_source, with_bootstrap

FILE = re.compile(r"\d\d_[a-z][a-z0-9_]*")

TITLE = """\
# {title}

:::{{admonition}} The question
:class: tip
One question that a reader has at this point.

Paper: the section that it belongs to.
:::

At the end you can do something that you could not do before."""

SETUP = """\
# @title Setup
from l2rw_core.experiments import fit_each, grid
from l2rw_core.figures import COLOURS, figure, show
from l2rw_core.figures.curves import accuracy_curves
from l2rw_core.interactive import check_parameters
from l2rw_core.report.closing import above, hold
from l2rw_core.report.words import InShort

# the scale of the live runs
profile = "quick"  # @param ["quick"]
seed = 0  # @param {type: "integer"}"""

CHECKED = """\
# @title Check the parameters
check_parameters(["quick"], profile=profile, seed=seed)"""

IN_SHORT = """\
InShort(
    paper="What the paper says about this.",
    here="What came out here, with its numbers.",
    scale="Data, network, steps and trials.",
    believe="Whether to believe it.",
)"""

PICTURE = """\
cells = {cell.row: cell for cell in grid("table2", profile).cells}
live = fit_each({row: cells[row].trial(seed) for row in ("baseline", "l2rw")})
last = {row: record.last for row, record in live.items()}
fig, ax = figure(height=2.4)
ax.bar(list(last), list(last.values()), color=[COLOURS[row] for row in last])
ax.set(ylabel="test accuracy", ylim=(0, 1))
told = ", ".join(f"{row} {share:.0%}" for row, share in last.items())
show(fig, alt=f"Test accuracy: {told}.", caption=f"Live, seed {seed}.")"""

CURVES = "accuracy_curves({row: [record] for row, record in live.items()})"

EXERCISES = """\
## Exercises

{exercises}"""

EXERCISE = """\
```{{exercise}} Something to try
:label: ex-{chapter}-{number}
What to do.
```

```{{solution}} ex-{chapter}-{number}
:class: dropdown
What comes out, and why.
```"""

FALSIFY = """\
## What would show this wrong

An outcome of a run that would contradict this chapter."""

CLAIMS = """\
claims = {
    "reweighting ends above plain training": above(live["l2rw"].last, live["baseline"].last),
}

hold(claims, own=(profile, seed) != ("quick", 0), runs=live.values())"""


def skeleton(name: str, title: str, bootstrap: str) -> dict[str, Any]:
    """A chapter as notebook JSON."""
    chapter = int(name[:2])
    exercises = "\n\n".join(EXERCISE.format(chapter=chapter, number=k) for k in (1, 2, 3))
    cells = [
        _cell("title", TITLE.format(title=title)),
        _cell("setup", SETUP, "hide-input", "parameters", **NAMED_SETUP),
        _cell("checked", CHECKED, "remove-cell"),
        _cell("in-short", IN_SHORT, "remove-input"),
        _cell("picture", PICTURE, "hide-input"),
        _cell("curves", CURVES, code=True),
        _cell("exercises", EXERCISES.format(exercises=exercises)),
        _cell("falsify", FALSIFY),
        _cell("claims", CLAIMS, "claims", "hide-input"),
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return with_bootstrap({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}, bootstrap)


FOLDED = {"cellView": "form", "jupyter": {"source_hidden": True}}
"""Folded in Colab and in JupyterLab, as the tag folds it on the page."""

NAMED_SETUP = {"mystnb": {"code_prompt_hide": "Setup", "code_prompt_show": "Setup"}}
"""What the page writes on the fold. Colab reads it from the first line of the cell."""


def _cell(identity: str, source: str, *tags: str, code: bool = False, **metadata: Any) -> dict[str, Any]:
    """A cell of text, or one of code if it says so or has a tag."""
    folded = FOLDED if any(tag.startswith(("hide-", "remove-")) for tag in tags) else {}
    code = code or bool(tags)
    cell = {
        "cell_type": "code" if code else "markdown",
        "id": identity,
        "metadata": {**folded, **metadata, **({"tags": list(tags)} if tags else {})},
        "source": source.splitlines(keepends=True),
    }
    return {"execution_count": None, "outputs": [], **cell} if code else cell


def add_to_contents(toc: str, name: str) -> str:
    """The table of contents with the chapter after the last one."""
    lines = toc.splitlines(keepends=True)
    last = max(i for i, line in enumerate(lines) if "file: chapters/" in line)
    line = re.sub(r"chapters/\S+", f"chapters/{name}", lines[last])
    return "".join([*lines[: last + 1], line, *lines[last + 1 :]])


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Put a new chapter in place.")
    parser.add_argument("name", help="file name without its ending: two digits, then words joined by underscores")
    parser.add_argument("title", help="heading of the page")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1], help="folder of _toc.yml")
    options = parser.parse_args(arguments)
    path, toc = options.root / "chapters" / f"{options.name}.ipynb", options.root / "_toc.yml"
    if not FILE.fullmatch(options.name):
        parser.error(f"{options.name!r} is no name of a chapter; give one such as 14_two_clean_sets")
    if path.exists():
        parser.error(f"{path} is there already; choose another name")
    notebook = skeleton(options.name, options.title, bootstrap_source(options.root))
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
    toc.write_text(add_to_contents(toc.read_text(), options.name))
    print(f"wrote {path.relative_to(options.root)}, and added it to _toc.yml")
    return 0


if __name__ == "__main__":
    sys.exit(main())
