"""What a reader has to load."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from test_book import CHAPTERS, DOCUMENTS
from visiting import soup

from benchmarks import pages

HEAVIEST = 1_500_000
"""Bytes of a page with all that it loads, before compression."""
MOST_FILES = 40
"""The theme's style and scripts, two fonts, and the page. It may ask for fewer."""
MOST_SHIFT = 0.05
HEAVIEST_FRAME = 20_000
EMPTY = re.compile(r"></(?:path|use|circle|rect|line)>")  # as the parser writes elements without content


def test_the_weights_on_record_are_those_of_the_pages(book: Path) -> None:
    weights = json.loads((book.parent / "weights.json").read_text())
    assert weights.keys() >= {"intro", "chapters/02_method", "search"}
    assert {name: (book / f"{name}.html").stat().st_size for name in weights} == {
        name: weight["bytes"] for name, weight in weights.items()
    }


def frames(file: Path) -> list[int]:
    """Bytes of every picture of the page's sliders, each as if it stood alone."""
    found = []
    for explore in soup(file).select(".l2rw-explore"):
        data = json.loads(explore.select_one("script[type='application/json']").string)
        lines = [
            len(line.encode()) for line in (explore.select_one("script[type='text/plain']").string or "").split("\n")
        ]
        pairs = [list(zip(runs[::2], runs[1::2], strict=True)) for runs in data["runs"][1:]]
        found += [
            len(EMPTY.sub("/>", str(explore.svg)).encode()),
            *(sum(sum(lines[at : at + n]) for at, n in runs) for runs in pairs),
        ]
    return found


def test_no_frame_of_a_slider_weighs_more_than_twenty_kilobytes(book: Path) -> None:
    weights = {document: frames(book / f"{document}.html") for document in CHAPTERS}
    assert sum(map(len, weights.values())) > 100
    assert {name: max(found) for name, found in weights.items() if max(found, default=0) >= HEAVIEST_FRAME} == {}


@pytest.mark.parametrize("document", [*DOCUMENTS, "search"])
def test_page_is_light_answers_and_stays_where_it_is(browser: Browser, site: str, document: str) -> None:
    """On a phone; `python -m benchmarks.pages` says how long it takes, too."""
    seen = pages.visit(browser, f"{site}/{document}.html", slowed=1, width=390)
    assert seen.bytes <= HEAVIEST
    assert seen.requests <= MOST_FILES
    assert seen.moved < MOST_SHIFT


@pytest.mark.parametrize("document", ["intro", "chapters/01_two_biases", "chapters/02_method"])
def test_a_playground_on_a_wide_screen_has_its_columns_at_once(browser: Browser, site: str, document: str) -> None:
    """On a processor that is slow enough to show how it begins."""
    assert pages.visit(browser, f"{site}/{document}.html", slowed=4, width=1280).moved < MOST_SHIFT


HANDS = """<!DOCTYPE html><html lang="en"><head><title>Hands</title><link rel="icon" href="data:,"></head><body><main>
<h1>Hands</h1><article><a href="#">one</a><input type="range" aria-label="two" value="1" max="9"><button>three</button>
<math tabindex="0"><mi>x</mi></math><math><mi>y</mi></math><img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">
</article></main><script>
const busy = () => { for (const end = Date.now() + 300; Date.now() < end;); };
document.querySelector('input').addEventListener('input', busy);
</script></body></html>"""


def test_what_a_page_does_under_a_readers_hands(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "hands.html").write_text(HANDS)
    used = pages.use(browser, (tmp_path / "hands.html").as_uri(), slowed=1)
    assert used.slowest >= 0.3
    assert (used.stops, used.formulas) == (4, 1)
    assert used.faults == ["image-alt (1)"]


def test_what_misses_an_aim_is_bold() -> None:
    line = pages.as_line(
        "intro", {"files": 33, "MB": 1.6, "readable, s": 0.5, "formulas among them": 1, "axe says": ""}
    )
    assert line == "| intro | 33 | **1.6** | 0.5 | **1** |  |"
