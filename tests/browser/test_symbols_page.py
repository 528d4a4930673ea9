"""Every page with formulas explains its symbols: in a fold below the title, and beside each formula."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect
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
    assert fold.locator("tbody td:first-child math").count() >= rows.count()
    assert all(cell.inner_text().strip() for cell in fold.locator("tbody td:nth-child(2)").all())
    assert visit.errors == []


def test_chapters_that_use_three_symbols_or_more_have_the_fold(book: Path) -> None:
    folds = {document: soup(book / f"{document}.html").select("details.l2rw-symbols") for document in CHAPTERS}
    with_fold = [document.split("/")[-1][:2] for document, found in folds.items() if found]
    assert with_fold == ["01", "02", "03", "04", "05", "11", "13"]
    for document, found in folds.items():
        assert all(len(fold.select("tbody tr")) >= 3 for fold in found), document
        hints = soup(book / f"{document}.html").select("[data-symbols]")
        assert bool(hints) == bool(found), f"{document}: a hint needs the fold, whose rows it shows"


def shown_hint(page: Page) -> Locator:
    hint = page.locator(".l2rw-hint")
    expect(hint).to_be_visible()
    return hint


def a_formula(page: Page) -> Locator:
    return page.locator("article p .math[data-symbols]:visible").first


def test_a_pointer_on_a_formula_is_told_its_symbols(visit: Visit) -> None:
    page = visit.open("chapters/05_convergence")
    formula = a_formula(page)
    formula.hover()
    hint = shown_hint(page)
    assert hint.locator("tr").count() == len((formula.get_attribute("data-symbols") or "").split())
    assert hint.locator("math").count() > 0
    formula_box, hint_box = formula.bounding_box(), hint.bounding_box()
    assert formula_box is not None
    assert hint_box is not None
    assert hint_box["y"] >= formula_box["y"] + formula_box["height"]
    hint.hover()  # it stays while the pointer is in it
    page.wait_for_timeout(400)
    expect(hint).to_be_visible()
    page.keyboard.press("Escape")
    expect(hint).to_be_hidden()
    assert visit.errors == []


@pytest.mark.parametrize("visit", [{"viewport": {"width": 390, "height": 800}, "has_touch": True}], indirect=True)
def test_a_tap_on_a_formula_is_told_its_symbols(visit: Visit) -> None:
    page = visit.open("chapters/05_convergence")
    a_formula(page).tap()
    box = shown_hint(page).bounding_box()
    assert box is not None
    assert 0 <= box["x"] <= box["x"] + box["width"] <= 390
    page.locator("article h1").first.tap()
    expect(page.locator(".l2rw-hint")).to_be_hidden()
