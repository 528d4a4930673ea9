"""Numbers on the published pages open records that exist, and tables sort."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest
from visiting import Visit

from l2rw_core.experiments import load_records

PAGES = ("reference/reproduction", "chapters/06_mnist_imbalance", "chapters/08_background_flips")


@pytest.mark.parametrize("document", PAGES)
def test_every_number_names_records_that_are_there(book: Path, document: str):
    text = (book / f"{document}.html").read_text()
    named = [html.unescape(found).split() for found in re.findall(r'data-records="([^"]*)"', text)]
    assert named
    known = {record.id for record in load_records()}
    assert {one for several in named for one in several} <= known
    assert all(named)


def test_no_two_notes_of_a_page_have_one_name(book: Path):
    for document in PAGES:
        names = re.findall(r' id="(number-[^"]+)"', (book / f"{document}.html").read_text())
        assert len(names) == len(set(names))


def test_a_number_opens_its_note_by_keyboard_and_escape_closes_it(visit: Visit):
    visit.open("reference/reproduction")
    button = visit.page.locator(".l2rw-number > button").first
    button.focus()
    visit.page.keyboard.press("Enter")
    note = visit.page.locator(f"#{button.get_attribute('popovertarget')}")
    assert note.is_visible()
    assert "l2rw reproduce" in note.inner_text()
    visit.page.keyboard.press("Escape")
    assert not note.is_visible()


def test_a_heading_sorts_its_column_both_ways(visit: Visit):
    visit.open("reference/reproduction")
    table = visit.page.locator("table.l2rw-table").first
    heading = table.locator("thead th").last
    values = (
        "t => [...t.tBodies[0].rows].map(r => r.cells[r.cells.length - 1].dataset.value).filter(Boolean).map(Number)"
    )
    heading.locator("button").click()
    descending = table.evaluate(values)
    assert len(descending) > 3
    assert descending == sorted(descending, reverse=True)
    assert heading.get_attribute("aria-sort") == "descending"
    heading.locator("button").click()
    assert table.evaluate(values) == sorted(descending)
    last = "t => [...t.tBodies[0].rows].map(r => r.cells[r.cells.length - 1].dataset.value !== undefined)"
    shown = table.evaluate(last)
    assert shown == sorted(shown, reverse=True)  # rows that were not run stay last


@pytest.mark.parametrize("visit", [{"viewport": {"width": 390, "height": 844}}], indirect=True)
def test_a_note_fits_a_phone(visit: Visit):
    visit.open("reference/reproduction")
    visit.page.locator(".l2rw-number > button").first.click()
    box = visit.page.locator(".l2rw-record:popover-open").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390


@pytest.mark.parametrize("visit", [{"viewport": {"width": 390, "height": 844}}], indirect=True)
def test_caption_and_names_stay_while_a_wide_table_is_scrolled(visit: Visit):
    visit.open("chapters/09_noise_and_imbalance")
    table = visit.page.locator("table.l2rw-table:visible").nth(-2)  # the last is that of the claims, which is narrow
    table.evaluate("t => { t.scrollLeft = t.scrollWidth }")
    assert table.evaluate("t => t.scrollLeft") > 200
    edge = table.bounding_box()["x"]
    for part in "caption", "thead th:first-child", "tbody th >> nth=0":
        box = table.locator(part).bounding_box()
        assert abs(box["x"] - edge) <= 1
        assert box["x"] + box["width"] <= 390
    name = table.locator("tbody th").first
    assert "rgba(0, 0, 0, 0)" not in name.evaluate("e => getComputedStyle(e).backgroundColor"), "numbers shine through"
