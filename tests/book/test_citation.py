"""What stands under "Cite this page", as BibTeX reads it."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from citation import Work, page_entry, pages_address, paper_entry, read_work
from pybtex.database import Entry, parse_string

ROOT = Path(__file__).parents[2]
PYPROJECT = """
[project]
version = "1.2.3"
authors = [{name = "Those who wrote it"}]
urls.Repository = "https://github.com/Someone/book.git"
"""
CFF = """
authors:
  - {family-names: Ångström, given-names: Ada}
  - {name: The others}
date-released: 2031-02-03
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    (tmp_path / "_config.yml").write_text('{title: A book, author: Somebody, copyright: "2026"}')
    return tmp_path


def parsed(text: str) -> Entry:
    (entry,) = parse_string(text, "bibtex").entries.values()
    return entry


def cited(work: Work, page: str = "chapters/02_method", title: str = "A step") -> Entry:
    return parsed(page_entry(work, page, title))


def test_authors_and_year_come_from_the_citation_file_where_there_is_one(project: Path) -> None:
    entry = cited(read_work(project))
    assert [str(person) for person in entry.persons["author"]] == ["{Those who wrote it}"]
    assert entry.fields["year"] == "2026"
    (project / "CITATION.cff").write_text(CFF)
    entry = cited(read_work(project))
    assert [str(person) for person in entry.persons["author"]] == ["Ångström, Ada", "{The others}"]
    assert entry.fields["year"] == "2031"


def test_an_entry_leads_to_the_page_and_names_the_version(project: Path) -> None:
    entry = cited(read_work(project))
    assert entry.fields["url"] == "https://someone.github.io/book/chapters/02_method.html"
    assert entry.fields["title"] == "{A step. In: A book, an executable book}"
    assert entry.fields["note"] == "Version 1.2.3"
    assert cited(read_work(project), "intro", "A BOOK").fields["title"] == "{A book, an executable book}"


def test_without_published_pages_the_repository_and_the_page_are_named(project: Path) -> None:
    entry = cited(replace(read_work(project), pages=None))
    assert entry.fields["url"] == "https://github.com/Someone/book.git"
    assert entry.fields["note"] == r"Version 1.2.3, page chapters/02\_method"


def test_what_latex_would_read_is_escaped_and_an_address_is_not(project: Path) -> None:
    entry = cited(read_work(project), title="50% & more_or less")
    assert entry.fields["title"].startswith(r"{50\% \& more\_or less.")
    assert "\\" not in entry.fields["url"]


@pytest.mark.parametrize(
    ("urls", "address"),
    [
        ({"Repository": "https://github.com/Someone/book"}, "https://someone.github.io/book"),
        ({"Repository": "https://github.com/a/b", "Documentation": "https://b.org/"}, "https://b.org"),
        ({"Repository": "https://example.org/book"}, None),
    ],
)
def test_where_the_pages_are(urls: dict[str, str], address: str | None) -> None:
    assert pages_address(urls) == address


def test_this_book_and_its_paper_can_be_cited() -> None:
    work = read_work(ROOT)
    assert work.version == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert "Ren" in str(parsed(paper_entry(ROOT)).persons["author"][0])
