"""What binds the printed pages: cover, contents, running titles and page numbers, on a book of four small pages."""

from __future__ import annotations

import itertools
from pathlib import Path

import make_pdf
import pytest
import yaml
from pypdf import PdfReader
from pypdf.generic import Destination

from tests.browser.visiting import unavailable

ROOT = Path(__file__).parents[2]
PAGES = {"intro": ("", 1), "chapters/one": ("1. ", 3), "chapters/two": ("2. ", 2), "reference/last": ("", 1)}
"""Document -> number in its title, and pages that it fills."""
PAPER = {
    "title": "A Paper",
    "year": 2018,
    "authors": [{"family-names": name} for name in ("Ren", "Zeng", "Urtasun")],
}


def title_of(document: str) -> str:
    return f"Title of {document.rpartition('/')[2]}"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a table of contents, a citation and a built book."""
    root = tmp_path_factory.mktemp("project")
    parts = [
        {"caption": "The idea", "chapters": [{"file": "chapters/one"}, {"file": "chapters/two"}]},
        {"caption": "Reference", "chapters": [{"file": "reference/last"}]},
    ]
    (root / "_toc.yml").write_text(yaml.safe_dump({"format": "jb-book", "root": "intro", "parts": parts}))
    (root / "_config.yml").write_text(yaml.safe_dump({"title": "A book"}))
    citation = {"authors": [{"name": "The authors"}], "version": "1.2.3", "preferred-citation": PAPER}
    (root / "CITATION.cff").write_text(yaml.safe_dump(citation))
    for document, (number, pages) in PAGES.items():
        file = root / "html" / f"{document}.html"
        file.parent.mkdir(parents=True, exist_ok=True)
        heading = f"<h1>{f'<span>{number}</span>' if number else ''}{title_of(document)}<a class=headerlink>#</a></h1>"
        body = "<p style='break-after: page'>Text.</p>" * (pages - 1) + "<p>End.</p>"
        file.write_text(f"<title>{title_of(document)} - A book</title><article>{heading}{body}</article>")
    return root


@pytest.fixture(scope="module")
def printed(project: Path) -> PdfReader:
    target = project / "book.pdf"
    try:
        make_pdf.make_pdf(project, project / "html", target)
    except make_pdf.PrintError as error:
        unavailable(str(error))
    return PdfReader(target)


def lines_of(printed: PdfReader) -> list[list[str]]:
    return [page.extract_text().split("\n") for page in printed.pages]


def test_the_cover_names_the_book_the_paper_and_who_made_it(printed: PdfReader) -> None:
    cover = " ".join(lines_of(printed)[0])
    assert "A book" in cover
    assert "“A Paper” by Ren, Zeng and Urtasun (2018)" in cover
    assert "The authors, version 1.2.3" in cover


def test_the_contents_have_the_page_on_which_each_document_begins(printed: PdfReader) -> None:
    contents = " ".join(lines_of(printed)[1])
    marks = [mark for mark in printed.outline if isinstance(mark, Destination)]
    starts = [1 + printed.get_destination_page_number(mark) for mark in marks]
    assert starts == list(itertools.accumulate([3, 1, 3, 2]))
    for (document, (number, _)), start in zip(PAGES.items(), starts, strict=True):
        assert f"{number}{title_of(document)} {start}" in contents
    assert "The idea" in contents


def test_a_line_of_the_contents_leads_to_its_page(printed: PdfReader) -> None:
    targets = [annotation.get_object()["/Dest"][0].get_object() for annotation in printed.pages[1]["/Annots"]]
    numbers = [next(n for n, page in enumerate(printed.pages) if page.get_object() == target) for target in targets]
    assert numbers == [2, 3, 6, 8]


def test_every_page_but_the_cover_ends_with_its_title_and_its_number(printed: PdfReader) -> None:
    titles = [f"{number}{title_of(document)}" for document, (number, pages) in PAGES.items() for _ in range(pages)]
    feet = [" ".join(lines).strip() for lines in lines_of(printed)]
    assert not feet[0].endswith("1")
    for number, (foot, title) in enumerate(zip(feet[1:], ["Contents", *titles], strict=True), 2):
        assert foot.endswith((f"{title} {number}", f"{title}{number}")), foot


def test_what_a_page_draws_is_packed(printed: PdfReader) -> None:
    contents = [page["/Contents"].get_object() for page in printed.pages]
    assert {content.get("/Filter") for content in contents} == {"/FlateDecode"}
