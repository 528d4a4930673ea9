"""The whole book as one PDF: every document, its headings as bookmarks, its formulas as text, links inside the file."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import make_pdf
import pytest
from pypdf import PdfReader
from test_book import CHAPTERS, DOCUMENTS
from visiting import soup, unavailable

ROOT = Path(__file__).parents[2]
IN_IT = [name for name in DOCUMENTS if not name.startswith("reference/api/")]


@pytest.fixture(scope="module")
def printed(book: Path, tmp_path_factory: pytest.TempPathFactory) -> PdfReader:
    """The bound book."""
    target = tmp_path_factory.mktemp("pdf") / "book.pdf"
    try:
        make_pdf.make_pdf(ROOT, book, target)
    except make_pdf.PrintError as error:
        unavailable(str(error))
    return PdfReader(target)


def first_pages(printed: PdfReader) -> dict[str, int]:
    """Bookmark of the first level -> number of its page."""
    marks = [mark for mark in printed.outline if not isinstance(mark, list)]
    return {mark.title: printed.get_destination_page_number(mark) for mark in marks}


def test_every_document_but_the_api_is_bookmarked_in_the_order_of_the_contents(book: Path, printed: PdfReader) -> None:
    heads = [soup(book / f"{name}.html").select_one("article h1") for name in IN_IT]
    titles = [head.find(string=str.strip, recursive=False).strip() for head in heads]  # a number has its own element
    assert list(first_pages(printed)) == titles
    assert list(first_pages(printed).values()) == sorted(first_pages(printed).values())


def test_pictures_formulas_and_solutions_are_in_it(printed: PdfReader) -> None:
    starts = [*first_pages(printed).values(), len(printed.pages)]
    chapter = "".join(page.extract_text() for page in printed.pages[starts[1] : starts[2]])
    assert re.search(r"^Solution\b", chapter, re.MULTILINE)
    assert "Show code cell source" not in chapter
    assert "Each claim with its number" in chapter
    lengths = dict(zip(IN_IT, (after - first for first, after in itertools.pairwise(starts)), strict=True))
    assert min(lengths[name] for name in CHAPTERS) >= 5


def test_a_long_table_begins_where_the_text_before_it_ends(printed: PdfReader) -> None:
    notation = printed.pages[first_pages(printed)["Notation"]].extract_text()
    assert "parameters of the network" in notation


def test_links_between_chapters_stay_in_the_file(printed: PdfReader) -> None:
    inside, to_files = 0, []
    for page in printed.pages:
        for annotation in page.get("/Annots", []):
            link = annotation.get_object()
            inside += "/Dest" in link
            address = str(link.get("/A", {}).get("/URI", ""))
            if address.startswith("file:") and address.split("#")[0].endswith(".html"):
                to_files.append(address)
    assert len(IN_IT) < len(DOCUMENTS)
    assert inside > 100
    assert to_files == []


def test_without_a_browser_it_says_what_is_needed(book: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(make_pdf, "BROWSERS", ("no-such-browser",))
    assert make_pdf.main([str(book), str(tmp_path / "book.pdf")]) == 1
    assert "install one of no-such-browser" in capsys.readouterr().err
    assert not (tmp_path / "book.pdf").exists()
