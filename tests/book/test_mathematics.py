"""Formulas become MathML when the book is built, wherever they stand, and what cannot be set stops the build."""

from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path

import pytest
from bs4 import BeautifulSoup, Tag
from fontTools.ttLib import TTFont
from mathematics import UnknownFormula, font_of, mathml, signs_of, typeset, with_font

FONTS = Path(__file__).parents[2] / "tools" / "pages" / "static" / "fonts"
INLINE = '<span class="math notranslate nohighlight" data-symbols="3">\\({}\\)</span>'
DISPLAY = '<div class="math notranslate nohighlight">\n\\[{}\\]</div>'
NUMBERED = '<div class="math" id="eq"><span class="eqno">(1)<a href="#eq">#</a></span>\\[{}\\]</div>'


def parsed(text: str) -> Tag:
    return BeautifulSoup(text, "html.parser")


def test_a_formula_in_a_sentence_and_one_on_its_own() -> None:
    page = parsed(typeset(f"<p>Let {INLINE.format('a_i')} be.</p>{DISPLAY.format('b^2')}"))
    assert [(math.parent.name, math.get("display")) for math in page.select("math")] == [
        ("span", None),
        ("div", "block"),
    ]
    assert page.p.get_text() == "Let ai be."
    assert page.span["data-symbols"] == "3", "what others wrote on it stays"
    assert page.select_one("msup").get_text() == "b2"


def test_signs_that_html_escapes_are_read_as_latex_means_them() -> None:
    assert parsed(typeset(INLINE.format("t &lt; T"))).math.get_text() == "t<T"


def test_the_number_of_an_equation_stays_beside_it_whoever_wrote_it() -> None:
    ours = parsed(typeset(NUMBERED.format("x")))
    assert ours.select_one(".eqno").get_text() == "(1)#"
    papers = parsed(typeset(DISPLAY.format(r"\hat\theta = \theta \tag{7}")))
    assert papers.select_one(".l2rw-tag").get_text() == "(7)"
    assert "7" not in papers.math.get_text()


def test_letters_of_words_are_upright_and_a_hat_is_an_accent() -> None:
    median = parsed(mathml(r"\operatorname{median}", display=False))
    assert median.select_one("mi").get_text() == "median"
    assert parsed(mathml(r"\hat\theta", display=False)).select_one("mover > mo, mover > mi:last-child") is not None


def test_a_page_that_has_been_set_stays_as_it_is() -> None:
    done = typeset(INLINE.format("a") + NUMBERED.format("b") + DISPLAY.format(r"c \tag{2}"))
    assert typeset(done) == done


@pytest.mark.parametrize(
    ("page", "named"),
    [
        (INLINE.format(r"\nosuchcommand x"), r"'\\\\nosuchcommand x' cannot be set"),
        (INLINE.format(r"\frac{1}"), "cannot be set"),
        ('<div class="math">\\begin{align}a\\end{align}</div>', "begin"),
    ],
)
def test_what_cannot_be_set_is_named(page: str, named: str) -> None:
    with pytest.raises(UnknownFormula, match=named):
        typeset(page)


def test_the_font_is_the_one_that_its_licence_speaks_of() -> None:
    licence = (FONTS / "LICENSE.txt").read_text()
    assert "SIL OPEN FONT LICENSE" in licence
    assert hashlib.sha256((FONTS / "stix-two-math.woff2").read_bytes()).hexdigest() in licence


def test_a_page_has_the_font_of_its_formulas_before_them_and_once() -> None:
    page = f'<html lang="en" data-content_root="../"><head></head><body>{typeset(INLINE.format("a"))}</body></html>'
    done = with_font(page)
    assert [script["src"] for script in parsed(done).select("head > script")] == ["../_static/formulas.js"]
    assert with_font(done) == done


def test_the_font_has_the_signs_of_the_formulas_in_every_form_and_no_others() -> None:
    signs = signs_of("<p>q</p>" + typeset(INLINE.format(r"x &lt; \epsilon")))
    assert signs == {"x", "<", "ϵ"}
    with TTFont(BytesIO(font_of(signs))) as font:
        drawn = set(map(chr, font.getBestCmap()))
        assert "MATH" in font
    assert signs | {"\N{MATHEMATICAL ITALIC SMALL X}", "\N{MATHEMATICAL ITALIC EPSILON SYMBOL}"} <= drawn
    assert drawn.isdisjoint("q\N{MATHEMATICAL ITALIC SMALL Q}\N{SQUARE ROOT}")
