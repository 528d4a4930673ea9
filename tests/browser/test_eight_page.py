"""The eight points on a page: mouse, finger and keyboard move them, and the sentence follows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pages import served, write_page
from playwright.sync_api import Locator, Page, expect
from visiting import Visit

from l2rw_core.interactive import eight_points

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
SAME = "A and B have the same loss, 2.13"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a folder with the page of this test, instead of the book's."""
    folder = tmp_path_factory.mktemp("eight")
    write_page(folder / "one.html", [eight_points()])
    with served(folder) as address:
        yield address


@pytest.fixture
def page(visit: Visit) -> Iterator[Page]:
    page = visit.open("one")
    expect(page.locator(".l2rw-eight .handle")).to_have_count(10)
    yield page
    assert visit.errors == []
    assert visit.refused == []


def named(page: Page, name: str) -> Locator:
    return page.get_by_role("slider", name=f"point {name}, input x")


def sentence(page: Page) -> Locator:
    return page.locator(".l2rw-eight .spoken")


@pytest.mark.parametrize("visit", [{}, PHONE], indirect=True, ids=["desktop", "390px"])
def test_a_point_is_dragged_to_where_it_counts(page: Page) -> None:
    expect(sentence(page)).to_contain_text(f"{SAME}, so")
    expect(sentence(page)).to_contain_text("and B 0%")
    assert page.locator(".l2rw-eight .first").is_hidden()
    assert page.evaluate("document.scrollingElement.scrollWidth") <= page.viewport_size["width"]
    here, there = (named(page, name).locator(".target").bounding_box() for name in "BA")
    page.mouse.move(here["x"] + 20, here["y"] + 20)
    page.mouse.down()
    page.mouse.move(there["x"] + 20, there["y"] + 20, steps=5)
    page.mouse.up()
    expect(sentence(page)).to_contain_text(SAME)
    shares = [named(page, name).get_attribute("aria-valuetext").rpartition("weight ")[2] for name in "AB"]
    assert shares[0] == shares[1] != "0%", "two points at one place with one label differ"
    page.get_by_role("button", name="Start over").click()
    expect(sentence(page)).to_contain_text("and B 0%")


@pytest.mark.parametrize("visit", [PHONE], indirect=True, ids=["390px"])
def test_a_finger_drags_a_point_to_the_other_label(page: Page) -> None:
    box = named(page, "B").locator(".target").bounding_box()
    x, y = box["x"] + 20, box["y"] + 20
    devtools = page.context.new_cdp_session(page)
    for part in range(9):
        kind = "touchMove" if part else "touchStart"
        point = {"x": x, "y": y - 10 * part}
        devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [point]})
        page.wait_for_timeout(16)
    devtools.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    expect(sentence(page)).to_contain_text("A has loss 2.13 and B 0.13")
    assert page.evaluate("scrollY") == 0


def test_the_keyboard_moves_a_point_and_changes_its_label(page: Page) -> None:
    point = named(page, "B")
    point.press("ArrowLeft")
    assert point.get_attribute("aria-valuenow") == "0.9"
    point.press("Enter")
    expect(sentence(page)).to_contain_text("B 0.13")
    assert "label 1" in point.get_attribute("aria-valuetext")
    point.press("Home")
    assert point.get_attribute("aria-valuenow") == "-2.0"
    expect(point).to_be_focused()
