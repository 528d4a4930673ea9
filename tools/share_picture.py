"""Draw the picture that goes with a shared address of the book: the playground after a while, under the book's title.

    python tools/share_picture.py

It is kept in `tools/pages/static/share.png`, since pages are built without a browser; draw it again when the
playground changes.
"""

from __future__ import annotations

import base64
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
SIZE = {"width": 1200, "height": 630}
"""Pixels; what the large cards of messengers show whole."""
STEPS_MS = 8000
HEADING = 52
"""Pixels above a panel in which its model is named."""
EDGE = 2
"""Pixels around the panels for their borders."""
CARD = """<body style="margin:0;padding:52px 40px;box-sizing:border-box;font-family:sans-serif;background:white">
<h1 style="margin:0;font-size:56px;line-height:1.1">Learning to reweight examples</h1>
<p style="margin:16px 0 40px;font-size:27px;color:#444">A few clean examples say which of the others to learn from.
A book that runs.</p><img style="width:1120px" src="data:image/png;base64,{}"></body>"""


def panels(page: Page) -> bytes:
    """The three models of the playground, trained for a while, with their headings."""
    page.get_by_role("button", name="Run").first.click()
    page.wait_for_timeout(STEPS_MS)
    boxes = page.evaluate(
        "() => [...document.querySelectorAll('.l2rw-playground .panel canvas')]"
        ".map(e => e.getBoundingClientRect().toJSON())"
    )
    left, top = min(box["left"] for box in boxes), min(box["top"] for box in boxes) - HEADING
    width, height = max(box["right"] for box in boxes) - left, max(box["bottom"] for box in boxes) - top
    clip = {"x": left - EDGE, "y": top, "width": width + 2 * EDGE, "height": height + EDGE}
    return page.screenshot(clip=clip)


def draw(book: Path, target: Path) -> None:
    """Write the picture of the built `book`."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 1600}, device_scale_factor=2)
        page.goto((book / "intro.html").as_uri())
        shown = base64.b64encode(panels(page)).decode()
        card = browser.new_page(viewport=SIZE)
        card.set_content(CARD.format(shown))
        card.screenshot(path=target)
        browser.close()


if __name__ == "__main__":
    if not (ROOT / "_build" / "html" / "intro.html").is_file():
        sys.exit("there is no book yet: run 'make book' first")
    draw(ROOT / "_build" / "html", ROOT / "tools" / "pages" / "static" / "share.png")
