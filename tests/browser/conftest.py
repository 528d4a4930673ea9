"""The built book, served, and a Chromium to look at it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import served
from playwright.sync_api import Browser, sync_playwright
from visiting import Visit, chromium, unavailable


@pytest.fixture(scope="session")
def site(book: Path) -> Iterator[str]:
    """Address of the book on a free local port."""
    with served(book) as address:
        yield address


@pytest.fixture(scope="module")  # not longer: while it is open, nothing else in this process can run an event loop
def browser() -> Iterator[Browser]:
    """The system's Chromium."""
    program = chromium()
    if program is None:
        unavailable("no chromium, chromium-browser or google-chrome on this machine")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser, site: str, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """A page in a fresh profile; parametrise indirectly with the browser context's options."""
    context = browser.new_context(**getattr(request, "param", {}))
    yield Visit(context.new_page(), site)
    context.close()
