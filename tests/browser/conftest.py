"""The built book, served, and a Chromium to look at it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from bookmaking import alone
from pages import served
from playwright.sync_api import Browser, sync_playwright
from visiting import Visit, chromium, unavailable

ROOT = Path(__file__).parents[2]
PACKAGES = ROOT / "_build" / "npm"


@pytest.fixture(scope="session")
def packages() -> Path:
    """`node_modules` with what the pages would load from a network."""
    with alone("packages"):
        return installed_packages(Path(__file__).with_name("package.json"))


def installed_packages(wanted: Path) -> Path:
    """`node_modules` with the packages of this manifest, installed if another one or none was."""
    installed = PACKAGES / "package.json"
    if installed.is_file() and installed.read_bytes() == wanted.read_bytes():
        return PACKAGES / "node_modules"
    npm = shutil.which("npm")
    if npm is None:
        unavailable("npm is not installed")
    shutil.rmtree(PACKAGES, ignore_errors=True)
    PACKAGES.mkdir(parents=True)
    command = [npm, "install", "--no-save", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund"]
    unfinished = PACKAGES / "unfinished"
    unfinished.mkdir()
    shutil.copy(wanted, unfinished)
    done = subprocess.run(command, cwd=unfinished, capture_output=True, text=True, check=False)
    if done.returncode:
        unavailable(f"npm install failed:\n{done.stderr}")
    # The manifest arrives last: its presence says that the packages are complete.
    (unfinished / "node_modules").rename(PACKAGES / "node_modules")
    (unfinished / "package.json").rename(installed)
    return PACKAGES / "node_modules"


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
def visit(browser: Browser, site: str, packages: Path, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """A page in a fresh profile; parametrise indirectly with the browser context's options."""
    context = browser.new_context(**getattr(request, "param", {}))
    yield Visit(context.new_page(), site, packages)
    context.close()
