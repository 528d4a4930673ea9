"""The playground on a page without a kernel: it runs, answers hand and keyboard, and keeps its state in the address."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import served, write_page
from playwright.sync_api import Locator, Page, expect
from visiting import Visit, rested_address

import l2rw_core.interactive.playground as module
from l2rw_core.interactive import Playground

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
WIDE = {"viewport": {"width": 1280, "height": 844}}
DARK = {"color_scheme": "dark"}
CALM = {"reduced_motion": "reduce"}
SENTENCE = re.compile(
    r"After (\d+) steps? L2RW classifies (\d+)% of the test points correctly, plain training (\d+)%, "
    r"the clean points alone (\d+)%; "
)
PIXELS = "canvas => canvas.toDataURL()"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a folder with the pages of this test, instead of the book's."""
    folder = tmp_path_factory.mktemp("playground")
    for document, shown in {
        "one": [Playground()],
        "rings": [Playground(data="rings", model="mlp", imbalance=3, clean_size=10, seed=6)],
        "two": [Playground(name="first"), Playground(name="second", noise=0.0, imbalance=1, model="mlp")],
    }.items():
        write_page(folder / f"{document}.html", shown)
    write_page(folder / "notebook.html", [Playground()], scripts=())
    write_page(folder / "twice.html", [], scripts=())
    shutil.copy(Path(module.__file__).with_name("playground.js"), folder)
    with served(folder) as address:
        yield address


@pytest.fixture
def page(visit: Visit) -> Iterator[Page]:
    """The page with one playground; afterwards nothing may have gone wrong on it."""
    yield opened(visit, "one")
    assert visit.errors == []
    assert visit.refused == []


def opened(visit: Visit, document: str) -> Page:
    page = visit.open(document)
    expect(page.locator(".l2rw-playground .sentence").last).not_to_be_empty(timeout=15_000)
    return page


def sentence(page: Page) -> Locator:
    return page.locator(".sentence")


def panels(page: Page) -> Locator:
    return page.locator(".panel canvas")


def pictures(page: Page) -> list[str]:
    """What the canvases hold, once the frames asked for so far are drawn."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return [canvas.evaluate(PIXELS) for canvas in page.locator(".l2rw-playground canvas").all()]


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name)


def test_unmoved_the_figure_shows_the_point(page: Page) -> None:
    steps, l2rw, plain, clean = map(int, SENTENCE.match(sentence(page).inner_text()).groups())
    assert steps == 100
    assert l2rw > plain + 15
    for place, share in enumerate((plain, l2rw, clean)):
        assert f"test {share}%" in page.locator(".numbers").nth(place).inner_text()
    assert rested_address(page) == "", "nothing was moved, so nothing is written"


def test_run_and_pause(page: Page) -> None:
    before = pictures(page)
    button(page, "Run").click()
    expect(button(page, "Pause")).to_be_visible()
    expect(sentence(page)).not_to_contain_text("After 100 steps")
    button(page, "Pause").click()
    address = rested_address(page)  # by then the sentence, which is calm while it runs, speaks of the last step too
    steps = int(SENTENCE.match(sentence(page).inner_text())[1])
    assert 100 < steps < 400
    paused = pictures(page)
    assert all(a != b for a, b in zip(before, paused, strict=True))
    assert f"steps:{steps}" in address
    assert pictures(page) == paused, "it goes on after Pause"


def test_run_ends_by_itself_and_starts_again_from_the_first_step(page: Page) -> None:
    page.get_by_label("Speed").select_option("10")
    button(page, "Run").click()
    expect(sentence(page)).to_contain_text("After 400 steps", timeout=20_000)
    expect(sentence(page)).to_contain_text("The run ends here.")
    expect(button(page, "Run")).to_be_visible()
    button(page, "Run").click()
    expect(button(page, "Pause")).to_be_visible()
    button(page, "Reset").click()
    expect(sentence(page)).to_contain_text("Before the first step all three models are the same")


def test_one_step_and_reset(page: Page) -> None:
    opening = pictures(page)
    button(page, "Step").click()
    expect(sentence(page)).to_contain_text("After 101 steps")
    assert pictures(page) != opening
    button(page, "Reset").click()
    expect(sentence(page)).to_contain_text("Before the first step")
    button(page, "Step").click()
    expect(sentence(page)).to_contain_text("After 1 step ")


def test_every_control_answers_the_keyboard(page: Page) -> None:
    sliders = page.get_by_role("slider").all()
    assert len(sliders) == 4
    for slider in sliders:
        assert slider.get_attribute("aria-label")
        before, value = pictures(page), slider.get_attribute("aria-valuetext")
        slider.focus()
        page.keyboard.press("ArrowRight")
        assert slider.get_attribute("aria-valuetext") != value
        assert pictures(page) != before
        page.keyboard.press("ArrowLeft")
        assert slider.get_attribute("aria-valuetext") == value
        assert pictures(page) == before, "the same settings show the same picture"
    before = pictures(page)
    page.get_by_label("Model").select_option("mlp")
    assert pictures(page) != before
    before = pictures(page)
    page.get_by_label("Data").select_option("rings")
    assert pictures(page) != before
    before = pictures(page)
    page.get_by_label("Seed").fill("11")
    page.keyboard.press("Enter")
    assert pictures(page) != before


def test_labels_are_flipped_by_keyboard(page: Page) -> None:
    hint, undo = page.locator(".hint"), page.get_by_text("Undo painting")
    expect(undo).not_to_be_visible()
    page.get_by_label("Speed").focus()
    page.keyboard.press("Tab")
    expect(panels(page).first).to_be_focused()
    expect(hint).to_contain_text("labelled")
    before, words = pictures(page), hint.inner_text()
    for key in ("ArrowRight", "ArrowDown", "PageDown", "End", "Home"):
        page.keyboard.press(key)
        assert hint.inner_text() != words, f"{key} stays where it is"
        words = hint.inner_text()
    page.keyboard.press("Enter")
    assert hint.inner_text() != words
    assert all(a != b for a, b in zip(before, pictures(page), strict=True)), "every panel and the chart show it"
    assert ",flip:" in rested_address(page)
    expect(undo).to_be_visible()
    page.keyboard.press("Space")
    assert ",flip:" not in rested_address(page)
    page.keyboard.press("Enter")
    undo.click()
    assert ",flip:" not in rested_address(page)
    expect(panels(page).first).to_be_focused()


def flips(page: Page) -> list[str]:
    return rested_address(page).partition(",flip:")[2].split(".")


def test_a_stroke_of_the_mouse_turns_several_labels_once_each(page: Page) -> None:
    box = panels(page).nth(1).bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.6, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, y, steps=8)
    page.mouse.up()
    painted = flips(page)
    assert len(painted) > 4
    assert len(set(painted)) == len(painted)
    page.mouse.move(box["x"] + box["width"] * 0.6, y, steps=8)
    assert flips(page) == painted, "a brush that is not pressed paints"


@pytest.mark.parametrize("visit", [PHONE], indirect=True, ids=["390px"])
def test_a_phone_shows_all_of_it_in_one_column(page: Page) -> None:
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 390
    first, second, third = (panel.bounding_box() for panel in panels(page).all())
    assert second["y"] > first["y"] + first["height"]
    assert third["y"] > second["y"] + second["height"]
    assert first["width"] > 320
    for control in page.locator(".l2rw-playground :is(button, select, input[type=number])").all():
        assert control.bounding_box()["height"] >= 40


@pytest.mark.parametrize("visit", [WIDE], indirect=True, ids=["1280px"])
def test_a_wide_page_has_the_sliders_beside_three_models(visit: Visit) -> None:
    page = visit.open("rings")
    page.add_style_tag(content="main { max-width: none !important; }")
    boxes = [panel.bounding_box() for panel in panels(page).all()]
    slider = page.get_by_role("slider").first.bounding_box()
    assert slider["x"] + slider["width"] < boxes[0]["x"]
    assert slider["y"] < boxes[0]["y"] + boxes[0]["height"]
    assert len({box["y"] for box in boxes}) == 1
    assert boxes[0]["x"] < boxes[1]["x"] < boxes[2]["x"]
    end = page.locator(".chart").bounding_box()
    assert end["y"] + end["height"] < 844, "sliders, models and curves are seen together"
    steps, l2rw, plain, clean = map(int, SENTENCE.match(sentence(page).inner_text()).groups())
    assert steps == 200
    assert l2rw > clean + 4
    assert l2rw > plain + 15
    assert visit.errors == []


def test_start_over_brings_back_what_the_page_opened_with(page: Page) -> None:
    opening, words = pictures(page), sentence(page).inner_text()
    page.get_by_role("slider").first.press("Home")
    page.get_by_label("Data").select_option("rings")
    panels(page).first.focus()
    page.keyboard.press("Enter")
    button(page, "Step").click()
    expect(sentence(page)).not_to_have_text(words)
    button(page, "Start over").click()
    expect(sentence(page)).to_have_text(words)
    page.mouse.move(0, 0)
    assert pictures(page) == opening


def swipe(page: Page, start: tuple[float, float], towards: tuple[float, float]) -> None:
    """Move one finger over the page, at a hand's pace."""
    devtools = page.context.new_cdp_session(page)
    for part in range(16):
        x, y = (a + (b - a) * part / 15 for a, b in zip(start, towards, strict=True))
        kind = "touchMove" if part else "touchStart"
        devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
        page.wait_for_timeout(16)
    devtools.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


@pytest.mark.parametrize("visit", [PHONE], indirect=True, ids=["390px"])
def test_a_finger_paints_by_a_tap_or_sideways_and_scrolls_up_and_down(page: Page) -> None:
    box = panels(page).first.bounding_box()
    x, y = box["x"] + 0.65 * box["width"], box["y"] + 0.5 * box["height"]
    swipe(page, (x, y), (x + 10, y - 150))
    assert page.evaluate("scrollY") > 50
    assert rested_address(page) == "", "scrolling painted"
    page.evaluate("scrollTo(0, 0)")
    page.touchscreen.tap(x, y)
    tapped = flips(page)
    assert tapped != [""]
    page.touchscreen.tap(x, y)
    assert flips(page) == [""], "a second tap at the same place takes the first one back"
    swipe(page, (x, y), (x + 60, y + 5))
    assert set(tapped) < set(flips(page))


@pytest.mark.parametrize("visit", [{}, PHONE], indirect=True, ids=["desktop", "390px"])
def test_nothing_on_the_page_moves_while_it_runs(page: Page) -> None:
    def places() -> list[float]:
        page.wait_for_timeout(600)
        boxes = [page.locator(name).first.bounding_box() for name in (".chart", ".choices", "#after")]
        return [part for box in boxes for part in (box["y"] + page.evaluate("scrollY"), box["height"])]

    at_rest = pytest.approx(places(), abs=0.1)  # less than can be seen: columns of a grid are rounded
    button(page, "Run").click()
    assert places() == at_rest
    button(page, "Pause").click()
    button(page, "Reset").click()
    assert places() == at_rest
    for slider in page.get_by_role("slider").all():
        slider.focus()
        for key in ("Home", "End"):
            page.keyboard.press(key)
            assert places() == at_rest
    panels(page).first.focus()
    page.keyboard.press("Enter")
    assert places() == at_rest


@pytest.mark.parametrize("visit", [DARK], indirect=True, ids=["dark"])
def test_dark_page(page: Page) -> None:
    brightness = """canvas => {
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        const luminances = [];
        for (let k = 0; k < data.length; k += 4)
            if (data[k + 3] > 200) luminances.push(0.3 * data[k] + 0.6 * data[k + 1] + 0.1 * data[k + 2]);
        return { paper: getComputedStyle(canvas).backgroundColor, lightest: Math.max(...luminances.slice(0, 50000)) };
    }"""
    chart = page.locator(".chart canvas")
    dark = chart.evaluate(brightness)
    assert dark["paper"] == "rgb(20, 24, 30)"
    assert dark["lightest"] > 180, "the chart's text is dark on a dark page"
    assert page.locator(".l2rw-playground").evaluate("e => getComputedStyle(e).colorScheme") == "dark"
    before = pictures(page)
    page.evaluate("document.documentElement.dataset.theme = 'light'")
    assert all(a != b for a, b in zip(before, pictures(page), strict=True)), "the theme changed, the picture did not"


@pytest.mark.parametrize("visit", [CALM], indirect=True, ids=["less motion"])
def test_less_motion_runs_in_bursts(page: Page) -> None:
    expect(page.get_by_label("Speed")).not_to_be_visible()
    button(page, "Run 25 steps").click()
    expect(sentence(page)).to_contain_text("After 125 steps")
    still = pictures(page)
    page.wait_for_timeout(300)
    assert pictures(page) == still


def test_sentences_come_at_a_calm_rate(page: Page) -> None:
    """By the page's own clock, which stands still unless it is moved: a busy machine changes nothing."""
    page.clock.install()
    page.evaluate("""() => {
        window.spoken = 0;
        const count = () => { window.spoken += 1; };
        const options = { childList: true, characterData: true, subtree: true };
        document.querySelectorAll("[role=status]").forEach(e => new MutationObserver(count).observe(e, options));
    }""")
    page.clock.pause_at(page.evaluate("Date.now() + 10_000"))
    page.evaluate("window.spoken = 0")
    button(page, "Run").click()
    page.clock.run_for(3000)
    assert 1 <= page.evaluate("window.spoken") <= 2
    noise = page.get_by_role("slider").first
    noise.focus()
    button(page, "Pause").click()
    page.clock.run_for(600)
    page.evaluate("window.spoken = 0")
    noise.focus()
    for _ in range(6):
        page.keyboard.press("ArrowLeft")
    page.clock.run_for(600)
    assert page.evaluate("window.spoken") == 1


def test_the_address_brings_the_same_picture_back(visit: Visit) -> None:
    page = opened(visit, "one")
    for position, slider in enumerate(page.get_by_role("slider").all()):
        slider.focus()
        page.keyboard.press("ArrowRight" if position % 2 else "ArrowLeft")
    page.get_by_label("Model").select_option("mlp")
    panels(page).first.focus()
    page.keyboard.press("PageDown")
    page.keyboard.press("Enter")
    button(page, "Step").click()
    expect(sentence(page)).to_contain_text("After 101 steps")
    assert re.fullmatch(
        r"\?playground=noise:0\.45,imbalance:10,clean:10,rate:1,seed:\d+,n:200,steps:101,model:mlp,data:clouds,flip:[ct]\d+",
        rested_address(page),
    )
    before, words = pictures(page), sentence(page).inner_text()
    page.reload()
    expect(sentence(page)).to_have_text(words, timeout=15_000)
    assert pictures(page) == before
    assert visit.errors == []


def test_going_back_to_an_address_brings_its_settings_back(page: Page) -> None:
    page.evaluate("history.replaceState(null, '', '?playground=noise:0,imbalance:1,steps:50,seed:garbage,model:tree')")
    page.evaluate("history.pushState(null, '', '?playground=noise:0.3')")
    page.go_back()
    expect(sentence(page)).to_contain_text("After 50 steps")
    expect(sentence(page)).to_contain_text("no label is wrong")
    expect(page.get_by_label("Model")).to_have_value("logistic")


def test_an_anchor_in_the_address_stays(visit: Visit) -> None:
    page = visit.page
    page.goto(f"{visit.site}/one.html?utm=1#section-one", wait_until="load")
    expect(sentence(page)).to_contain_text("After 100 steps", timeout=15_000)
    assert rested_address(page) == "?utm=1#section-one"
    page.get_by_role("slider").first.focus()
    scrolled = page.evaluate("scrollY")
    page.get_by_role("slider").first.press("ArrowLeft")
    assert re.fullmatch(r"\?utm=1&playground=noise:0\.45,.*#section-one", rested_address(page))
    assert page.evaluate("scrollY") == scrolled
    assert visit.errors == []


def test_a_link_to_the_position_is_copied_by_keyboard(visit: Visit) -> None:
    visit.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = opened(visit, "one")
    page.get_by_role("slider").first.press("ArrowLeft")
    assert "noise:0.45" in rested_address(page)
    button(page, "Copy link to this position").press("Enter")
    expect(page.locator(".l2rw-copy [role=status]")).to_have_text("Link copied.")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == f"{page.url}#explore-playground"
    words = sentence(page).inner_text()
    page.goto("about:blank")
    page.goto(copied)
    expect(sentence(page)).to_have_text(words, timeout=15_000)
    assert visit.errors == []


def test_without_the_book_s_script_the_address_is_left_alone(visit: Visit) -> None:
    """As in a notebook, whose address is not ours."""
    page = opened(visit, "notebook")
    page.get_by_role("slider").first.press("ArrowLeft")
    expect(sentence(page)).to_contain_text("After 100 steps")
    assert rested_address(page) == ""
    expect(page.locator(".l2rw-copy")).to_have_count(0)
    assert visit.errors == []


def test_two_playgrounds_do_not_disturb_each_other(visit: Visit) -> None:
    page = opened(visit, "two")
    assert page.locator(".l2rw-playground").count() == 2
    before = pictures(page)
    page.locator(".l2rw-playground").nth(1).get_by_role("slider").first.press("ArrowRight")
    first, second = pictures(page)[:4], pictures(page)[4:]
    assert first == before[:4]
    assert second[:2] != before[4:6]
    page.locator(".l2rw-playground").nth(0).get_by_role("slider").first.press("ArrowRight")
    assert re.fullmatch(r"\?second=noise:0\.05,[^&]*&first=noise:0\.55,[^&]*", rested_address(page))
    after = pictures(page)
    page.reload()
    expect(page.locator(".sentence").last).not_to_be_empty(timeout=15_000)
    assert pictures(page) == after
    assert visit.errors == []


# A model as anywidget gives one to each view of a widget: what one view sets, the others hear of.
TWO_VIEWS = """async settings => {
    const {default: widget} = await import('./playground.js');
    const listeners = {};
    const model = {
        get: name => settings[name],
        set(name, value) {
            settings[name] = value;
            for (const listener of listeners[`change:${name}`] ?? []) listener();
        },
        on: (names, listener) => names.split(' ').forEach(name => (listeners[name] ??= new Set()).add(listener)),
        off: (names, listener) => names.split(' ').forEach(name => listeners[name]?.delete(listener)),
        save_changes() {},
    };
    window.leave = [1, 2].map(() => {
        const el = document.querySelector('main').appendChild(document.createElement('div'));
        return widget.render({model, el});
    });
    window.heard = () => Object.values(listeners).reduce((count, all) => count + all.size, 0);
}"""


def test_two_views_of_one_widget_follow_its_settings_and_let_go(visit: Visit) -> None:
    """As a notebook's Python does when it sets a trait."""
    page = visit.open("twice")
    playground = Playground()
    page.evaluate(TWO_VIEWS, {name: getattr(playground, name) for name in ("name", *module.RANGES, "model", "data")})
    here, there = page.locator(".l2rw-playground").all()
    for key, position in (("ArrowRight", 0), ("ArrowLeft", 1)):
        here.get_by_role("slider").nth(position).press(key)
    expect(there.locator(".value").nth(0)).to_contain_text("55%")
    expect(there.locator(".value").nth(1)).to_contain_text("3 (150 to 50)")
    expect(there.locator(".sentence")).to_have_text(here.locator(".sentence").inner_text())
    assert pictures(page)[:4] == pictures(page)[4:]
    assert visit.errors == []
    page.evaluate("window.leave.forEach(leave => leave())")
    assert page.evaluate("window.heard()") == 0
    assert visit.errors == []
