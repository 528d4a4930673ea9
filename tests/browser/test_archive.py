"""The archive, unpacked on a machine without a network and opened by a double click."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from make_archive import FOLDER, make_archive
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect
from test_book import CHAPTERS, DOCUMENTS, SLIDERS, picture_after, visible_picture
from visiting import READY

# As readers name their folders: with what an address has to escape.
UNPACKED = "Downloads & más #1"


@pytest.fixture(scope="module")
def folder(book: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive's folder, unpacked."""
    place = tmp_path_factory.mktemp("archive")
    make_archive(book, place / "book.zip")
    with zipfile.ZipFile(place / "book.zip") as archive:
        archive.extractall(place / UNPACKED)
    return place / UNPACKED / FOLDER


@dataclass
class Offline:
    """A page of the unpacked book in a browser without a network."""

    page: Page
    folder: Path

    def __post_init__(self) -> None:
        self.errors: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._on_request)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} ({message.location.get('url', '')})")

    def _on_request(self, request: Request) -> None:
        if urlsplit(request.url).scheme not in {"file", "data", "blob"}:
            self.asked.append(request.url)

    def open(self, document: str) -> Page:
        self.page.goto((self.folder / f"{document}.html").as_uri(), wait_until="load")
        self.page.evaluate(READY)
        return self.page


@pytest.fixture
def offline(browser: Browser, folder: Path) -> Iterator[Offline]:
    context = browser.new_context(offline=True)
    yield Offline(context.new_page(), folder)
    context.close()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_page_needs_no_network(offline: Offline, document: str) -> None:
    page = offline.open(document)
    assert offline.asked == []
    assert offline.errors == []
    assert page.locator(".l2rw-explore:not([data-ready])").count() == 0


def test_sliders_move_their_pictures(offline: Offline) -> None:
    page = offline.open(CHAPTERS[0])
    explore = page.locator(".l2rw-explore").first
    before = visible_picture(explore)
    explore.locator(SLIDERS).first.focus()
    assert any(picture_after(explore, key) != before for key in ("ArrowRight", "ArrowLeft"))


def test_playground_takes_a_step(offline: Offline) -> None:
    page = offline.open("intro")
    playground = page.locator(".l2rw-playground").first
    before = playground.inner_text()
    playground.get_by_role("button", name="Step").click()
    expect(playground).not_to_have_text(before, use_inner_text=True)  # it is drawn in the next frame


def test_mathematics_and_icons_have_their_own_letters(offline: Offline) -> None:
    page = offline.open("chapters/02_method")
    fonts = page.evaluate("() => [...document.fonts].filter(f => f.status === 'loaded').map(f => f.family)")
    assert {"STIX Two Math", "Font Awesome 6 Free"} <= {family.strip('"') for family in fonts}
    icons = page.evaluate(
        """() => [...document.querySelectorAll("[class*=fa-]")].filter(icon => icon.checkVisibility()).map(icon => {
            const sign = getComputedStyle(icon, "::before");
            return [icon.className, sign.fontFamily.includes("Font Awesome") && sign.content.length === 3];
        })"""
    )
    assert len(icons) >= 4
    assert [name for name, is_drawn in icons if not is_drawn] == []


def test_search_finds_a_word_and_leads_to_it(offline: Offline) -> None:
    page = offline.open("intro")
    page.keyboard.press("Control+K")
    page.keyboard.type("convergence")
    page.keyboard.press("Enter")
    hit = page.locator("#search-results li a").first
    hit.wait_for()
    hit.click()
    page.wait_for_load_state()
    assert urlsplit(page.url).scheme == "file"
    assert "converge" in page.locator("article").inner_text().lower()
    assert offline.errors == []
    assert offline.asked == []


def test_the_first_file_leads_to_the_book(offline: Offline) -> None:
    offline.page.goto((offline.folder / "index.html").as_uri())
    offline.page.wait_for_url("**/intro.html")
