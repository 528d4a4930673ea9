"""Below the text of every page: its data to download, and how to cite it."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from book_pages import record_ids
from bs4 import Tag
from pybtex.database import parse_string
from test_book import DOCUMENTS
from visiting import Visit, soup

every_page = pytest.mark.parametrize("document", DOCUMENTS)


def page_end(book: Path, document: str) -> Tag:
    (end,) = soup(book / f"{document}.html").select("article .l2rw-page-end")
    return end


@every_page
def test_every_page_says_how_to_cite_it_and_the_paper(book: Path, document: str) -> None:
    page, paper = (parse_string(pre.get_text(), "bibtex") for pre in page_end(book, document).select("pre"))
    (entry,) = page.entries.values()
    title = soup(book / f"{document}.html").h1.get_text().removesuffix("#")
    assert title.casefold() in entry.fields["title"].casefold()
    assert document in entry.fields["url"] + entry.fields["note"].replace(r"\_", "_")
    assert list(paper.entries) == ["ren2018learning"]


def test_no_two_pages_are_cited_under_one_key(book: Path) -> None:
    keys = [
        key
        for document in DOCUMENTS
        for key in parse_string(page_end(book, document).select("pre")[0].get_text(), "bibtex").entries
    ]
    assert len(set(keys)) == len(DOCUMENTS)


@every_page
def test_the_data_of_a_page_are_the_records_that_it_shows(book: Path, document: str) -> None:
    shown = record_ids((book / f"{document}.html").read_text())
    links = page_end(book, document).select("a[download]")
    files = {Path(link["href"]).suffix: (book / document).parent / link["href"] for link in links}
    assert all(file.is_file() for file in files.values())
    if not shown:
        assert not files.keys() & {".csv", ".jsonl"}
        return
    lines = files[".jsonl"].read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == shown
    rows = pd.read_csv(files[".csv"])
    assert rows["id"].tolist() == shown
    for line, row in zip(lines, rows.itertuples(), strict=True):
        assert row.seed == json.loads(line)["experiment"]["seed"]


def test_an_entry_is_copied_by_its_button(visit: Visit) -> None:
    visit.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = visit.open("chapters/02_method")
    page.locator(".l2rw-cite > summary").click()
    first = page.locator(".l2rw-cite .highlight").first
    first.hover()
    first.locator("button").click()
    assert page.evaluate("navigator.clipboard.readText()").startswith("@misc{l2rw-core-02-method,")
