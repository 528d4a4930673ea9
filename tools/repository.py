"""Put the repository's public address, and the cell that installs the package from it, wherever they belong.

    python tools/repository.py            # bring everything in line with pyproject.toml
    python tools/repository.py URL        # change the address everywhere
    python tools/repository.py --check    # say what disagrees, and change nothing
    python tools/repository.py --public   # the same, and refuse the placeholder: nothing is published under it

The address stands in `[project.urls]` of pyproject.toml. Whatever else names it is written from there: README,
CONTRIBUTING, CITATION.cff, and the first code cell of every notebook, which installs the package where it is missing.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

PLACES = re.compile(
    r"""(?P<before>  git\+ | git\ clone\  | ^repository-code:\ " | ^url:\ " | \]\((?=[^)\s]*/actions/workflows/) )
        (?P<address> https?://[^\s"'\\<>`)]+? ) (?= /actions/workflows/ | [\s"'\\<>`)] | \Z )""",
    re.MULTILINE | re.VERBOSE,
)
"""What stands in front of the address wherever a file names it."""

IN_PYPROJECT = re.compile(r'(?P<before>^Repository = ")(?P<address>[^"]*)', re.MULTILINE)

CELL_ID = "bootstrap"
CHAPTERS, ITS_MODULE = "chapters", "anywidget"
"""The extra that every notebook needs, and the module by which it is seen to be there."""
NEEDS = "needs-"
"""A cell with the tag ``needs-smote`` makes the first cell install the extra ``smote`` as well."""

MODULES = {"imbalanced-learn": "imblearn", "scikit-learn": "sklearn", "pyyaml": "yaml", "pillow": "PIL"}
"""Distributions that are imported under another name."""

CELL = """\
# @title Install the package, where it is missing
# As in an empty Colab runtime. It brings the recorded runs with it; nothing else of the repository is needed.
import os
from importlib import invalidate_caches
from importlib.util import find_spec

needed = {modules}
if None in map(find_spec, needed):
    os.environ["GIT_TERMINAL_PROMPT"] = "0"  # git asks for no name
    %pip install --quiet "{requirement}"
    invalidate_caches()
if missing := [name for name in needed if find_spec(name) is None]:
    raise ModuleNotFoundError(
        f"{{' and '.join(missing)}} could not be installed; pip says above why. "
        "{cause} "
        "In a clone of the repository, `pip install '.[{extras}]'` does the same."
    )\
"""
UNDECIDED = "`git+{address}` stands for an address that is not decided yet."
UNREACHED = "Are there a network, git, and a public repository at `git+{address}`?"


def current_address(root: Path) -> str:
    """The address that pyproject.toml names."""
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]["urls"]["Repository"]


def is_placeholder(url: str) -> bool:
    """Whether nobody can have a repository there."""
    return re.match(r"https?://([\w.-]+\.)?example\.(org|com|net)\b", url) is not None


def checked(url: str) -> str:
    """`url` without an ending that differs between hosts; ValueError if nobody could clone from it."""
    plain = url.strip().rstrip("/").removesuffix(".git")
    if not re.fullmatch(r"https?://[\w.-]+(:\d+)?(/[\w.-]+)+", plain):
        raise ValueError(f"{url!r} is no address of a repository; give one such as https://github.com/owner/name")
    return plain


# --- the cell --------------------------------------------------------------------------------------------------------


def requirement(root: Path, extras: Iterable[str] = ()) -> str:
    """What pip is asked for where a notebook runs: the package, what every chapter needs, and these extras."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    return f"{project['name']}[{','.join([CHAPTERS, *extras])}] @ git+{project['urls']['Repository']}"


def bootstrap_source(root: Path, extras: tuple[str, ...] = (), url: str | None = None) -> str:
    """Source of the first code cell of a notebook that needs these extras, besides what every chapter needs.

    It installs from `url`, by default the address in pyproject.toml.

    Raises:
        ValueError: if pyproject.toml has no such extra.
    """
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    known = project.get("optional-dependencies", {})
    if unknown := set(extras) - set(known):
        raise ValueError(f"pyproject.toml has no extra {', '.join(sorted(unknown))}; choose from {', '.join(known)}")
    names = [re.match(r"[\w.-]+", requirement)[0] for extra in extras for requirement in known[extra]]
    modules = ["l2rw_core", ITS_MODULE, *(MODULES.get(name, name.replace("-", "_")) for name in names)]
    address = url or project["urls"]["Repository"]
    cause = (UNDECIDED if is_placeholder(address) else UNREACHED).format(address=address)
    source = CELL.format(
        modules=json.dumps(modules),
        extras=",".join([CHAPTERS, *extras]),
        requirement=requirement(root, extras),
        cause=cause,
    )
    return put(PLACES, source, address)


def extras_of(notebook: dict[str, Any]) -> tuple[str, ...]:
    """The extras that the tags of a notebook's cells ask for."""
    tags = {tag for cell in notebook["cells"] for tag in cell["metadata"].get("tags", [])}
    return tuple(sorted(tag.removeprefix(NEEDS) for tag in tags if tag.startswith(NEEDS)))


def with_bootstrap(notebook: dict[str, Any], source: str) -> dict[str, Any]:
    """The notebook with `source` as its first code cell, which the pages of the book leave out."""
    cells = [cell for cell in notebook["cells"] if cell["id"] != CELL_ID]
    first = next((i for i, cell in enumerate(cells) if cell["cell_type"] == "code"), len(cells))
    cell = {
        "cell_type": "code",
        "execution_count": None,
        "id": CELL_ID,
        "metadata": {"cellView": "form", "jupyter": {"source_hidden": True}, "tags": ["remove-cell"]},
        "outputs": [],
        "source": source.splitlines(keepends=True),
    }
    return {**notebook, "cells": [*cells[:first], cell, *cells[first:]]}


# --- files -----------------------------------------------------------------------------------------------------------


def notebooks(root: Path) -> list[Path]:
    """The notebooks of the book."""
    return sorted([*root.glob("*.ipynb"), *root.glob("chapters/*.ipynb"), *root.glob("reference/*.ipynb")])


def texts(root: Path) -> list[Path]:
    """Other files that may name the address."""
    return sorted(path for end in ("*.md", "*.cff", "*.yml") for path in root.glob(end))


def put(pattern: re.Pattern[str], text: str, url: str) -> str:
    """`text` with `url` at every place that the pattern finds."""
    return pattern.sub(lambda found: found["before"] + url, text)


def in_line(root: Path, url: str) -> Iterator[tuple[Path, str]]:
    """Every file that must change for all to agree on `url`, with its new text; pyproject.toml first."""
    pyproject = root / "pyproject.toml"
    yield from _changed(pyproject, put(IN_PYPROJECT, pyproject.read_text(), url))
    for path in texts(root):
        yield from _changed(path, put(PLACES, path.read_text(), url))
    for path in notebooks(root):
        notebook = json.loads(path.read_text())
        wanted = with_bootstrap(notebook, bootstrap_source(root, extras_of(notebook), url))
        yield from _changed(path, put(PLACES, json.dumps(wanted, indent=1, ensure_ascii=False) + "\n", url))


def _changed(path: Path, text: str) -> Iterator[tuple[Path, str]]:
    if path.read_text() != text:
        yield path, text


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Bring everything that names the repository's address in line.")
    parser.add_argument("url", nargs="?", help="the new address; by default the one in pyproject.toml")
    parser.add_argument("--check", action="store_true", help="change nothing, fail if something would change")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1], help="folder of pyproject.toml")
    parser.add_argument("--public", action="store_true", help="as --check, and fail for the placeholder")
    options = parser.parse_args(arguments)
    options.check |= options.public
    try:
        url = checked(options.url or current_address(options.root))
        if options.public and is_placeholder(url):
            raise ValueError(f"{url} is a placeholder: `make repository URL=...` puts the public address in its place")
        changes = list(in_line(options.root, url))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for path, text in changes:
        print(f"{'out of line' if options.check else 'written'}: {path.relative_to(options.root)}")
        if not options.check:
            path.write_text(text)
    if options.check and changes:
        print("run `make repository`", file=sys.stderr)
    return int(options.check and bool(changes))


if __name__ == "__main__":
    sys.exit(main())
