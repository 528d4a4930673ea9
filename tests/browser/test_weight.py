"""What a reader has to load."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from test_book import CHAPTERS
from visiting import Visit, soup

from benchmarks import landing_page

pytestmark = pytest.mark.real_data

HEAVIEST = 3_000_000
HEAVIEST_FRAME = 20_000
FILES_OF_LANDING_PAGE = 44
"""As many as it asks for today: theme, mathematics, widgets and their manager. It may ask for fewer."""
BYTES_OF_LANDING_PAGE = 6_000_000


def test_no_page_weighs_more_than_three_megabytes(book: Path) -> None:
    weights = json.loads((book.parent / "weights.json").read_text())
    assert weights.keys() >= {"intro", "chapters/02_method", "search"}
    assert {name: weight["bytes"] for name, weight in weights.items() if weight["bytes"] > HEAVIEST} == {}
    assert {name: (book / f"{name}.html").stat().st_size for name in weights} == {
        name: weight["bytes"] for name, weight in weights.items()
    }


def frames(file: Path) -> list[int]:
    """Bytes of every position of the page's sliders."""
    states = soup(file).select('script[type="application/vnd.jupyter.widget-state+json"]')
    models = [model for state in states for model in json.loads(state.text)["state"].values()]
    values = [model["state"].get("value", "") for model in models if model["model_name"] == "HTMLModel"]
    return [len(value.encode()) for value in values if "<svg" in value]


def test_no_frame_of_a_slider_weighs_more_than_twenty_kilobytes(book: Path) -> None:
    weights = {document: frames(book / f"{document}.html") for document in CHAPTERS}
    assert sum(map(len, weights.values())) > 100
    assert {name: max(found) for name, found in weights.items() if max(found, default=0) >= HEAVIEST_FRAME} == {}


def test_landing_page_can_be_used_as_soon_as_it_stands(browser: Browser, site: str, packages: Path) -> None:
    """Text, formulas, playground and its buttons; `python -m benchmarks.landing_page` says how long they take."""
    assert landing_page.visit(browser, site, packages) > 0


def test_landing_page_asks_for_little(visit: Visit) -> None:
    """What makes it fast, and does not depend on the machine: few files, and few bytes of them."""
    page = visit.open("intro")
    loaded = page.evaluate("performance.getEntriesByType('resource').map(e => [e.name, e.decodedBodySize])")
    assert len(loaded) <= FILES_OF_LANDING_PAGE, [name for name, _ in loaded]
    assert sum(size for _, size in loaded) <= BYTES_OF_LANDING_PAGE, loaded
