"""Notebooks for readers, one of each page with code: plain Markdown, links into the book, and the first picture.

`build_book.py` makes them as its last step, or alone with ``--notebooks``. They lie in `_build/notebooks` as the pages
lie in the repository, so that the branch that is published from there has the paths which the launch buttons name.
"""

from __future__ import annotations

import base64
import html
import math
import re
import shutil
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import matplotlib
import nbformat
import resvg_py
import yaml
from nbformat.v4 import new_output
from plain_markdown import Book, Label, NotPlain, Page, Reader, Work, directives, headings, numbered
from pybtex.database import Entry, parse_file
from pybtex.richtext import Text
from repository import extras_of, is_placeholder, requirement

sys.path.append(str(Path(__file__).parent / "pages"))
from citation import pages_address

FOLDER = Path("_build", "notebooks")
FIGURE = re.compile(
    r'<figure class="l2rw-figure"[^>]*>(?P<svg><svg.*?</svg>)(?:<figcaption[^>]*>(?P<caption>.*?)</figcaption>)?',
    re.DOTALL,
)
INK, PAPER = "#1f2328", "#ffffff"
"""Colours of the stored picture, which does not know whether the page around it is light or dark."""
FONTS = Path(matplotlib.get_data_path(), "fonts", "ttf")
DENSITY = 2
"""Pixels of the stored picture for each that a screen is thought to have."""


class NotebookError(Exception):
    """A notebook cannot be made; the message says which and why."""


# --- what the pages know of each other -------------------------------------------------------------------------------


def read_book(root: Path, documents: Mapping[str, nbformat.NotebookNode], names: list[str], reader: Reader) -> Book:
    """Titles, numbers, labels and works of the book; `names` are all its documents, `documents` those with code."""
    numbers = chapter_numbers(root)
    texts = {name: texts_of(documents[name]) for name in documents}
    texts |= {name: [(root / f"{name}.md").read_text()] for name in names if name not in documents}
    labels: dict[str, Label] = {}
    for name in names:
        found = (one for text in texts[name] for one in directives(reader, text))
        labels.update(numbered(found, name, numbers.get(name)))
        labels.update(label for text in texts[name] for label in headings(reader, text, name))
    return Book(
        address=book_address(root),
        titles={name: next(filter(None, map(reader.title, texts[name])), name) for name in names},
        numbers=numbers,
        labels=labels,
        works=read_works(root),
    )


def texts_of(notebook: nbformat.NotebookNode) -> list[str]:
    """The cells of text."""
    return [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]


def chapter_numbers(root: Path) -> dict[str, int]:
    """Document -> number, through all numbered parts of the table of contents."""
    toc = yaml.safe_load((root / "_toc.yml").read_text())
    chapters = [c["file"] for part in toc.get("parts", []) if part.get("numbered") for c in part["chapters"]]
    return {name: number for number, name in enumerate(chapters, start=1)}


def book_address(root: Path) -> str:
    """Where the book is read; an address that nobody has decided yet stands for it.

    Raises:
        NotebookError: pyproject.toml does not say it.
    """
    urls = tomllib.loads((root / "pyproject.toml").read_text())["project"]["urls"]
    address = pages_address(urls) or (urls["Repository"] if is_placeholder(urls["Repository"]) else None)
    if address is None:
        raise NotebookError(
            f"where is the book of {urls['Repository']} read? Add `Documentation` to [project.urls] of pyproject.toml"
        )
    return address


def read_works(root: Path) -> dict[str, Work]:
    """The bibliography of the book, as it is cited."""
    entries = parse_file(root / "reference" / "references.bib").entries
    return {key: Work(_authors(entry), entry.fields["year"]) for key, entry in entries.items()}


def _authors(entry: Entry) -> str:
    people = entry.persons.get("author") or entry.persons["editor"]
    names = [str(Text.from_latex(" ".join([*person.prelast_names, *person.last_names]))) for person in people]
    return f"{names[0]} *et al.*" if len(names) > 2 else " and ".join(names)


# --- a notebook ------------------------------------------------------------------------------------------------------


AFTER_RESTART = "After a restart of the kernel, run from *Setup* on: a cell needs what the cells above it made."


def notebook_of(
    document: str, executed: nbformat.NotebookNode, book: Book, reader: Reader, seconds: float | None
) -> nbformat.NotebookNode:
    """An executed page as it is handed out: no MyST, and no outputs but its first picture."""
    page = Page(document, book, reader)
    name = document.rsplit("/", 1)[-1]
    colab = {"name": f"{name}.ipynb", "provenance": [], "toc_visible": True}
    made = nbformat.v4.new_notebook(metadata={**executed.metadata, "colab": colab})
    made.cells = [_cell(page, cell) for cell in executed.cells]
    heading = f"# {book.titles[document]}"
    if not made.cells[0].source.startswith(heading):
        raise NotebookError(f"{document} has to begin with its heading, {heading!r}")
    beginning = opening(document, book, seconds) + (f" {AFTER_RESTART}" if _has_setup(executed) else "")
    made.cells[0].source = beginning + made.cells[0].source.removeprefix(heading)
    if shown := next(_pictures(executed), None):
        next(cell for cell in made.cells if cell.id == shown.cell).outputs = _as_stored(shown)
    nbformat.validate(made)
    return made


def _cell(page: Page, cell: nbformat.NotebookNode) -> nbformat.NotebookNode:
    if cell.cell_type == "markdown":
        return nbformat.from_dict({**cell, "source": page.plain(cell.source, cell.id)})
    return nbformat.from_dict({**cell, "outputs": [], "execution_count": None})


def _has_setup(notebook: nbformat.NotebookNode) -> bool:
    return any("parameters" in cell.metadata.get("tags", []) for cell in notebook.cells)


def opening(document: str, book: Book, seconds: float | None) -> str:
    """The heading of a page with its number, and a line below it: minutes to run, and where the page is."""
    number = f"{book.numbers[document]}. " if document in book.numbers else ""
    minutes = max(1, math.ceil((seconds or 0) / 60))
    runs = f"About {minutes} minute{'' if minutes == 1 else 's'} to run on two cores. " if seconds else ""
    return f"# {number}{book.titles[document]}\n\n{runs}{book.link('This page in the book', document)}."


# --- the picture -----------------------------------------------------------------------------------------------------


class Picture(NamedTuple):
    """A figure of the recorded run; of a slider, its first."""

    cell: str
    svg: str
    caption: str
    words: str
    """What stands for it where no picture can be shown."""


def _pictures(executed: nbformat.NotebookNode) -> Iterator[Picture]:
    for cell in executed.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if found := FIGURE.search(data.get("text/html", "")):
                caption = html.unescape(re.sub(r"<[^>]+>", "", found["caption"] or ""))
                yield Picture(cell.id, found["svg"], caption, data["text/plain"])


def _as_stored(picture: Picture) -> list[nbformat.NotebookNode]:
    """Outputs that every program shows, also where it does not trust the notebook: pixels, and words."""
    width, height = (float(size) for size in re.search(r'viewBox="0 0 (\S+) (\S+)"', picture.svg).groups())
    png = base64.b64encode(as_png(picture.svg, round(width * DENSITY))).decode()
    size = {"image/png": {"width": round(width), "height": round(height)}}
    outputs = [
        new_output("display_data", data={"image/png": png, "text/plain": picture.words}, metadata=size),
        new_output("display_data", data={"text/markdown": picture.caption, "text/plain": picture.caption}),
    ]
    return outputs if picture.caption else outputs[:1]


def as_png(svg: str, width: int) -> bytes:
    """A figure of the book in pixels: dark on white, in the font that matplotlib measured it with."""
    inked = re.sub(r"var\(--[^;\"]*\)", PAPER, svg).replace("currentColor", INK)
    return bytes(
        resvg_py.svg_to_bytes(
            svg_string=inked,
            width=width,
            background=PAPER,
            skip_system_fonts=True,
            font_dirs=[str(FONTS)],
            font_family="DejaVu Sans",
            sans_serif_family="DejaVu Sans",
        )
    )


# --- all of them -----------------------------------------------------------------------------------------------------


def make(
    root: Path, names: list[str], executed: Mapping[str, nbformat.NotebookNode], seconds: Mapping[str, float]
) -> Path:
    """Write the notebooks of the book at `root`, and return their folder.

    Args:
        root: folder of `_toc.yml`.
        names: all documents of the book.
        executed: those with code, as they ran.
        seconds: how long they ran.

    Raises:
        NotebookError: one has something that nobody said how to write plainly, or the book's address is unknown.
    """
    config = yaml.safe_load((root / "_config.yml").read_text())
    reader = Reader(config["parse"]["myst_enable_extensions"])
    book = read_book(root, executed, names, reader)
    try:
        made = {name: notebook_of(name, ran, book, reader, seconds.get(name)) for name, ran in executed.items()}
    except NotPlain as error:
        raise NotebookError(str(error)) from None
    folder = root / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    for name, notebook in made.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.ipynb").write_text(nbformat.writes(notebook) + "\n")
    for_binder(root, folder, made.values())
    return folder


def for_binder(root: Path, folder: Path, made: Iterable[nbformat.NotebookNode]) -> None:
    """Say beside the notebooks what Binder is to install: their folder becomes a branch without the package."""
    wanted = sorted({extra for notebook in made for extra in extras_of(notebook)})
    (folder / ".binder").mkdir(parents=True)
    (folder / ".binder" / "requirements.txt").write_text(requirement(root, wanted) + "\n")
    if (version := root / ".binder" / "runtime.txt").is_file():
        shutil.copy(version, folder / ".binder")


def offer(folder: Path, html_folder: Path) -> None:
    """Put the notebooks where the pages offer their sources for download."""
    for file in folder.rglob("*.ipynb"):
        shutil.copy(file, html_folder / "_sources" / file.relative_to(folder))
