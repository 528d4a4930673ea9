"""Looking at a page of the book with nothing loaded from the network.

Pages ask content delivery networks for MathJax, RequireJS and the widget manager. Those requests are answered from
npm packages of the same versions; every other request that leaves the book is refused and remembered.
"""

from __future__ import annotations

import json
import mimetypes
import os
import re
import shutil
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import pytest
from bs4 import BeautifulSoup
from playwright.sync_api import ConsoleMessage, Page, Route

# The widget manager's style sheet, bundled as text, looks for its icon font beside the page instead of beside itself.
# The theme loads the same icons, so nothing is missing from the page.
ICON_FONT_OF_WIDGETS = "/@jupyter-widgets/"
# Resolves once formulas are typeset and widgets drawn.
READY = """async () => {
    await window.MathJax?.startup?.promise;
    const widgets = () => document.querySelectorAll('script[type="application/vnd.jupyter.widget-view+json"]').length;
    const drawn = () => document.querySelectorAll('.widget-subarea .jupyter-widgets').length > 0;
    for (let waited = 0; widgets() && !drawn() && waited < 15000; waited += 50)
        await new Promise(resolve => setTimeout(resolve, 50));
    await new Promise(resolve => requestAnimationFrame(() => requestAnimationFrame(resolve)));
}"""
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


def packaged_file(packages: Path, url: str) -> Path | None:
    """The file that an npm delivery address stands for, if a package of that version is installed."""
    match = re.fullmatch(r"/npm/((?:@[^/@]+/)?[^/@]+)@([^/]+)/(.+)", urlsplit(url).path)
    if match is None:
        return None
    package, wanted, path = packages / match[1], match[2], match[3]
    file = package / path
    return file if file.is_file() and version_fits(package, wanted) else None


def version_fits(package: Path, wanted: str) -> bool:
    """Whether the installed package has the version asked for: `1.0.6`, or the start of one, `3` or `~0.11.*`."""
    installed = json.loads((package / "package.json").read_text())["version"]
    start = wanted.lstrip("~").removesuffix(".*")
    return f"{installed}.".startswith(f"{start}.")


def rested_address(page: Page) -> str:
    """The query and the fragment of the address, once the reader's hand has rested, by the page's own clock."""
    rested = "new Promise(rested => setTimeout(rested, 600))"
    return page.evaluate(f"{rested}.then(() => location.search + location.hash)")


@dataclass
class Visit:
    """An open page, with what went wrong on it so far."""

    page: Page
    site: str
    packages: Path
    errors: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.route("**/*", self._on_request)

    def _on_console(self, message: ConsoleMessage) -> None:
        origin = message.location.get("url", "")
        harmless = origin.startswith(self.site) and ICON_FONT_OF_WIDGETS in origin
        if message.type == "error" and not harmless:
            self.errors.append(f"{message.text} ({origin})")

    def _on_request(self, route: Route) -> None:
        url = route.request.url
        if url.startswith((self.site, "data:", "blob:")):
            route.continue_()
        elif file := packaged_file(self.packages, url):
            kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
            headers = {"Access-Control-Allow-Origin": "*"}
            route.fulfill(path=file, content_type=kind, headers=headers)
        else:
            self.refused.append(url)
            route.abort()

    def open(self, document: str) -> Page:
        """Load a page of the book and wait until formulas and widgets stand."""
        self.page.goto(f"{self.site}/{document}.html", wait_until="load")
        self.page.evaluate(READY)
        return self.page
