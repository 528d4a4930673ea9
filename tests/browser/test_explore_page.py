"""Sliders on a page without a kernel keep their positions in its address, and nothing else of it changes."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
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
    first = explore(draw, noise=[0, 10, 20, 30], clean_size=[5, 50], start={"noise": 10})
    write_page(folder / "two.html", [first, explore(draw, name="other", size=[1, 2, 3, 4])])
    write_page(folder / "same.html", [explore(draw, size=[1, 2, 3, 4]), explore(draw, size=[4, 5, 6, 7])])
    greys = [np.full((4, 4, 3), grey, np.uint8) for grey in (0, 80, 160)]
    pictured = explore(draw, size=[1, 2, 3], pictures={"size": greys})
    write_page(folder / "pictures.html", [pictured, explore(draw, name="other", size=[1, 2])])
    write_page(folder / "again.html", [explore(draw, size=[1, 2, 3])] * 2)
    write_page(folder / "notebook.html", [explore(draw, a=[1, 2]), explore(draw, name="b", a=[1, 2])], scripts=())
    with served(folder) as address:
        yield address


def opened(visit: Visit, document: str = "two", place: str = "") -> Page:
    visit.page.goto(f"{visit.site}/{document}.html{place}", wait_until="load")
    expect(visit.page.locator(".l2rw-explore[data-ready]")).to_have_count(2)
    return visit.page


def captions(page: Page) -> Locator:
    return page.locator("figcaption:visible")


def press(page: Page, control: int, key: str) -> None:
    """Press a key on a slider, or on the chosen one of a set of buttons."""
    page.locator(".l2rw-control input:is([type=range], :checked)").nth(control).press(key)


def test_every_position_shows_its_own_frame(visit: Visit) -> None:
    page = opened(visit)
    one = page.locator(".l2rw-explore").first
    for noise, key in ((0, "Home"), (10, "ArrowRight"), (20, "ArrowRight"), (30, "ArrowRight")):
        press(page, 0, key)
        for size in (5, 50):
            one.get_by_label(str(size), exact=True).check()
            values = {"noise": noise, "clean_size": size}
            expect(one.locator("figcaption")).to_have_text(f"Values {list(values.values())}.")
            assert [svg.get_attribute("aria-label") for svg in one.locator("svg").all()] == [f"Seen at {values}."]
    assert visit.errors == []


@pytest.mark.parametrize("visit", [{}, {"viewport": {"width": 390, "height": 844}}], indirect=True)
def test_a_value_is_chosen_by_its_picture_and_by_the_keyboard(visit: Visit) -> None:
    page = opened(visit, "pictures")
    one = page.locator(".l2rw-explore").first
    one.get_by_role("img", name="3", exact=True).click()
    expect(one.locator("figcaption")).to_have_text("Values [3].")
    assert re.search(r"[?&]size=2\b", rested_address(page))
    one.get_by_role("radio", name="3").press("ArrowLeft")
    expect(one.locator("figcaption")).to_have_text("Values [2].")
    expect(one.get_by_role("radio", name="2", exact=True)).to_be_checked()
    marks = [image.evaluate("e => getComputedStyle(e).outlineStyle") for image in one.locator("fieldset img").all()]
    assert [mark != "none" for mark in marks] == [False, True, False]


def test_shown_twice_each_draws_with_marks_of_its_own(visit: Visit) -> None:
    """A mark that is referred to by an id is taken from the first element of a document that has it."""
    page = opened(visit, "again")
    first, second = page.locator(".l2rw-explore").all()
    first.get_by_label("2", exact=True).check()
    second.get_by_label("3", exact=True).check()
    for one in (first, second):
        own = {element.get_attribute("id") for element in one.locator("svg [id]").all()}
        used = set(re.findall(r"""url\(#([^)]+)\)|href="#([^"]+)""", one.locator("svg").evaluate("e => e.outerHTML")))
        assert own
        assert {clip or mark for clip, mark in used} == own
    assert page.evaluate("new Set([...document.querySelectorAll('svg [id]')].map(e => e.id)).size") == (
        page.locator("svg [id]").count()
    )


def test_a_screen_reader_hears_names_values_and_one_sentence_after_a_held_key(visit: Visit) -> None:
    page = opened(visit)
    slider = page.get_by_role("slider", name="noise")
    for key in ("End", "ArrowLeft"):
        slider.press(key)
    assert slider.get_attribute("aria-valuetext") == "20"
    expect(page.get_by_role("group", name="clean size").get_by_role("radio")).to_have_count(2)
    live = page.locator(".l2rw-explore [role=status]").filter(has_text="Values")
    expect(live).to_have_text(["Values [20, 5]."])


def test_controls_are_large_enough_for_a_finger(visit: Visit) -> None:
    page = opened(visit)
    targets = page.locator(".l2rw-explore input[type=range], .l2rw-explore fieldset label").all()
    assert len(targets) == 4
    assert all(min(box["width"], box["height"]) >= 24 for target in targets if (box := target.bounding_box()))


@pytest.mark.parametrize("visit", [{"java_script_enabled": False}], indirect=True, ids=["no script"])
def test_without_scripts_the_first_frame_and_what_it_is_drawn_for_are_seen(visit: Visit) -> None:
    page = visit.page
    page.goto(f"{visit.site}/two.html")
    expect(captions(page)).to_have_text(["Values [10, 5].", "Values [1]."])
    expect(page.locator("svg:visible")).to_have_count(2)
    expect(page.locator("input:visible")).to_have_count(0)
    assert page.locator(".l2rw-explore form").first.inner_text().split() == ["noise:", "10", "clean", "size", "5"]


def test_in_a_notebook_it_moves_and_leaves_the_address_alone(visit: Visit) -> None:
    page = opened(visit, "notebook")
    page.evaluate("() => { window.heard = 0; document.addEventListener('keydown', () => (window.heard += 1)); }")
    press(page, 0, "ArrowRight")
    expect(captions(page)).to_have_text(["Values [2].", "Values [1]."])
    assert page.evaluate("window.heard") == 0, "a notebook would go to its next cell"
    assert rested_address(page) == ""
    expect(page.get_by_role("button")).to_have_count(0)


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
    "query", ["noise-clean-size=4,0", "noise-clean-size=1", "noise-clean-size=", "noise-clean-size=%E0%A4%A,-1", "x=2"]
)
def test_nonsense_in_the_address_moves_nothing(visit: Visit, query: str) -> None:
    page = opened(visit, place=f"?{query}&other=2#section-one")
    expect(captions(page)).to_contain_text(["Values [10, 5].", "Values [3]."])
    assert visit.errors == []
    assert rested_address(page) == f"?{query}&other=2#section-one"


def test_anchors_and_searches_are_kept(visit: Visit) -> None:
    page = opened(visit, place="?highlight=noise#section-one")
    press(page, 2, "End")
    assert rested_address(page) == "?highlight=noise&other=3#section-one"
    page.evaluate("location.hash = ''")
    press(page, 2, "Home")
    assert rested_address(page) == "?highlight=noise&other=0"
    page.go_back()
    expect(captions(page).nth(1)).to_contain_text("Values [4].")
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
    assert copied == f"{visit.site}/two.html?noise-clean-size=0,0#explore-noise-clean-size"
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
