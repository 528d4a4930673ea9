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
Time to run: see {{doc}}`../status`.
:::

At the end you can do something that you could not do before."""

PARAMETERS = """\
profile = "quick"  # the scale of the live runs
seed = 0"""

EXPERIMENT = """\
from l2rw_core.experiments import fit, grid
from l2rw_core.figures.curves import accuracy_curves

cells = {cell.row: cell for cell in grid("table2", profile).cells}
live = {row: fit(cells[row].trial(seed)) for row in ("baseline", "l2rw")}
accuracy_curves({row: [record] for row, record in live.items()})"""

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
from l2rw_core.report.closing import above, hold

claims = {
    "reweighting ends above plain training": above(live["l2rw"].last, live["baseline"].last),
}

hold(claims)"""


def skeleton(name: str, title: str, bootstrap: str) -> dict[str, Any]:
    """A chapter as notebook JSON."""
    chapter = int(name[:2])
    exercises = "\n\n".join(EXERCISE.format(chapter=chapter, number=k) for k in (1, 2, 3))
    cells = [
        _cell("title", TITLE.format(title=title)),
        _cell("parameters", PARAMETERS, "parameters"),
        _cell("experiment", EXPERIMENT, "hide-input"),
        _cell("exercises", EXERCISES.format(exercises=exercises)),
        _cell("falsify", FALSIFY),
        _cell("claims", CLAIMS, "claims"),
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return with_bootstrap({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}, bootstrap)


FOLDED = {"cellView": "form", "jupyter": {"source_hidden": True}}
"""Folded in Colab and in JupyterLab, as the tag folds it on the page."""


def _cell(identity: str, source: str, tag: str = "") -> dict[str, Any]:
    """Code cells have a tag here, and text has none."""
    cell = {
        "cell_type": "code" if tag else "markdown",
        "id": identity,
        "metadata": ({"tags": [tag]} | (FOLDED if tag.startswith("hide-") else {})) if tag else {},
        "source": source.splitlines(keepends=True),
    }
    return {"execution_count": None, "outputs": [], **cell} if tag else cell


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
