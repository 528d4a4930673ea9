"""What no page of the book uses is taken out of it, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTFont
from light_pages import icons_in, light_page, used_rules, with_glyphs
from sphinx.errors import ExtensionError

WORDS = {"used", "other", "fa-bars"}


@pytest.mark.parametrize(
    "css",
    [
        ".used{color:red}",
        "p,.used>.other:hover::before{content:'}'}",
        "a[href^='x']:not(.unknown){color:red}",
        ":is(.unknown,.used) p{color:red}",
        ".md\\:used{color:red}",
        "@font-face{font-family:F;src:url(a.woff2)}",
        "@import '../basic.css';",
        "@keyframes turn{from{opacity:0}to{opacity:1}}",
        "@media print{@supports (display:grid){.used{color:red}}}",
        '/*! Licence */.used{background:url("data:image/svg+xml;a{b}")}',
        "html[data-theme=dark] .used{color:red}",
    ],
)
def test_what_may_apply_stays(css: str) -> None:
    assert used_rules(css, WORDS) == css


@pytest.mark.parametrize(
    ("css", "left"),
    [
        (".unknown{color:red}p{margin:0}", "p{margin:0}"),
        (".unknown,.used,.used.unknown{color:red}", ".used{color:red}"),
        ("@media print{.unknown{color:red}}", ""),
        ("@media print{.unknown{color:red}p{margin:0}}", "@media print{p{margin:0}}"),
        ("/* a remark { */.used{color:red}", ".used{color:red}"),
        (
            "/*! A licence, Inc. */.unknown,.used{color:red}p{margin:0}",
            "/*! A licence, Inc. */.used{color:red}p{margin:0}",
        ),
        ("p{margin:0}/*! A licence, .unknown */.unknown{color:red}", "p{margin:0}/*! A licence, .unknown */"),
    ],
)
def test_what_cannot_apply_goes(css: str, left: str) -> None:
    assert used_rules(css, WORDS) == left


def test_style_and_script_that_outputs_repeat_stand_once() -> None:
    style, script = "<style>.a{color:red}</style>", '<script type="module">\nset();\n</script>'
    first, other = f"<p>{style}<b></b>{script}</p>", "<style>.b{color:red}</style>"
    frames = '<script type="text/plain">frame</script>'
    assert light_page(first + first + other + frames + frames) == f"{first}<p><b></b></p>{other}{frames}{frames}"


def test_a_style_sheet_that_is_cut_off_is_noticed() -> None:
    with pytest.raises(ExtensionError, match="does not end"):
        used_rules("p{margin:0}.used{color", WORDS)


def test_only_icons_that_a_page_names_are_kept(tmp_path: Path) -> None:
    css = r'.fa-bars:before,.fa-navicon:before{content:"\f0c9"}.fa-moon:before{content:"\f186"}'
    assert icons_in(css, WORDS) == {0xF0C9}
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    pen.lineTo((500, 0))
    pen.lineTo((250, 500))
    pen.closePath()
    names = [".notdef", "bars", "moon"]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({0xF0C9: "bars", 0xF186: "moon"})
    builder.setupGlyf({name: pen.glyph() for name in names})
    builder.setupHorizontalMetrics(dict.fromkeys(names, (600, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Icons", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.font.flavor = "woff2"
    builder.save(tmp_path / "icons.woff2")
    with_glyphs(tmp_path / "icons.woff2", {0xF0C9, 0x1F600})
    with TTFont(tmp_path / "icons.woff2") as font:
        assert list(font.getBestCmap()) == [0xF0C9]


PAGE = """<head><script defer src="../_static/scripts/fontawesome.js?digest=1"></script>
<script src="../_static/own.js"></script></head>"""


def test_no_script_draws_icons() -> None:
    assert light_page(PAGE) == '<head>\n<script src="../_static/own.js"></script></head>'
