"""The README's pictures show a playground that has run, beside the map, and the suspects of an audit."""

from __future__ import annotations

import io
from pathlib import Path

import make_picture
import pytest
from PIL import Image
from playwright.sync_api import Browser


@pytest.mark.parametrize("scheme", make_picture.SCHEMES)
def test_a_picture_is_the_playground_and_the_map_on_the_colour_of_its_scheme(browser: Browser, scheme: str) -> None:
    drawing = '<svg class="drawn" viewBox="0 0 10 10"><rect width="10" height="10" fill="#ff00ff"/></svg>'
    shot = Image.open(io.BytesIO(make_picture.picture(browser, scheme, drawing))).convert("RGB")
    corner = "#{:02x}{:02x}{:02x}".format(*shot.getpixel((2, 2)))
    assert corner == make_picture.SCHEMES[scheme]
    assert shot.width == 2 * make_picture.WIDTH
    colours = [colour for _, colour in sorted(shot.getcolors(1 << 20), reverse=True)]
    assert (255, 0, 255) in colours, "the map"
    left = shot.crop((0, 100, shot.width // 2, shot.height))
    assert len(left.getcolors(1 << 20)) > 20, "the playground is empty"


@pytest.mark.parametrize("scheme", make_picture.SCHEMES)
def test_the_audit_is_shown_with_its_most_suspect_images(browser: Browser, scheme: str, tmp_path: Path) -> None:
    """On a page that stands for one, since the command's own is tested where it is made."""
    colour = {"light": "#fff", "dark": "#111"}[scheme]
    (tmp_path / "report.html").write_text(
        f"<style>@media (prefers-color-scheme: {scheme}) {{ body {{ background: {colour} }} }}</style><h1>Audit</h1>"
    )
    shot = Image.open(io.BytesIO(make_picture.audit_picture(browser, scheme, tmp_path / "report.html")))
    assert shot.size == (2 * make_picture.AUDIT_VIEW["width"], 2 * make_picture.AUDIT_VIEW["height"])
    assert shot.convert("RGB").getpixel((2, 2)) == {"light": (255,) * 3, "dark": (17,) * 3}[scheme]
