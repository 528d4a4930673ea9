"""A table of numbers in the output of a notebook's cell, where no page of the book brings style and script."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page

from l2rw_core.experiments import Results
from l2rw_core.figures import figure, show
from l2rw_core.figures.numbers import NumberTable, number
from l2rw_core.interactive import Playground, eight_points, explore, predict

RESULTS = Results.load("table1")
ROWS = ("l2rw", "baseline", "baseline+ft", "random")
NARROW = 300
STRIPES = "<style>.jp-RenderedHTMLCommon tbody tr:nth-child(even) { background: #f5f5f5 }</style>"
"""As JupyterLab has them."""


def drawn(**where):
    return show(figure()[0], alt=f"At {where}.", caption=f"At {where}.")


CONTROLS = {
    "a slider": lambda: explore(drawn, noise=[0.0, 0.2, 0.4, 0.6]),
    "a choice": lambda: explore(drawn, noise=[0.0, 0.2]),
    "eight points": eight_points,
    "a guess": lambda: predict(
        [1, 2, 4, 8], [40.0, 30.0, 20.0, 10.0],
        question="How far?", xlabel="step", ylabel="error", ylim=(0, 50), unit="%",
    ),
    "the playground": Playground,
}  # fmt: skip


@pytest.fixture
def page(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    """The output of a cell, narrower than its table, as in a notebook beside a list of files."""
    monkeypatch.delenv("L2RW_PAGE", raising=False)
    numbers = [[row, *[number(RESULTS.cell(row, data="mnist"), what) for what in ("last", "best")] * 3] for row in ROWS]
    caption = "Test accuracy of four methods, which of its columns is which, and how many trials each of them has."
    table = NumberTable(["method", *["last", "best"] * 3], numbers, caption)
    context = browser.new_context(viewport={"width": 800, "height": 600})
    shown = context.new_page()
    output = f'<div class="jp-RenderedHTMLCommon" style="width: {NARROW}px; overflow: auto">{table._repr_html_()}</div>'
    shown.set_content(STRIPES + output)
    yield shown
    context.close()


def edges(of: Locator) -> tuple[float, float]:
    """Left and right edge in the window."""
    box = of.bounding_box()
    return box["x"], box["x"] + box["width"]


def test_caption_and_names_stay_in_sight_while_a_wide_table_is_scrolled(page: Page) -> None:
    left, right = edges(page.locator(".l2rw-in-kernel"))
    assert edges(page.locator("table"))[1] > right
    seen = [page.locator("caption"), page.locator("tbody th").first]
    assert all(edges(one)[1] <= right for one in seen)
    page.locator("tbody tr:first-child td:last-child").evaluate("cell => cell.scrollIntoView({inline: 'end'})")
    assert edges(page.locator("table"))[0] < left
    assert [edges(one)[0] for one in seen] == pytest.approx([left, left], abs=1)


def test_a_row_has_one_colour(page: Page) -> None:
    """The name of a row hides the numbers that are scrolled below it, so it is no stripe, and no row is."""
    colours = [row.evaluate("row => getComputedStyle(row).backgroundColor") for row in page.locator("tbody tr").all()]
    assert set(colours) == {"rgba(0, 0, 0, 0)"}


def test_a_heading_sorts(page: Page) -> None:
    cells = page.locator("tbody tr td:nth-child(2)")
    values = [float(cell.get_attribute("data-value")) for cell in cells.all()]
    page.locator("thead th").nth(1).click()
    assert [float(cell.get_attribute("data-value")) for cell in cells.all()] == sorted(values, reverse=True) != values


def test_a_number_opens_its_record_in_the_window_line_by_line(page: Page) -> None:
    page.locator(".l2rw-number > button").first.click()
    record = page.locator(".l2rw-record:popover-open")
    box, window = record.bounding_box(), page.viewport_size
    assert 0 < box["x"] < box["x"] + box["width"] < window["width"]
    assert 0 < box["y"] < box["y"] + box["height"] < window["height"]
    tops = [line.bounding_box()["y"] for line in record.locator("> b, > span").all()]
    assert tops == sorted(set(tops))
    page.keyboard.press("Escape")
    assert record.count() == 0


@pytest.mark.parametrize("control", CONTROLS.values(), ids=CONTROLS)
def test_a_notebook_leaves_its_keys_to_a_control(control: Callable, browser: Browser) -> None:
    """It looks at the element that has the focus, and at what that is in too late."""
    context = browser.new_context()
    shown = context.new_page()
    shown.set_content(control().html)
    takes_keys = shown.locator("canvas, input, select, [role=slider]")
    takes_keys.first.wait_for(state="attached")
    assert [one for one in takes_keys.all() if one.get_attribute("data-lm-suppress-shortcuts") is None] == []
    context.close()
