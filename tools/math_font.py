"""Make the font of the book's formulas: STIX Two Math with the characters that formulas are written in, and no others.

    python tools/math_font.py STIXTwoMath-Regular.ttf

The result is committed, so that building the book needs neither this script nor the font that it starts from
(https://github.com/stipub/stixfonts, SIL Open Font License). It needs `brotli` besides what the book needs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fontTools import subset

TARGET = Path(__file__).parents[1] / "tools" / "pages" / "static" / "fonts" / "stix-two-math.woff2"
RANGES = (
    (0x20, 0x7E),  # ASCII
    (0xA0, 0xFF),  # signs and accents of Western Europe
    (0x2C6, 0x2DD),  # accents that stand alone
    (0x300, 0x338),  # accents that combine
    (0x391, 0x3F6),  # Greek
    (0x2010, 0x2044),  # dashes, dots, primes
    (0x20D0, 0x20D7),  # arrows above
    (0x2102, 0x2135),  # letters such as the reals
    (0x2190, 0x21A6),  # arrows
    (0x21D0, 0x21D5),  # double arrows
    (0x2200, 0x22C8),  # operators
    (0x2308, 0x230B),  # floor and ceiling
    (0x23DC, 0x23DF),  # braces above and below
    (0x27E8, 0x27E9),  # angle brackets
    (0x27F5, 0x27FA),  # long arrows
    (0x1D434, 0x1D467),  # italic letters
    (0x1D538, 0x1D550),  # double-struck capitals
    (0x1D6A4, 0x1D6A5),  # i and j without dots
    (0x1D6E2, 0x1D71B),  # italic Greek
)


def make_font(source: Path, target: Path) -> None:
    """Write the characters of `RANGES`, with what stretches and shrinks them, as WOFF2."""
    options = subset.Options(flavor="woff2", layout_features=["ssty", "dtls", "flac"], name_IDs=["*"])
    font = subset.load_font(source, options)
    chosen = subset.Subsetter(options)
    chosen.populate(unicodes=[code for first, last in RANGES for code in range(first, last + 1)])
    chosen.subset(font)
    target.parent.mkdir(parents=True, exist_ok=True)
    subset.save_font(font, target, options)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the font of the book's formulas.")
    parser.add_argument("source", type=Path, help="STIXTwoMath-Regular, as TrueType or OpenType")
    make_font(parser.parse_args().source, TARGET)
    print(f"{TARGET}: {TARGET.stat().st_size / 1e3:.0f} kB")
