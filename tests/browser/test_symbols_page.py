"""Every page with formulas explains its symbols, and the fold opens by keyboard."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect
from test_book import CHAPTERS
from visiting import Visit, soup


@pytest.mark.parametrize("document", ["chapters/02_method", "chapters/05_convergence"])
def test_symbols_are_explained_below_the_title(visit: Visit, document: str) -> None:
    page = visit.open(document)
    fold = page.locator("details.l2rw-symbols")
    summary = fold.locator("summary")
    summary.focus()
    page.keyboard.press("Enter")
    expect(fold.locator("table")).to_be_visible()
    rows = fold.locator("tbody tr")
    assert rows.count() >= 5
    assert fold.locator("tbody th mjx-container").count() >= rows.count()
    assert all(cell.inner_text().strip() for cell in fold.locator("tbody td:nth-child(2)").all())
    assert visit.errors == []


def test_every_chapter_with_more_than_a_formula_or_two_has_the_fold(book: Path) -> None:
    for document in CHAPTERS:
        page = soup(book / f"{document}.html")
        formulas = [f for f in page.select("article .math") if not f.find_parent(class_="l2rw-symbols")]
        assert len(page.select("details.l2rw-symbols")) == int(len(formulas) > 2), document
