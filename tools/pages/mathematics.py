r"""Formulas set while the book is built: LaTeX becomes MathML, which browsers set by themselves, without a script.

A Sphinx extension, which `build_book.py` adds to the book's settings. Sphinx and the other extensions write formulas as
for MathJax, `\(...\)` inside of an element of class `math`; the finished pages have MathML in their place.
"""

from __future__ import annotations

import html
import re
from functools import cache
from pathlib import Path
from typing import Any

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
    """Set the formulas of every page; a page that was not written again has none left."""
    if failure is not None:
        return
    for file in sorted(Path(app.outdir).rglob("*.html")):
        text = file.read_text(encoding="utf-8")
        if 'class="math' not in text:
            continue
        try:
            done = typeset(text)
        except UnknownFormula as error:
            raise UnknownFormula(f"{file.relative_to(app.outdir)}: {error}") from error
        if done != text:
            file.write_text(done, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Write formulas as for MathJax, but without its scripts, and set them at the end."""
    app.add_html_math_renderer("mathml", (html_visit_math, None), (html_visit_displaymath, None))
    app.connect("build-finished", typeset_pages)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
