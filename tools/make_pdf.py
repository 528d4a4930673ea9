"""Print the built book as one PDF: Chromium sets every page, pypdf binds them. No TeX is needed.

    python tools/make_pdf.py [HTML] [TARGET]

The pages need no network. Solutions are unfolded, a slider shows the picture that the page opens with, and links from
chapter to chapter lead to places in the same file.
"""

from __future__ import annotations

import argparse
import html
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from make_archive import title_of
from playwright.sync_api import Page, sync_playwright
from pypdf import PageObject, PdfReader, PdfWriter
from pypdf.generic import ArrayObject, DictionaryObject, FloatObject, NameObject, NullObject
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
# Code of drawings stays out, as on the screen, and pictures are not cut in two. Bookmarks lose the space where a
# heading wraps, so headings keep to one line.
STYLE = """
details.hide.above-input, .l2rw-copy, .l2rw-predict { display: none !important; }
.headerlink, #jb-print-toc, .toggle-button { display: none !important; }
figure, svg, img, .l2rw-playground, .admonition-title, tr, pre { break-inside: avoid; }
h1, h2, h3, h4 { white-space: nowrap; break-after: avoid; margin-top: 1.2em; }
h1 { font-size: 24pt !important; } h2 { font-size: 17pt !important; } h3, h4 { font-size: 14pt !important; }
* { transition: none !important; animation: none !important; }
"""
PAPER = {
    "format": "A4",
    "scale": 0.8,
    "margin": {"top": "18mm", "bottom": "18mm", "left": "18mm", "right": "18mm"},
    "print_background": True,
    "outline": True,
    "tagged": True,
    "display_header_footer": True,
    "header_template": "<span></span>",
}
FOOTER = """<div style="width: 100%; padding: 0 18mm; display: flex; justify-content: space-between; color: #555;
font: 8pt sans-serif"><span>{title}</span><span class="pageNumber"></span></div>"""


class PrintError(Exception):
    """The PDF cannot be made; the message says why and what to do."""


@dataclass(frozen=True)
class Chapter:
    """One document, printed."""

    document: str
    title: str
    reader: PdfReader


# --- printing --------------------------------------------------------------------------------------------------------


def print_chapter(page: Page, folder: Path, document: str) -> Chapter:
    """Print one page of the built book."""
    page.goto((folder / f"{document}.html").as_uri(), wait_until="load")
    page.add_style_tag(content=STYLE)
    page.evaluate(PREPARE)
    title = page.locator("article h1").first.evaluate("h => h.firstChild.textContent")
    footer = FOOTER.format(title=html.escape(title))
    return Chapter(document, title, PdfReader(BytesIO(page.pdf(footer_template=footer, **PAPER))))


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


def bind(chapters: list[Chapter], folder: Path, title: str) -> PdfWriter:
    """One file of all chapters, with their headings as bookmarks and their links inside it."""
    writer = PdfWriter()
    firsts = []
    for chapter in chapters:
        firsts.append(len(writer.pages))
        writer.append(chapter.reader, import_outline=True)
    targets = {}
    for chapter, first in zip(chapters, firsts, strict=True):
        address = (folder / f"{chapter.document}.html").as_uri()
        targets |= places(chapter.reader, address, writer.pages[first : first + len(chapter.reader.pages)])
    for chapter, first in zip(chapters, firsts, strict=True):
        address = (folder / f"{chapter.document}.html").as_uri()
        for page in writer.pages[first : first + len(chapter.reader.pages)]:
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


def make_pdf(root: Path, book: Path, target: Path) -> int:
    """Print the built `book` of the project at `root` to `target`; gives the number of pages."""
    if not (book / "intro.html").is_file():
        raise PrintError(f"there is no book in {book}: run 'make book' first")
    book = book.resolve()
    with blank_page() as page:
        documents = [name.removesuffix(".ipynb").removesuffix(".md") for name in parse_toc_yaml(root / "_toc.yml")]
        writer = bind([print_chapter(page, book, name) for name in documents], book, title_of(book))
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
