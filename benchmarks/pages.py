"""What every page of the built book asks of a reader's machine: bytes, time until it reads and answers, what moves.

    python -m benchmarks.pages

The book is served from this machine, so the times are those of the page itself and not of a line; the processor is
slowed down four times, as a phone's is. Each visit opens a fresh profile.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.pages import served
from tests.browser.visiting import chromium

BUILT = Path(__file__).parents[1] / "_build"
# Before the page's own scripts: what the browser counts while the page is loaded.
COUNT = """() => {
    window.moved = 0;
    const add = list => list.getEntries().forEach(one => { if (!one.hadRecentInput) window.moved += one.value; });
    new PerformanceObserver(add).observe({type: 'layout-shift', buffered: true});
}"""
LOADED = """() => {
    const files = performance.getEntriesByType('resource');
    const [page] = performance.getEntriesByType('navigation');
    const [paint] = performance.getEntriesByName('first-contentful-paint');
    return {
        requests: files.length + 1,
        bytes: [page, ...files].reduce((sum, one) => sum + one.decodedBodySize, 0),
        readable: paint.startTime / 1000,
        moved: window.moved,
    };
}"""
# A slider or a choice of its own figure: a step, and whether the figure is another one.
STEP = """root => {
    const [input] = root.querySelectorAll('input');
    const before = root.querySelector('figure').innerHTML;
    if (input.type === 'range') input.value = Number(input.value) + (input.value < input.max ? 1 : -1);
    else [...root.querySelectorAll(`input[name="${input.name}"]`)].find(one => !one.checked).checked = true;
    input.dispatchEvent(new Event('input', {bubbles: true}));
    return root.querySelector('figure').innerHTML !== before;
}"""


@dataclass
class Arguments:
    """Open every page several times, and print the median of what it takes."""

    visits: int = 3
    slowed: float = 4
    width: int = 1280
    book: Path = BUILT / "html"


@dataclass(frozen=True)
class Visited:
    """One visit: requests, bytes as they are before compression, seconds since the page was asked for, layout shift."""

    requests: int
    bytes: int
    readable: float
    answers: float
    """Until a slider or the playground has answered; until everything is loaded where there is neither."""
    moved: float


def visit(browser: Browser, address: str, slowed: float = 4, width: int = 1280) -> Visited:
    """Open a page in a fresh profile and move what can be moved."""
    with fresh_page(browser, width) as page:
        page.add_init_script(f"({COUNT})()")
        page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": slowed})
        started = time.monotonic()
        page.goto(address, wait_until="commit")
        answers_at = _answered(page) - started
        page.wait_for_load_state("load")
        page.wait_for_timeout(500)
        return Visited(answers=answers_at, **page.evaluate(LOADED))


def _answered(page: Page) -> float:
    """The time at which the page has answered to a reader's hand."""
    page.wait_for_load_state("domcontentloaded")
    if page.locator(".l2rw-explore").count():
        page.locator(".l2rw-explore[data-ready]").first.wait_for()
        if not page.locator(".l2rw-explore[data-ready]").first.evaluate(STEP):
            raise ValueError(f"{page.url}: the first slider does not change its figure")
    elif page.locator(".l2rw-playground-host").count():
        page.locator(".l2rw-playground").get_by_role("button", name="Step").click()
    else:
        page.wait_for_load_state("load")
    return time.monotonic()


@contextmanager
def fresh_page(browser: Browser, width: int) -> Iterator[Page]:
    """A page in a profile of its own."""
    context = browser.new_context(viewport={"width": width, "height": 844})
    yield context.new_page()
    context.close()


def main(arguments: Arguments) -> None:
    """Print a line a page."""
    program = chromium()
    if program is None or not arguments.book.is_dir():
        raise SystemExit("this needs Chromium and the book: run 'make book' first")
    pages = [
        file for file in sorted(arguments.book.rglob("*.html")) if file.relative_to(arguments.book).parts[0][0] != "_"
    ]
    print(f"{'page':40} {'files':>5} {'MB':>5} {'readable':>9} {'answers':>8} {'moved':>6}")
    with served(arguments.book) as site, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for file in pages:
            name = file.relative_to(arguments.book).as_posix()
            visits = [
                visit(browser, f"{site}/{name}", arguments.slowed, arguments.width) for _ in range(arguments.visits)
            ]
            readable, answers, moved = np.median([[v.readable, v.answers, v.moved] for v in visits], axis=0)
            size = f"{visits[0].requests:5} {visits[0].bytes / 1e6:5.2f}"
            print(f"{name:40} {size} {readable:7.2f} s {answers:6.2f} s {moved:6.3f}", flush=True)
        browser.close()


if __name__ == "__main__":
    main(tyro.cli(Arguments))
