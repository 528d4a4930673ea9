"""What a reader has to load, and how long the landing page takes."""

from __future__ import annotations

import json
import time
from pathlib import Path

from playwright.sync_api import Browser, Route
from test_book import CHAPTERS
from visiting import READY, packaged_file, soup

HEAVIEST = 3_000_000
HEAVIEST_FRAME = 20_000
SOON_S = 2.0
VISITS = 5


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


def test_landing_page_is_usable_within_two_seconds(browser: Browser, site: str, packages: Path) -> None:
    """Text, formulas, playground and its buttons; in one visit of five, since a busy machine is not a slow page."""

    def from_packages(route: Route) -> None:
        file = packaged_file(packages, route.request.url)
        assert file is not None, f"{route.request.url} is not in tests/browser/package.json"
        route.fulfill(path=file, headers={"Access-Control-Allow-Origin": "*"})

    context = browser.new_context()
    page = context.new_page()
    # Only what leaves the book passes through here: it would slow every file of the book down.
    page.route("https://**/*", from_packages)
    times: list[float] = []
    while len(times) < VISITS and min(times, default=SOON_S) >= SOON_S:
        started = time.monotonic()
        page.goto(f"{site}/intro.html")
        page.evaluate(READY)
        page.locator(".l2rw-playground").get_by_role("button", name="Step").click(trial=True)
        times.append(time.monotonic() - started)
    context.close()
    assert min(times) < SOON_S, f"took {', '.join(f'{seconds:.1f} s' for seconds in times)}"
