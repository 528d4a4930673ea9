"""Figures of the book: house style, inline SVG with alt text."""

from l2rw_core.extras import require

require("chapters", "matplotlib", "pandas", "scipy")

from l2rw_core.figures.style import (
    COLOURS,
    DASHES,
    INK,
    MARKERS,
    PALETTE,
    PAPER,
    Drawing,
    as_sentence,
    dots,
    figure,
    house,
    pen,
    show,
    to_svg,
)

__all__ = [
    "COLOURS",
    "DASHES",
    "INK",
    "MARKERS",
    "PALETTE",
    "PAPER",
    "Drawing",
    "as_sentence",
    "dots",
    "figure",
    "house",
    "pen",
    "show",
    "to_svg",
]
