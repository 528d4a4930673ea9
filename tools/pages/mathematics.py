r"""Formulas set while the book is built: LaTeX becomes MathML, which browsers set by themselves, without a script.

A Sphinx extension, which `build_book.py` adds to the book's settings. Sphinx and the other extensions write formulas as
for MathJax, `\(...\)` inside of an element of class `math`; the finished pages have MathML in their place.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Set
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any
from unicodedata import decomposition

from fontTools import subset
from math_core import LatexError, LatexToMathML
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.ext.mathjax import html_visit_displaymath, html_visit_math

WRITTEN = re.compile(
    r'(?P<start><(?P<tag>span|div) class="math[^>]*>\s*(?:<span class="eqno">.*?</span>)?)'
    r"(?:\\\((?P<inline>.*?)\\\)|\\\[(?P<display>.*?)\\\])(?P<end>\s*</(?P=tag)>)",
    re.DOTALL,
)
LEFT = re.compile(r'<(?:span|div) class="math\b[^>]*>(?!\s*(?:<span class="eqno">.*?</span>)?<math\b)[^<]*')
TAG = re.compile(r"\\tag\{([^{}]*)\}")
CONTENT_ROOT = re.compile(r'<html\b[^>]*\bdata-content_root="([^"]*)"')
SET = re.compile(r"<math\b.*?</math>", re.DOTALL)
FONT = Path(__file__).parent / "static" / "fonts" / "stix-two-math.woff2"
FAMILY = "STIX Two Math"
SCRIPT = "formulas.js"
ROOT_SIGN = "\N{SQUARE ROOT}"
"""Browsers draw it for `msqrt` and `mroot`, so no text holds it."""


class UnknownFormula(ExtensionError):
    """A formula that cannot be set; the message holds it and says why."""


@cache
def mathml(latex: str, display: bool) -> str:
    r"""One formula as MathML; of a displayed one, `\tag{7}` becomes a number beside it.

    Raises:
        UnknownFormula: LaTeX that is wrong, or that MathML Core has nothing for.
    """
    tags = TAG.findall(latex) if display else []
    try:
        formula = _converter().convert_with_local_state(TAG.sub("", latex) if tags else latex, displaystyle=display)
    except LatexError as error:
        raise UnknownFormula(f"the formula {latex.strip()!r} cannot be set: {error}") from error
    return formula + "".join(f'<span class="l2rw-tag">({html.escape(tag)})</span>' for tag in tags)


@cache
def _converter() -> LatexToMathML:
    return LatexToMathML(fancy_error=False)


def typeset(text: str) -> str:
    """The HTML of a page with its formulas as MathML.

    Raises:
        UnknownFormula: a formula cannot be set, or stands where it is not looked for.
    """
    text = WRITTEN.sub(_set, text)
    if left := LEFT.search(text):
        raise UnknownFormula(f"a formula is not written as {WRITTEN.pattern!r} expects: {left[0]!r}")
    return text


def _set(found: re.Match[str]) -> str:
    display = found["display"] is not None
    latex = html.unescape(found["display"] if display else found["inline"])
    return f"{found['start']}{mathml(latex, display)}{found['end']}"


def typeset_pages(app: Sphinx, failure: Exception | None) -> None:
    """Set the formulas of every page, and give them their font; a page that was not written again has both."""
    if failure is not None or app.builder.format != "html":
        return
    signs = {ROOT_SIGN}
    for file in sorted(Path(app.outdir).rglob("*.html")):
        text = file.read_text(encoding="utf-8")
        if 'class="math' not in text:
            continue
        try:
            done = with_font(typeset(text))
        except UnknownFormula as error:
            raise UnknownFormula(f"{file.relative_to(app.outdir)}: {error}") from error
        if done != text:
            file.write_text(done, encoding="utf-8")
        signs |= signs_of(done)
    Path(app.outdir, "_static", SCRIPT).write_text(font_script(font_of(signs)), encoding="utf-8")


def with_font(page: str) -> str:
    """The page with the script that holds the font of its formulas."""
    root = CONTENT_ROOT.search(page)
    script = f'<script src="{root[1] if root else ""}_static/{SCRIPT}"></script>'
    return page if script in page else page.replace("</head>", f"{script}\n</head>", 1)


def font_script(font: bytes) -> str:
    """A script that has the font ready before the page is drawn: from a file it comes later, and lines break anew.

    The style sheet names the whole font, for signs that are not in here and for browsers without scripts.
    """
    written = base64.b64encode(font).decode()
    return (
        f'document.fonts.add(new FontFace("{FAMILY}", '
        f'Uint8Array.from(atob("{written}"), sign => sign.charCodeAt())));\n'
    )


def signs_of(page: str) -> set[str]:
    """The characters of a page's formulas."""
    return {sign for formula in SET.findall(page) for sign in html.unescape(re.sub(r"<[^>]*>", "", formula))}


def font_of(signs: Set[str]) -> bytes:
    """WOFF2 with these characters and their other forms: browsers set a single letter in italics."""
    options = subset.Options(flavor="woff2", layout_features=["*"], name_IDs=["*"], hinting=False)
    written = BytesIO()
    with subset.load_font(FONT, options, lazy=False) as font:
        chosen = subset.Subsetter(options)
        chosen.populate(unicodes=[code for code in font.getBestCmap() if signs & {chr(code), _letter(chr(code))}])
        chosen.subset(font)
        subset.save_font(font, written, options)
    return written.getvalue()


def _letter(sign: str) -> str:
    """The letter that this is a form of, if it is one: italic, bold or double-struck."""
    form, _, letter = decomposition(sign).partition(" ")
    return chr(int(letter, 16)) if form == "<font>" else sign


def setup(app: Sphinx) -> dict[str, Any]:
    """Write formulas as for MathJax, but without its scripts, and set them at the end."""
    app.add_html_math_renderer("mathml", (html_visit_math, None), (html_visit_displaymath, None))
    app.connect("build-finished", typeset_pages)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
