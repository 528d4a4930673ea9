"""How to cite a page of the book, and the paper: BibTeX made from the project's own files."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pybtex.database import Entry, Person, parse_file

PAPER = "ren2018learning"
_VERBATIM = "ADDRESS"
_GITHUB = re.compile(r"https://github\.com/([^/]+)/([^/]+?)(?:\.git)?/?")


@dataclass(frozen=True)
class Work:
    """What every page's entry shares."""

    title: str
    authors: tuple[str, ...]
    """As BibTeX writes them: ``Family, Given``, or a body's name in braces."""
    year: str
    version: str
    repository: str
    pages: str | None
    """Address of the published pages, without a slash at the end; None when nobody has said where they are."""


def read_work(root: Path) -> Work:
    """The book at `root`; its authors stand in CITATION.cff, or in pyproject.toml, or in _config.yml."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    config = yaml.safe_load((root / "_config.yml").read_text())
    citation = root / "CITATION.cff"
    declared = yaml.safe_load(citation.read_text()) if citation.is_file() else {}
    people = [_cited_author(person) for person in declared.get("authors", [])]
    people = people or [_in_braces(person["name"]) for person in project.get("authors", []) if "name" in person]
    return Work(
        title=config["title"],
        authors=tuple(people or [_in_braces(config["author"])]),
        year=str(declared.get("date-released", config["copyright"]))[:4],
        version=project["version"],
        repository=project["urls"]["Repository"],
        pages=pages_address(project["urls"]),
    )


def _cited_author(person: dict[str, Any]) -> str:
    if "family-names" in person:
        return ", ".join(filter(None, [person["family-names"], person.get("given-names")]))
    return _in_braces(person["name"])


def _in_braces(name: str) -> str:
    return f"{{{name}}}"


def pages_address(urls: dict[str, str]) -> str | None:
    """Where the book is read: `Documentation` of ``[project.urls]``, else the Pages of its GitHub repository."""
    if "Documentation" in urls:
        return urls["Documentation"].rstrip("/")
    if at_github := _GITHUB.fullmatch(urls["Repository"]):
        return f"https://{at_github[1].lower()}.github.io/{at_github[2]}"
    return None


def page_entry(work: Work, page: str, title: str) -> str:
    """BibTeX of one page, named as in the table of contents: ``chapters/02_method``."""
    book = f"{work.title}, an executable book"
    whole = title.casefold() == work.title.casefold()
    fields = {
        # In braces: bibliography styles would write MNIST and L2RW in small letters.
        "title": _in_braces(book if whole else f"{title}. In: {book}"),
        "year": work.year,
        "url": _VERBATIM,
        "note": f"Version {work.version}" + ("" if work.pages else f", page {page}"),
    }
    entry = Entry("misc", fields=fields, persons={"author": [Person(name) for name in work.authors]})
    entry.key = "l2rw-core-" + page.removeprefix("chapters/").replace("_", "-").replace("/", "-")
    address = f"{work.pages}/{page}.html" if work.pages else work.repository
    # pybtex escapes every field for LaTeX, but an address is read as it stands: `\\_` in it would lead nowhere.
    return entry.to_string("bibtex").strip().replace(_VERBATIM, address)


def paper_entry(root: Path) -> str:
    """BibTeX of the paper that the book is about, from the book's own bibliography."""
    return parse_file(root / "reference" / "references.bib").entries[PAPER].to_string("bibtex").strip()
