"""Print the built book as one PDF: Chromium sets every page, pypdf binds them. No TeX is needed.

    python tools/make_pdf.py [HTML] [TARGET]

The pages need no network. Solutions are unfolded, a slider shows the picture that the page opens with, and links from
chapter to chapter lead to places in the same file. A cover and the contents come first; every page but the cover has
the title of its document and its number in the file at its foot.
"""

from __future__ import annotations

import argparse
import html
import itertools
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import yaml
from playwright.sync_api import Page, sync_playwright
from pypdf import PageObject, PdfReader, PdfWriter
from pypdf.generic import ArrayObject, DictionaryObject, FloatObject, NameObject, NullObject
from sphinx_external_toc.api import SiteMap
from sphinx_external_toc.parsing import parse_toc_yaml

TOOLS = Path(__file__).resolve().parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# Everything open, and nothing left to load.
PREPARE = """async () => {
    for (const details of document.querySelectorAll('details:not(.hide)')) details.open = true;
    for (const hidden of document.querySelectorAll('.toggle-hidden')) hidden.classList.remove('toggle-hidden');
    for (const image of document.images) image.loading = 'eager';
    await document.fonts.ready;
    await new Promise(resolve => requestAnimationFrame(() => requestAnimationFrame(resolve)));
}"""
TITLE = """h => {
    const title = h.cloneNode(true);
    for (const link of title.querySelectorAll('.headerlink')) link.remove();
    return title.textContent.trim().replace(/\\s+/g, ' ');
}"""
# Code of drawings stays out, as on the screen, and so does what repeats on every page: symbols and how to cite.
# Pictures are not cut in two. What could scroll would not be cut at all, and leave its frame empty on the page before,
# so code wraps, and tables go on where a page ends. Bookmarks lose the space where a heading wraps, so headings keep to
# one line.
STYLE = """
details.hide.above-input, .l2rw-copy, .l2rw-predict, .l2rw-symbols, .l2rw-page-end { display: none !important; }
.headerlink, #jb-print-toc, .toggle-button { display: none !important; }
figure, svg, img, .l2rw-explore, .l2rw-playground, .admonition-title, .sd-card, tr { break-inside: avoid; }
pre, .highlight, div.admonition, div.cell, div.cell_input, div.cell_input *, div.cell_output {
  break-inside: auto; box-decoration-break: clone; overflow: visible !important; max-height: none !important;
}
.pst-scrollable-table-container, .table-wrapper, .output, .bd-article table {
  overflow: visible !important; break-inside: auto !important;
}
.bd-article table { display: table !important; }
pre { white-space: pre-wrap !important; }
p, li, pre { orphans: 3; widows: 3; }
.admonition-title { break-after: avoid; }
.l2rw-playground-place, .l2rw-playground-host { min-height: 0 !important; }
h1, h2, h3, h4 { white-space: nowrap; break-after: avoid; margin-top: 1.2em; }
h1 { font-size: 24pt !important; line-height: 1.25 !important; text-align: left !important; margin-top: 0 !important; }
h2 { font-size: 17pt !important; } h3, h4 { font-size: 14pt !important; }
.l2rw-line { margin: 4pt 0 12pt !important; }
* { transition: none !important; animation: none !important; }
"""
MARGIN = "18mm"
PAPER = {
    "format": "A4",
    "scale": 0.8,
    "margin": dict.fromkeys(("top", "bottom", "left", "right"), MARGIN),
    "print_background": True,
    "outline": True,
    "tagged": True,
}
BARE = {"format": "A4", "print_background": True}
FRONT = f"""<!DOCTYPE html><html lang="en"><meta charset="utf-8"><style>
@page {{ size: A4; margin: {MARGIN}; }}
body {{ margin: 0; font: 11pt/1.45 sans-serif; color: #222; }}
.cover {{ height: 255mm; display: flex; flex-direction: column; justify-content: center; break-after: page; }}
.cover h1 {{ font-size: 32pt; line-height: 1.15; margin: 0 0 8mm; }}
.cover p {{ margin: 0 0 3mm; font-size: 14pt; }} .cover small {{ margin-top: 12mm; font-size: 11pt; color: #555; }}
h2 {{ font-size: 20pt; margin: 0 0 6mm; }} h3 {{ font-size: 11pt; color: #555; margin: 5mm 0 1mm; break-after: avoid; }}
nav a {{ display: flex; color: inherit; text-decoration: none; padding: .6mm 0; }}
nav i {{ flex: 1; border-bottom: 1px dotted #999; margin: 0 2mm 1.4mm; }}
</style>"""
FEET = f"""<!DOCTYPE html><html lang="en"><meta charset="utf-8"><style>
@page {{ size: A4; margin: 0; }}
body {{ margin: 0; font: 8pt sans-serif; color: #555; }}
div {{ height: 296mm; break-after: page; position: relative; }}
p {{ position: absolute; bottom: 8mm; left: {MARGIN}; right: {MARGIN}; margin: 0; display: flex;
justify-content: space-between; }}
</style>"""


class PrintError(Exception):
    """The PDF cannot be made; the message says why and what to do."""


LEFT_OUT = "reference/api/"
"""Where pages lie that are looked up and not read: a hundred of them, made from docstrings."""


@dataclass(frozen=True)
class Chapter:
    """One document, printed."""

    document: str
    title: str
    """With its number, if it has one."""
    reader: PdfReader


@dataclass(frozen=True)
class Part:
    """Documents that stand under one caption of the contents, in their order."""

    caption: str
    documents: tuple[str, ...]


@dataclass(frozen=True)
class Work:
    """What the cover says."""

    title: str
    about: str
    made: str


def read_work(root: Path) -> Work:
    """From the settings of the book and CITATION.cff."""
    citation = yaml.safe_load((root / "CITATION.cff").read_text())
    paper = citation["preferred-citation"]
    people = " and ".join(", ".join(a["family-names"] for a in paper["authors"]).rsplit(", ", 1))
    about = f"A companion to “{paper['title']}” by {people} ({paper['year']})"
    authors = ", ".join(author["name"] for author in citation["authors"])
    config = yaml.safe_load((root / "_config.yml").read_text())
    return Work(config["title"], about, f"{authors}, version {citation['version']}")


def read_parts(root: Path) -> list[Part]:
    """The documents of the contents by part, without `LEFT_OUT`; those of a section after the one they belong to."""
    contents = parse_toc_yaml(root / "_toc.yml")
    first = contents.root.docname
    parts = [Part("", (_stem(first),))]
    for tree in contents.root.subtrees:
        parts.append(Part(tree.caption or "", tuple(_with_sections(contents, tree.items))))
    return parts


def _with_sections(contents: SiteMap, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        if not name.startswith(LEFT_OUT):
            yield _stem(name)
        for tree in contents[name].subtrees:
            yield from _with_sections(contents, tree.items)


def _stem(name: str) -> str:
    return name.removesuffix(".ipynb").removesuffix(".md")


# --- printing --------------------------------------------------------------------------------------------------------


def print_chapter(page: Page, folder: Path, document: str) -> Chapter:
    """Print one page of the built book."""
    page.goto((folder / f"{document}.html").as_uri(), wait_until="load")
    page.add_style_tag(content=STYLE)
    page.evaluate(PREPARE)
    title = page.locator("article h1").first.evaluate(TITLE)
    return Chapter(document, title, PdfReader(BytesIO(page.pdf(**PAPER))))


def print_front(page: Page, work: Work, parts: Sequence[Part], chapters: Sequence[Chapter], folder: Path) -> PdfReader:
    """Cover and contents. The numbers of the pages take their own length into account."""
    cover = (
        f"<section class=cover><h1>{html.escape(work.title)}</h1><p>{html.escape(work.about)}</p>"
        f"<small>{html.escape(work.made)}</small></section>"
    )
    lengths = [len(chapter.reader.pages) for chapter in chapters]

    def printed(own: int) -> PdfReader:
        starts = dict(zip([c.document for c in chapters], itertools.accumulate([own + 1, *lengths]), strict=False))
        titles = {chapter.document: chapter.title for chapter in chapters}
        lines = []
        for part in parts:
            lines += [f"<h3>{html.escape(part.caption)}</h3>"] if part.caption else []
            for name in part.documents:
                address = html.escape((folder / f"{name}.html").as_uri())
                line = f"<span>{html.escape(titles[name])}</span><i></i><span>{starts[name]}</span>"
                lines.append(f'<a href="{address}">{line}</a>')
        page.set_content(f"{FRONT}{cover}<nav><h2>Contents</h2>{''.join(lines)}</nav>")
        return PdfReader(BytesIO(page.pdf(**BARE, prefer_css_page_size=True)))

    return printed(len(printed(2).pages))


def print_feet(page: Page, titles: Sequence[str]) -> PdfReader:
    """The foot of each page: a running title, and the page's number in the file; nothing where the title is empty."""
    feet = (
        f"<div><p><span>{html.escape(title)}</span><span>{number}</span></p></div>" if title else "<div></div>"
        for number, title in enumerate(titles, 1)
    )
    page.set_content(FEET + "".join(feet))
    return PdfReader(BytesIO(page.pdf(format="A4", prefer_css_page_size=True)))


@contextmanager
def blank_page() -> Iterator[Page]:
    """A page of the system's Chromium, in light colours and without a network."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        raise PrintError(f"a browser is needed: install one of {', '.join(BROWSERS)}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_context(offline=True, color_scheme="light", reduced_motion="reduce").new_page()
        page.emulate_media(media="print")
        yield page
        browser.close()


# --- binding ---------------------------------------------------------------------------------------------------------


def bind(front: PdfReader, chapters: list[Chapter], folder: Path, title: str) -> PdfWriter:
    """One file of all chapters, with their headings as bookmarks and their links inside it."""
    writer = PdfWriter()
    writer.append(front, import_outline=False)
    firsts = []
    for chapter in chapters:
        firsts.append(len(writer.pages))
        writer.append(chapter.reader, import_outline=True)
    targets = {}
    for chapter, first in zip(chapters, firsts, strict=True):
        address = (folder / f"{chapter.document}.html").as_uri()
        targets |= places(chapter.reader, address, writer.pages[first : first + len(chapter.reader.pages)])
    address = ""
    addresses = {first: (folder / f"{c.document}.html").as_uri() for first, c in zip(firsts, chapters, strict=True)}
    for number, page in enumerate(writer.pages):
        address = addresses.get(number, address)
        for annotation in page.get("/Annots", []):
            lead_inside(annotation.get_object(), address, targets)
    writer.add_metadata({"/Title": title})
    writer.page_mode = "/UseOutlines"
    return writer


def places(reader: PdfReader, address: str, pages: list[PageObject]) -> dict[str, ArrayObject]:
    """Address of a page, and of the places in it that it links to itself -> where they are in the bound file."""
    found = {address: ArrayObject([pages[0].indirect_reference, NameObject("/Fit")])}
    for name, place in reader.named_destinations.items():
        page = pages[reader.get_destination_page_number(place)]
        position = [NameObject("/XYZ"), FloatObject(place.left), FloatObject(place.top), NullObject()]
        found[f"{address}#{name.removeprefix('/')}"] = ArrayObject([page.indirect_reference, *position])
    return found


def lead_inside(annotation: DictionaryObject, address: str, targets: dict[str, ArrayObject]) -> None:
    """Let a link of the page at `address` lead to its place in the bound file, where it has one."""
    action = annotation.get("/A", {})
    if "/Dest" in annotation:
        wanted = f"{address}#{str(annotation['/Dest']).removeprefix('/')}"
    elif "/URI" in action:
        wanted = str(action["/URI"])
    else:
        return
    # A place of another chapter that has no name in the PDF: its first page.
    target = targets.get(wanted) or targets.get(wanted.split("#")[0])
    if target is not None:
        annotation.pop("/A", None)
        annotation[NameObject("/Dest")] = target
    elif wanted.startswith("file:"):
        annotation.pop("/A", None)  # to a page that is left out


def make_pdf(root: Path, book: Path, target: Path) -> int:
    """Print the built `book` of the project at `root` to `target`; gives the number of pages."""
    if not (book / "intro.html").is_file():
        raise PrintError(f"there is no book in {book}: run 'make book' first")
    book = book.resolve()
    parts, work = read_parts(root), read_work(root)
    with blank_page() as page:
        chapters = [print_chapter(page, book, name) for part in parts for name in part.documents]
        front = print_front(page, work, parts, chapters, book)
        titles = ["", *["Contents"] * (len(front.pages) - 1)]
        titles += [chapter.title for chapter in chapters for _ in chapter.reader.pages]
        feet = print_feet(page, titles)
    writer = bind(front, chapters, book, work.title)
    for sheet, foot in zip(writer.pages, feet.pages, strict=True):
        sheet.merge_page(foot)
        sheet.compress_content_streams()  # merging has unpacked them
    writer.compress_identical_objects(remove_unreferenced=True)
    writer.write(target)
    return len(writer.pages)


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    root, build = TOOLS.parent, TOOLS.parent / "_build"
    parser = argparse.ArgumentParser(description="Print the built book as one PDF.")
    parser.add_argument("book", nargs="?", type=Path, default=build / "html", help="folder of the built pages")
    parser.add_argument("target", nargs="?", type=Path, default=build / "l2rw-book.pdf")
    given = parser.parse_args(arguments)
    try:
        pages = make_pdf(root, given.book, given.target)
    except PrintError as error:
        print(f"The PDF was not made: {error}", file=sys.stderr)
        return 1
    print(f"{given.target}: {pages} pages, {given.target.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
