"""Predict, then look, in a browser and without a kernel: pointer, keyboard, comparison, dark and narrow pages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pages import TEMPLATE, served
from playwright.sync_api import Locator, Page, expect
from visiting import Visit

from l2rw_core.interactive import predict


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a folder with the page of this test, instead of the book's."""
    folder = tmp_path_factory.mktemp("predict")
    board = predict(
        [0, 10, 20, 30],
        [80, 70, 40, 20],
        half_width=[1, 2, 3, 4],
        question="How does it fall?",
        xlabel="noise",
        ylabel="accuracy",
        ylim=(0, 100),
        unit="%",
        known=1,
        lesson="It falls faster and faster.",
    )
    page = TEMPLATE.replace("SCRIPTS", "").format(title="predict", snippet=board.html)
    (folder / "one.html").write_text(page)
    with served(folder) as address:
        yield address


@pytest.fixture
def page(visit: Visit) -> Page:
    visit.page.goto(f"{visit.site}/one.html", wait_until="load")
    expect(handles(visit.page)).to_have_count(3)
    return visit.page


def handles(page: Page) -> Locator:
    return page.get_by_role("slider")


def values(page: Page) -> list[str]:
    return [handle.get_attribute("aria-valuetext") for handle in handles(page).all()]


def compare(page: Page) -> str:
    page.get_by_role("button", name="Compare with the record").click()
    return page.get_by_role("status").inner_text()


def test_nothing_of_the_record_is_seen_before_the_guess(page: Page) -> None:
    assert values(page) == ["no guess yet"] * 3
    assert page.locator(".recorded").count() == 0
    assert not page.locator("details").is_visible()


def test_by_keyboard_alone(page: Page, visit: Visit) -> None:
    page.keyboard.press("Tab")
    expect(handles(page).first).to_be_focused()
    for _ in range(10):
        page.keyboard.press("ArrowUp")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    page.keyboard.press("Home")
    assert values(page) == ["70%", "48%", "0%"]
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    told = page.get_by_role("status").inner_text()
    assert told.startswith(
        "Your guess is 9 percentage points off on average: too high at 20; too low at 30; close at 10"
    )
    assert told.endswith("It falls faster and faster.")
    assert page.locator(".recorded circle").count() == 4
    assert told in page.get_by_role("img").first.get_attribute("aria-label")
    assert visit.errors == []


def test_a_point_is_dragged_and_a_stroke_sets_many(page: Page, visit: Visit) -> None:
    box = handles(page).first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x, y - 40, steps=3)
    page.mouse.up()
    first = values(page)[0]
    assert float(first.rstrip("%")) > 55
    end = handles(page).last.bounding_box()
    page.mouse.move(x + 0.4 * (end["x"] - box["x"]), y + 30)
    page.mouse.down()
    page.mouse.move(end["x"] + end["width"] / 2, y + 80, steps=6)
    page.mouse.up()
    after = values(page)
    assert after[0] == first
    assert 50 > float(after[1].rstrip("%")) > float(after[2].rstrip("%"))
    assert "percentage points off" in compare(page)
    assert visit.errors == []


def test_one_may_look_without_a_guess_and_guess_again(page: Page) -> None:
    assert compare(page) == "You made no guess. It falls faster and faster."
    page.get_by_role("button", name="Guess again").click()
    expect(handles(page)).to_have_count(3)
    assert page.locator(".recorded").count() == 0
    assert page.get_by_role("status").inner_text() == ""


def test_it_fits_a_phone_and_can_be_touched(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    expect(page.locator(".board svg")).to_have_js_property(
        "clientWidth", page.locator(".board").evaluate("b => b.clientWidth")
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for target in page.locator(".target").all():
        assert target.bounding_box()["height"] >= 40


def test_words_stand_out_on_a_dark_page(page: Page) -> None:
    page.emulate_media(color_scheme="dark")
    page.reload()
    expect(handles(page)).to_have_count(3)
    fill, paper = page.evaluate("""() => {
        const light = (colour) => colour.match(/\\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0);
        const board = document.querySelector(".l2rw-predict");
        const words = getComputedStyle(board.querySelector("text"));
        return [light(words.fill), light(getComputedStyle(board).backgroundColor)];
    }""")
    assert fill - paper > 300


@pytest.mark.parametrize(("motion", "name"), [("reduce", "none"), ("no-preference", "l2rw-look")])
def test_the_record_moves_in_only_where_motion_is_welcome(page: Page, motion: str, name: str) -> None:
    page.emulate_media(reduced_motion=motion)
    compare(page)
    assert page.locator(".recorded").evaluate("g => getComputedStyle(g).animationName") == name
