"""What tables and numbers need where no page of the book brings it: their style and script, in the output of a cell."""

from __future__ import annotations

import os
from pathlib import Path

_STYLE = Path(__file__).with_name("tables.css")
_SCRIPT = Path(__file__).with_name("tables.js")
# The names of the page's theme, by those of JupyterLab, and plain values where neither is.
_COLOURS = """.l2rw-in-kernel {
  --pst-color-text-base: var(--jp-content-font-color1, CanvasText);
  --pst-color-text-muted: var(--jp-content-font-color2, GrayText);
  --pst-color-background: var(--jp-layout-color0, Canvas);
  --pst-color-border: var(--jp-border-color2, color-mix(in srgb, CanvasText 25%, Canvas));
  --pst-color-accent: var(--jp-brand-color1, Highlight);
  --pst-font-family-monospace: var(--jp-code-font-family, monospace);
}
.l2rw-in-kernel .l2rw-record[popover] { position: fixed; inset: 0; margin: auto; }
.l2rw-in-kernel:has(table.l2rw-table) { container-type: inline-size; overflow-x: auto; }
.l2rw-in-kernel table.l2rw-table caption { max-width: 100cqw; }
.l2rw-in-kernel table.l2rw-table tr:nth-child(n) { background-color: transparent; }
.l2rw-in-kernel table.l2rw-table :is(caption, th, td) { text-align: left !important; }
"""


def with_look(html: str) -> str:
    """Tables and numbers as a notebook shows them: they sort, and their notes open, as on a page of the book.

    Pages bring style and script themselves: where the environment variable ``L2RW_PAGE`` is 1, nothing is added.
    """
    if os.environ.get("L2RW_PAGE") == "1" or not ("l2rw-table" in html or "l2rw-number" in html):
        return html
    style = f"<style>{_STYLE.read_text()}{_COLOURS}</style>"
    script = f"<script>{_SCRIPT.read_text()}</script>" if "l2rw-table" in html else ""
    return f'<div class="l2rw-in-kernel">{style}{html}{script}</div>'
