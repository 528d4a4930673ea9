"""Sliders on a page without a kernel keep their positions in its address, and nothing else of it changes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pages import served, write_page
from playwright.sync_api import Locator, Page, expect
from visiting import Visit, rested_address

from l2rw_core.figures import figure, show
from l2rw_core.interactive import explore


def draw(**values):
    fig, ax = figure(2, 2)
    ax.plot(list(values.values()))
    return show(fig, f"Seen at {values}.", f"Values {list(values.values())}.")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a folder with the page of this test, instead of the book's."""
    folder = tmp_path_factory.mktemp("explore")
    first = explore(draw, noise=[0, 10, 20], clean_size=[5, 50], start={"noise": 10})
    write_page(folder / "two.html", [first, explore(draw, name="other", size=[1, 2, 3])])
    write_page(folder / "same.html", [explore(draw, size=[1, 2, 3]), explore(draw, size=[4, 5, 6])])
    with served(folder) as address:
        yield address


def opened(visit: Visit, document: str = "two", place: str = "") -> Page:
    visit.page.goto(f"{visit.site}/{document}.html{place}", wait_until="load")
    expect(captions(visit.page)).to_have_count(2, timeout=15_000)
    return visit.page


def captions(page: Page) -> Locator:
    return page.locator("figcaption:visible")


def press(page: Page, slider: int, key: str) -> None:
    page.get_by_role("slider").nth(slider).press(key)


def test_a_moved_slider_is_in_the_address_and_comes_back(visit: Visit) -> None:
    page = opened(visit)
    assert rested_address(page) == "", "nothing was moved, so nothing is written"
    press(page, 0, "ArrowRight")
    press(page, 1, "ArrowRight")
    press(page, 2, "ArrowRight")
    assert rested_address(page) == "?noise-clean-size=2,1&other=1"
    told = captions(page).all_inner_texts()
    assert "Values [20, 50]." in told[0]
    page.reload()
    expect(captions(page)).to_have_text(told, timeout=15_000)
    assert page.get_by_role("slider").nth(0).get_attribute("aria-valuetext") == "20"
    assert rested_address(page) == "?noise-clean-size=2,1&other=1"
    assert visit.errors == []


@pytest.mark.parametrize(
    "query", ["noise-clean-size=3,0", "noise-clean-size=1", "noise-clean-size=", "noise-clean-size=%E0%A4%A,-1", "x=2"]
)
def test_nonsense_in_the_address_moves_nothing(visit: Visit, query: str) -> None:
    page = opened(visit, place=f"?{query}&other=2#section-one")
    expect(captions(page)).to_contain_text(["Values [10, 5].", "Values [3]."])
    assert visit.errors == []
    assert rested_address(page) == f"?{query}&other=2#section-one"


def test_anchors_and_searches_are_kept(visit: Visit) -> None:
    page = opened(visit, place="?highlight=noise#section-one")
    press(page, 2, "End")
    assert rested_address(page) == "?highlight=noise&other=2#section-one"
    page.evaluate("location.hash = ''")
    press(page, 2, "Home")
    assert rested_address(page) == "?highlight=noise&other=0"
    page.go_back()
    expect(captions(page).nth(1)).to_contain_text("Values [3].")
    assert visit.errors == []


def test_a_held_key_writes_once(visit: Visit) -> None:
    page = opened(visit)
    page.evaluate("""() => {
        window.written = 0;
        const replace = history.replaceState.bind(history);
        history.replaceState = (...all) => { window.written += 1; replace(...all); };
    }""")
    for key in ("Home", "ArrowRight", "ArrowRight", "ArrowLeft", "ArrowRight"):
        press(page, 0, key)
    assert rested_address(page) == "?noise-clean-size=2,0"
    assert page.evaluate("window.written") == 1


def test_the_link_leads_to_the_figure_and_is_copied_by_keyboard(visit: Visit) -> None:
    visit.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = opened(visit)
    press(page, 0, "ArrowLeft")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Copy link to this position").first).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".l2rw-copy [role=status]").first).to_have_text("Link copied.")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == f"{visit.site}/two.html?noise-clean-size=0,0#section-one"
    assert visit.errors == []


def test_where_copying_is_forbidden_the_address_is_the_link(visit: Visit) -> None:
    page = opened(visit)
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('not here')); }")
    page.get_by_role("button", name="Copy link to this position").last.click()
    expect(page.locator(".l2rw-copy [role=status]").last).to_contain_text("the address of the page is the link")
    assert rested_address(page) == "?other=0"


def test_of_two_with_one_name_only_the_first_is_in_the_address(visit: Visit) -> None:
    page = opened(visit, "same", "?size=2")
    expect(captions(page)).to_contain_text(["Values [3].", "Values [4]."])
    press(page, 1, "ArrowRight")
    assert rested_address(page) == "?size=2"
    assert visit.errors == []
