"""How long the landing page takes until a reader can use it: text, formulas, playground and its buttons.

    python -m benchmarks.landing_page

The built book is served from this machine, and what its pages ask of delivery networks comes from npm packages of the
same versions, so the time is that of the page itself and not of a line. A visit opens a fresh profile.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from playwright.sync_api import Browser, Page, Route, sync_playwright

from tests.browser.pages import served
from tests.browser.visiting import READY, chromium, packaged_file

BUILT = Path(__file__).parents[1] / "_build"


@dataclass
class Arguments:
    """Open the landing page several times, and print how long it took."""

    visits: int = 7
    book: Path = BUILT / "html"
    packages: Path = BUILT / "npm" / "node_modules"
    """What the pages would load from a network; the browser tests install it."""


def until_usable(page: Page, site: str) -> float:
    """Seconds from asking for the page to a button of the playground that could be pressed."""
    started = time.monotonic()
    page.goto(f"{site}/intro.html")
    page.evaluate(READY)
    page.locator(".l2rw-playground").get_by_role("button", name="Step").click(trial=True)
    return time.monotonic() - started


def visit(browser: Browser, site: str, packages: Path) -> float:
    """The seconds of one visit in a fresh profile."""

    def from_packages(route: Route) -> None:
        file = packaged_file(packages, route.request.url)
        if file is None:
            raise ValueError(f"{route.request.url} is not in tests/browser/package.json")
        route.fulfill(path=file, headers={"Access-Control-Allow-Origin": "*"})

    context = browser.new_context()
    try:
        page = context.new_page()
        # Only what leaves the book passes through here: it would slow every file of the book down.
        page.route("https://**/*", from_packages)
        return until_usable(page, site)
    finally:
        context.close()


def main(arguments: Arguments) -> None:
    """Print the median and the extremes."""
    program = chromium()
    if program is None or not arguments.book.is_dir() or not arguments.packages.is_dir():
        raise SystemExit("the landing page needs Chromium, the book and its packages: run 'make test' first")
    with served(arguments.book) as site, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        seconds = [visit(browser, site, arguments.packages) for _ in range(arguments.visits)]
        browser.close()
    print(f"{np.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f}), {len(seconds)} visits")


if __name__ == "__main__":
    main(tyro.cli(Arguments))
