"""Name what nothing uses in the package and in tools/. What tests alone use is unused: they are no reason to keep it.

python tools/unused.py
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from vulture import Vulture

CHECKED = ("l2rw_core", "tools")
USERS = ("benchmarks", "reference")
"""Folders whose Python counts as use, besides that of `CHECKED` and of the notebooks."""

CALLED_BY_OTHERS = {
    "__*__": "Python itself: names that are loaded late, and what they are listed as",
    "embed_dim_to_check": "torch's signature of multi_head_attention_forward",
    "inplace": "torch's signature of its activations",
    "norm_type": "torch's signature of embedding",
    "learning_rate": "a trait that playground.js reads",
    "_repr_html_": "IPython shows a value by it",
    "_render_traceback_": "IPython shows an error by it",
    "include": "IPython's signature of _repr_mimebundle_",
    "exclude": "IPython's signature of _repr_mimebundle_",
    "disabled": "a trait that ipywidgets draws",
    "_check_*": "traitlets calls validators",
    "training_step": "Lightning and transformers call it",
    "on_*": "Lightning and transformers call hooks",
    "write_step": "for people who log to TensorBoard, in a loop of their own",
    "external_attr": "zipfile reads it",
    "page_mode": "pypdf reads it",
    "format_labels": "pybtex calls it in a style of labels",
    "default_*_style": "pybtex reads them in a style",
    "has_content": "docutils reads it in a directive",
    "required_arguments": "docutils reads it in a directive",
    "setup": "Sphinx calls it in an extension",
}
"""Names that are used where nobody sees it, and by whom; a star stands for any letters."""


def notebooks(root: Path) -> Iterator[tuple[Path, str]]:
    """Each notebook, and the Python of its cells; a cell with a command of IPython's own is left out."""
    for path in sorted([*root.glob("*.ipynb"), *root.glob("chapters/*.ipynb"), *root.glob("reference/*.ipynb")]):
        cells = json.loads(path.read_text())["cells"]
        sources = ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        yield path, "\n".join(source for source in sources if "%pip" not in source)


def unused(root: Path, called_by_others: tuple[str, ...] = tuple(CALLED_BY_OTHERS)) -> list[str]:
    """What nothing uses, as lines that say where and what."""
    scan = Vulture(ignore_names=list(called_by_others))
    scan.scavenge([str(root / folder) for folder in (*CHECKED, *USERS) if (root / folder).is_dir()])
    for path, source in notebooks(root):
        scan.scan(source, filename=path)
    checked = tuple(root.resolve() / folder for folder in CHECKED)
    return [
        f"{path.relative_to(root.resolve())}:{item.first_lineno}: {item.typ} {item.name!r}"
        for item in scan.get_unused_code(min_confidence=60)
        if any((path := Path(item.filename).resolve()).is_relative_to(folder) for folder in checked)
    ]


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Name what nothing uses.")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1], help="the checkout")
    found = unused(parser.parse_args(arguments).root)
    for line in found:
        print(f"unused: {line}")
    if found:
        print("delete it, or name in tools/unused.py who uses it", file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
