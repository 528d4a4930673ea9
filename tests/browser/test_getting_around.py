"""Menu, contents and search: what takes a reader to another page or place, at the widths of phones to desktops."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from playwright.sync_api import Locator, Page, expect
from visiting import Visit

WIDTHS = (390, 820, 1000, 1280)
MENU_BESIDE = 992
"""From this width on, in pixels, the menu stands beside the text, and its button puts it away."""
CONTENTS_BESIDE = 1200

every_width = pytest.mark.parametrize(
    "visit",
    [{"viewport": {"width": width, "height": 900}, "has_touch": True} for width in WIDTHS],
    indirect=True,
    ids=[f"{width}px" for width in WIDTHS],
)


def width_of(page: Page) -> int:
    assert page.viewport_size is not None
    return page.viewport_size["width"]


def seen(page: Page, selector: str) -> Locator:
    """What of these a reader sees."""
    return page.locator(selector).locator("visible=true")


def tap_onto_screen(page: Page, button: str, panel: str) -> Locator:
    """Tap the button, and return the panel, which stands within the window after that."""
    seen(page, button).tap()
    shown = seen(page, panel)
    expect(shown).to_have_count(1)
    expect(shown).to_be_in_viewport()
    return shown


@every_width
def test_the_menu_leads_to_another_chapter(visit: Visit) -> None:
    page = visit.open("reference/faq")
    menu = "nav.bd-docs-nav"
    if width_of(page) >= MENU_BESIDE:
        expect(seen(page, menu)).to_have_count(1)
        seen(page, ".primary-toggle").tap()
        expect(seen(page, menu)).to_have_count(0)
    else:
        expect(seen(page, menu)).to_have_count(0)
    shown = tap_onto_screen(page, ".primary-toggle", menu)
    shown.get_by_role("link", name="Does it converge?").tap()
    page.wait_for_url("**/chapters/05_convergence.html")
    assert visit.errors == []


@every_width
def test_the_contents_lead_to_a_place_on_the_page(visit: Visit) -> None:
    page = visit.open("reference/faq")
    contents = "#pst-page-toc-nav"
    if width_of(page) >= CONTENTS_BESIDE:
        shown = seen(page, contents)
        expect(shown).to_have_count(1)
    else:
        expect(seen(page, contents)).to_have_count(0)
        shown = tap_onto_screen(page, ".secondary-toggle", contents)
    heading = page.locator("#results > h2")
    expect(heading).not_to_be_in_viewport()
    shown.get_by_role("link", name="Results").tap()
    expect(heading).to_be_in_viewport()
    # What covers the page while the contents are open is gone, so that the text under it can be read and tapped.
    expect(page.locator("dialog[open]")).to_have_count(0)
    assert visit.errors == []


@every_width
def test_there_is_one_way_to_search_and_no_empty_bar(visit: Visit) -> None:
    page = visit.open("reference/faq")
    searches = seen(page, ".search-button, .search-button-field, input[type=search]")
    expect(searches).to_have_count(1)
    headers = page.locator("header, .bd-header, .bd-header-article").locator("visible=true").all()
    assert [
        header.get_attribute("class")
        for header in headers
        if not header.inner_text().strip() and header.locator("button").count() == 0
    ] == []
    searches.tap()
    field = seen(page, "input[type=search]")
    expect(field).to_have_count(1)
    field.fill("convex")
    field.press("Enter")
    page.wait_for_url("**/search.html?*")
    expect(seen(page, "input[type=search]")).to_have_count(1)


QUERIES = {
    "Hugging Face": ("reference/adapters", "Hugging Face"),
    "huggingface": ("reference/adapters", "Hugging Face"),
    "equation 12": ("chapters/03_what_a_weight_measures", ""),
    "Eq. (12)": ("chapters/03_what_a_weight_measures", ""),
    "glossary": ("reference/glossary", "Glossary"),
    "class imbalance": ("chapters/06_mnist_imbalance", "Class imbalance on MNIST"),
    "Lemma 1": ("chapters/05_convergence", ""),
}


@pytest.mark.parametrize(("query", "wanted"), QUERIES.items(), ids=list(QUERIES))
def test_search_finds_the_place_and_says_why(visit: Visit, query: str, wanted: tuple[str, str]) -> None:
    document, titled = wanted
    page = visit.page
    page.goto(f"{visit.site}/search.html?{urlencode({'q': query})}")
    expect(page.locator(".l2rw-found")).to_contain_text(query)
    hits = page.locator("#search-results li")
    links = hits.locator("a")
    assert document in (links.first.get_attribute("href") or "")
    assert titled in links.first.inner_text()
    assert hits.locator("p").count() >= min(3, hits.count()), "excerpts"
    named = links.all_inner_texts()
    assert len(set(named)) == len(named), "a place is named once"
    assert len(set(links.evaluate_all("links => links.map(link => link.href)"))) == len(named)
    links.first.click()
    page.wait_for_url(f"**/{document}.html**")
    assert visit.errors == []


def test_search_without_a_hit_says_so(visit: Visit) -> None:
    visit.page.goto(f"{visit.site}/search.html?q=zebrafish")
    expect(visit.page.locator(".l2rw-found")).to_contain_text("Nothing found")
    expect(visit.page.locator("#search-results li")).to_have_count(0)
