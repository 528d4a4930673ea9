"""What a reader of the published pages meets: no kernel, any width, light or dark, keyboard only."""

from __future__ import annotations

import base64
import re
from io import BytesIO
from pathlib import Path
from unicodedata import category

import pytest
from fontTools.ttLib import TTFont
from playwright.sync_api import Locator
from sphinx_external_toc.parsing import parse_toc_yaml
from visiting import AT_REST, UNFOLD, Visit, soup

TOC = Path(__file__).parents[2] / "_toc.yml"
DOCUMENTS = [name.removesuffix(".ipynb").removesuffix(".md") for name in parse_toc_yaml(TOC)]
CHAPTERS = [name for name in DOCUMENTS if name.startswith("chapters/")]
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
DARK = {"color_scheme": "dark"}

every_page = pytest.mark.parametrize("document", DOCUMENTS)

# A slider, or the one that is chosen of a set of buttons.
SLIDERS = "input:is([type=range], :checked)"
# The picture is what the slider is for; the slider itself, its words and small pictures to pick move anyhow.
PICTURES = ":is(figure, img, canvas):not(.l2rw-control *)"

# Text that is read, in pixels; a figure scales with the width of the page, and formulas follow the text around them.
SMALL_TEXT = """least => [...document.querySelectorAll('article.bd-article *')]
    .filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()))
    .filter(e => !e.closest('svg, sup, sub, math, .headerlink, script, style, [aria-hidden=true]'))
    .filter(e => e.checkVisibility({visibilityProperty: true, opacityProperty: true}))
    .filter(e => parseFloat(getComputedStyle(e).fontSize) < least)
    .map(e => `${getComputedStyle(e).fontSize} ${e.tagName}.${e.className}: ${e.textContent.trim().slice(0, 60)}`)"""

# Text painted on the page: each visible run of text with its colour and the colour behind it. Highlighted code is left
# to the theme's own accessible style, and what the theme hides or dims on purpose (prompts, pilcrows) is not text.
CONTRASTS = """() => {
    const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
    const rgba = colour => {  // any CSS colour, color(srgb ...) included, by painting it
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
        return [r, g, b, a / 255];
    };
    const over = ([r, g, b, a], below) => [r, g, b].map((c, i) => c * a + below[i] * (1 - a));
    const behind = element => {
        if (!element) return [255, 255, 255];
        const own = rgba(getComputedStyle(element).backgroundColor);
        return own[3] === 1 ? own.slice(0, 3) : over(own, behind(element.parentElement));
    };
    const shapes = new Map();  // of each drawing, in the order in which they are painted
    const shapesOf = svg => {
        if (!shapes.has(svg)) {
            const found = [...svg.querySelectorAll('path, rect')]
                .filter(s => !s.closest('defs, clipPath, [id^=text_]'))
                .map(s => ({s, style: getComputedStyle(s)}));
            shapes.set(svg, found.filter(({style}) => style.fill !== 'none'));
        }
        return shapes.get(svg);
    };
    const under = text => {  // the page, and over it every filled shape that lies below the middle of the text
        const box = text.getBoundingClientRect(), svg = text.closest('svg');
        const middle = new DOMPoint(box.x + box.width / 2, box.y + box.height / 2);
        let colour = behind(svg);
        for (const {s, style} of shapesOf(svg)) {
            if (!(s.compareDocumentPosition(text) & Node.DOCUMENT_POSITION_FOLLOWING)) continue;
            if (!s.isPointInFill(middle.matrixTransform(s.getScreenCTM().inverse()))) continue;
            const [r, g, b, a] = rgba(style.fill);
            colour = over([r, g, b, a * style.fillOpacity * style.opacity], colour);
        }
        return colour;
    };
    const luminance = rgb => {
        const [r, g, b] = rgb.map(c => c / 255).map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ratio = (a, b) => {
        const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x);
        return (high + 0.05) / (low + 0.05);
    };
    const ownText = element => [...element.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    const glyph = element => element.matches('svg g[id^=text_] :is(path, use)');
    const article = document.querySelector('article.bd-article');
    return [...article.querySelectorAll('*')]
        .filter(e => !e.closest('.highlight, .headerlink, style, script, .toggle-button'))
        .filter(e => glyph(e) || ownText(e))
        .filter(e => e.checkVisibility({visibilityProperty: true, opacityProperty: true}))
        .filter(e => { const box = e.getBoundingClientRect(); return box.width > 0 && box.height > 0; })
        .map(e => {
            const drawn = e.closest('svg') !== null;
            const style = getComputedStyle(e);
            const background = drawn ? under(e) : behind(e);
            const colour = over(rgba(drawn ? style.fill : style.color), background);
            return {
                kind: drawn ? 'figure' : e.closest('.l2rw-control') ? 'control' : 'text',
                text: (e.textContent.trim() || e.closest('g')?.id || e.tagName).slice(0, 60),
                ratio: Math.round(100 * ratio(colour, background)) / 100,
            };
        });
}"""


# Text of a picture that runs over its edge by more than a pixel.
CUT_TEXT = """() => [...document.querySelectorAll('article.bd-article svg text')]
    .filter(text => text.textContent.trim() && text.checkVisibility())
    .filter(text => {
        const box = text.getBoundingClientRect(), edge = text.closest('svg').getBoundingClientRect();
        return Math.max(edge.left - box.left, box.right - edge.right, edge.top - box.top, box.bottom - edge.bottom) > 1;
    })
    .map(text => text.textContent.trim())"""


# Code and printed text with a line that ends outside of the column.
CUT_LINES = """() => [...document.querySelectorAll('.cell_input pre, .cell_output pre')]
    .filter(pre => pre.checkVisibility() && pre.scrollWidth > pre.clientWidth + 1)
    .map(pre => pre.innerText.trim())"""

# Tables that do not fit the column and have to be scrolled sideways.
WIDE_TABLES = """() => [...document.querySelectorAll('article.bd-article table')]
    .filter(table => table.checkVisibility())
    .filter(table => { for (let e = table; e.tagName !== 'ARTICLE'; e = e.parentElement)
                           if (getComputedStyle(e).overflowX !== 'visible') return e.scrollWidth > e.clientWidth + 1;
                       return false; })
    .map(table => table.innerText.slice(0, 80))"""


# Outputs that stand on a card of another colour than the page.
CARDS = """() => [...document.querySelectorAll('.cell_output > .text_html')]
    .filter(output => !output.querySelector('table.dataframe'))
    .filter(output => getComputedStyle(output).backgroundColor !== 'rgba(0, 0, 0, 0)')
    .map(output => output.innerText.trim().slice(0, 60))"""


# Lines that begin with the punctuation of the formula before them.
LOST_MARKS = """() => [...document.querySelectorAll('article.bd-article .math:has(math)')]
    .filter(math => math.checkVisibility() && /^[.,;:!?)”’]/.test(math.nextSibling?.data ?? ''))
    .filter(math => {
        const mark = document.createRange();
        mark.setStart(math.nextSibling, 0);
        mark.setEnd(math.nextSibling, 1);
        return mark.getBoundingClientRect().right < math.getBoundingClientRect().right;
    })
    .map(math => math.parentElement.textContent.trim())"""


# What LaTeX looks like where it was left as it is; code is code.
LATEX = r"""() => [...document.querySelectorAll('article.bd-article *:not(script, style, code, pre, code *, pre *)')]
    .flatMap(e => [...e.childNodes].filter(n => n.nodeType === 3).map(n => n.data))
    .filter(text => /\\[([]|\\[a-z]+\b|\$[^$]+\$/.test(text))"""
# Formulas without any height: a browser that does not know MathML puts letters in a row, and draws nothing else.
FLAT = """() => [...document.querySelectorAll('math:has(mfrac, munderover)')]
    .filter(math => math.checkVisibility())
    .filter(math => math.getBoundingClientRect().height < 1.2 * parseFloat(getComputedStyle(math).fontSize))
    .map(math => math.textContent)"""
# Formulas of which no scrolling shows the beginning, or the end.
CUT_FORMULAS = """() => [...document.querySelectorAll('article.bd-article math')]
    .filter(math => math.checkVisibility())
    .filter(math => {
        let frame = math.parentElement;
        const isOpen = e => e.tagName !== 'ARTICLE' && getComputedStyle(e).overflowX === 'visible';
        while (isOpen(frame)) frame = frame.parentElement;
        const box = math.getBoundingClientRect(), edge = frame.getBoundingClientRect();
        const scrolls = ['auto', 'scroll'].includes(getComputedStyle(frame).overflowX);
        return box.left + frame.scrollLeft < edge.left - 1 || (!scrolls && box.right > edge.right + 1);
    })
    .map(math => math.textContent)"""
# The file of the font of formulas: what a page needs of it, it has.
WHOLE_FONT = "() => [...document.fonts].find(font => font.family.includes('STIX Two Math')).status"


@every_page
def test_page_loads_without_an_error(visit: Visit, document: str) -> None:
    visit.open(document)
    assert visit.refused == [], "the page asks another host"
    assert visit.failed == []
    assert visit.errors == []


@every_page
def test_every_formula_is_set_and_none_is_a_stop_of_the_keyboard(visit: Visit, document: str) -> None:
    page = visit.open(document)
    page.evaluate(UNFOLD)
    assert page.locator(".math:not(:has(> math))").all_inner_texts() == []
    assert page.evaluate(LATEX) == []
    assert page.evaluate(FLAT) == []
    assert page.locator(":is(math, .math)[tabindex]:not([data-symbols])").count() == 0
    assert page.evaluate(WHOLE_FONT) == "unloaded"


@every_page
def test_on_a_phone_every_formula_can_be_seen_from_its_beginning_to_its_end(visit: Visit, document: str) -> None:
    page = visit.open(document)
    page.set_viewport_size({"width": 360, "height": 800})
    page.evaluate(UNFOLD)
    assert page.evaluate(CUT_FORMULAS) == []


def test_the_font_of_formulas_has_all_their_signs(book: Path) -> None:
    written = re.search(r'atob\("([^"]*)"\)', (book / "_static" / "formulas.js").read_text())
    with TTFont(BytesIO(base64.b64decode(written[1]))) as font:
        drawn = font.getBestCmap()
    used = {
        sign for name in DOCUMENTS for math in soup(book / f"{name}.html").select("math") for sign in math.get_text()
    }
    assert len(used) > 60
    assert {sign for sign in used if ord(sign) not in drawn and category(sign)[0] not in "CZ"} == set()


@every_page
def test_page_shows_no_traces_of_a_failed_run(visit: Visit, document: str) -> None:
    page = visit.open(document)
    text = page.locator("article.bd-article").inner_text()
    assert "Traceback (most recent call last)" not in text
    assert page.locator("progress").count() == 0
    assert page.locator("script[type*='jupyter.widget']").count() == 0, "a page has no widget manager"
    assert page.locator(".l2rw-explore:not([data-ready]), .l2rw-playground-host:empty").count() == 0


@pytest.mark.parametrize("document", CHAPTERS)
def test_no_text_of_a_picture_is_cut_off(visit: Visit, document: str) -> None:
    page = visit.open(document)
    assert page.locator("article.bd-article svg text").count() > 10
    assert page.evaluate(CUT_TEXT) == []


@pytest.mark.parametrize("document", CHAPTERS)
def test_no_line_of_code_or_print_is_cut_off(visit: Visit, document: str) -> None:
    page = visit.open(document)
    assert page.locator(".cell_input pre:visible").count() > 3
    assert page.evaluate(CUT_LINES) == []


@pytest.mark.parametrize("document", [*CHAPTERS, "reference/reproduction"])
def test_every_table_fits_its_column(visit: Visit, document: str) -> None:
    page = visit.open(document)
    assert page.locator("article.bd-article table").count() > 0
    assert page.evaluate(WIDE_TABLES) == []


@pytest.mark.parametrize("document", CHAPTERS)
def test_every_slider_changes_the_picture(visit: Visit, document: str) -> None:
    page = visit.open(document)
    explores = page.locator(".l2rw-explore").all()
    assert explores, "every chapter has something to explore"
    for number, explore in enumerate(explores, start=1):
        sliders = explore.locator(SLIDERS).all()
        assert sliders, f"explore {number} has no slider"
        for position, slider in enumerate(sliders, start=1):
            before, drawn = visible_picture(explore), what_is_drawn(explore)
            slider.focus()
            # It may stand at either end: one of the two steps is possible. The others move from where the figure opens.
            steps = {"ArrowRight": "ArrowLeft", "ArrowLeft": "ArrowRight"}
            back = next((steps[key] for key in steps if drawn_after(explore, key) != drawn), None)
            assert back, f"slider {position} of explore {number} does nothing"
            assert visible_picture(explore) != before, f"slider {position} of explore {number} changes nothing in sight"
            assert drawn_after(explore, back) == drawn, f"slider {position} of explore {number} does not lead back"


def drawn_after(explore: Locator, key: str) -> list[bytes | str]:
    """What is drawn once a key was pressed."""
    explore.page.keyboard.press(key)
    return what_is_drawn(explore)


def picture_after(explore: Locator, key: str) -> list[bytes]:
    """The picture once a key was pressed."""
    explore.page.keyboard.press(key)
    return visible_picture(explore)


def visible_picture(explore: Locator) -> list[bytes]:
    """What can be seen of the pictures inside."""
    return [picture.screenshot(animations="disabled") for picture in pictures_of(explore)]


def what_is_drawn(explore: Locator) -> list[bytes | str]:
    """The pictures inside, by their markup where they have one: edges of the same line may be smoothed in two ways."""
    markup = "picture => picture.matches('figure') ? picture.outerHTML : null"
    return [p.evaluate(markup) or p.screenshot(animations="disabled") for p in pictures_of(explore)]


def pictures_of(explore: Locator) -> list[Locator]:
    """Those that are visible, at least one."""
    pictures = [picture for picture in explore.locator(PICTURES).all() if picture.is_visible()]
    assert pictures, "no picture is visible"
    return pictures


@pytest.mark.parametrize("visit", [PHONE], indirect=True, ids=["390px"])
@every_page
def test_page_is_legible_on_a_phone_and_does_not_scroll_sideways(visit: Visit, document: str) -> None:
    page = visit.open(document)
    page.evaluate(UNFOLD)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 390
    assert page.evaluate(SMALL_TEXT, 14) == []
    assert page.evaluate(LOST_MARKS) == []
    too_wide = page.evaluate(
        """() => [...document.querySelectorAll('article.bd-article > section *')]
            .filter(e => e.getBoundingClientRect().left < 390 && e.getBoundingClientRect().right > 391)
            .filter(e => { for (let p = e.parentElement; p; p = p.parentElement)
                               if (getComputedStyle(p).overflowX !== 'visible' && p.tagName !== 'BODY'
                                   && p.getBoundingClientRect().right <= 391) return false;
                           return true; })
            .map(e => e.tagName + '.' + e.className)"""
    )
    assert too_wide == [], "cut off at the right, and nothing around it scrolls"


@pytest.mark.parametrize("visit", [DARK], indirect=True, ids=["dark"])
@every_page
def test_dark_page_is_legible(visit: Visit, document: str) -> None:
    page = visit.open(document)
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.evaluate(AT_REST)  # colours fade from one theme to the other
    contrasts = page.evaluate(CONTRASTS)
    assert any(entry["kind"] == "text" for entry in contrasts)
    if page.locator(".l2rw-explore").count():
        assert any(entry["kind"] == "control" for entry in contrasts)
    assert [entry for entry in contrasts if entry["ratio"] < 4.5] == []
    assert page.evaluate(CARDS) == []
