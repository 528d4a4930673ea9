"""Looking at a page of the book: every request that leaves the book is refused, and remembered."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NoReturn

import pytest
from bs4 import BeautifulSoup
from playwright.sync_api import ConsoleMessage, Page, Response, Route

# Resolves once what scripts of the page make is drawn.
READY = """async () => {
    await document.fonts.ready;
    await new Promise(resolve => requestAnimationFrame(() => requestAnimationFrame(resolve)));
}"""
# Resolves once no transition is on its way.
AT_REST = "() => Promise.allSettled(document.getAnimations().map(moving => moving.finished))"
# Solutions, citations, code, and what else a reader has to open first; the theme looks at it within 300 ms.
UNFOLD = """async () => {
    for (const details of document.querySelectorAll('details')) details.open = true;
    for (const title of document.querySelectorAll('.toggle-hidden > .admonition-title')) title.click();
    if (document.querySelector('.toggle-hidden')) throw new Error('something stayed folded');
    await new Promise(resolve => setTimeout(resolve, 500));
}"""


def unavailable(reason: str) -> NoReturn:
    """Skip on a reader's machine, fail where the tests must run."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def chromium() -> str | None:
    """The system's Chromium, None if there is none."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@cache
def soup(file: Path) -> BeautifulSoup:
    """A built page, read once; for tests that need no browser."""
    return BeautifulSoup(file.read_text(encoding="utf-8"), "html.parser")


def rested_address(page: Page) -> str:
    """The query and the fragment of the address, once the reader's hand has rested, by the page's own clock."""
    rested = "new Promise(rested => setTimeout(rested, 600))"
    return page.evaluate(f"{rested}.then(() => location.search + location.hash)")


@dataclass
class Visit:
    """An open page, with what went wrong on it so far."""

    page: Page
    site: str
    errors: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("response", self._on_response)
        self.page.route("**/*", self._on_request)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} ({message.location.get('url', '')})")

    def _on_response(self, response: Response) -> None:
        if response.status >= 400:
            self.failed.append(f"{response.status} {response.url}")

    def _on_request(self, route: Route) -> None:
        url = route.request.url
        if url.startswith((self.site, "data:", "blob:")):
            route.continue_()
        else:
            self.refused.append(url)
            route.abort()

    def open(self, document: str) -> Page:
        """Load a page of the book and wait until it stands."""
        self.page.goto(f"{self.site}/{document}.html", wait_until="load")
        self.page.evaluate(READY)
        return self.page
