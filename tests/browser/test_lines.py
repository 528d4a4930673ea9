"""What stands in a line stays in it: links among words, formulas, headings, and the columns of the index."""

from __future__ import annotations

import pytest
from test_book import PHONE, every_page
from visiting import UNFOLD, Visit

# Headings that are higher than their words alone.
HIGHER = """() => [...document.querySelectorAll('article.bd-article :is(h1, h2, h3, h4):has(> a.headerlink)')]
    .filter(heading => {
        const before = heading.getBoundingClientRect().height;
        const link = heading.querySelector('a.headerlink');
        link.remove();
        const after = heading.getBoundingClientRect().height;
        heading.append(link);
        return before > after + 1;
    })
    .map(heading => heading.textContent)"""

# Links of a table that are a block of their own, though words stand beside them.
BLOCKS = """() => [...document.querySelectorAll('article.bd-article td a.reference:not(.l2rw-equation)')]
    .filter(a => [...a.parentElement.childNodes].some(n => n !== a && n.textContent.trim()))
    .filter(a => getComputedStyle(a).display !== 'inline')
    .map(a => a.parentElement.textContent)"""

# Formulas of a sentence that are wider than its lines, and pairs that lie on each other.
CROWDED = """() => {
    const formulas = [...document.querySelectorAll('article.bd-article span.math')].filter(f => f.checkVisibility());
    const wide = formulas.filter(f => f.scrollWidth > f.clientWidth + 1 && f.clientWidth > 0).map(f => f.textContent);
    const boxes = formulas.map(f => (f.querySelector('math') ?? f).getBoundingClientRect());
    const on = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 2
        && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 4;
    const pairs = formulas.slice(1).map((f, i) => [f, i + 1]).filter(([f, i]) => on(boxes[i], boxes[i - 1]))
        .map(([f, i]) => `${formulas[i - 1].textContent} | ${f.textContent}`);
    return [...wide, ...pairs];
}"""

# Entries of the index that reach into the next column, or out of the page.
INTO_THE_NEXT = """() => [...document.querySelectorAll('table.genindextable td')]
    .filter(td => td.scrollWidth > td.clientWidth + 1 || td.getBoundingClientRect().right > innerWidth)
    .map(td => td.textContent.slice(0, 40))"""

# What leads to the pages before and after, and is partly outside of the window.
CUT = """() => [...document.querySelectorAll('.prev-next-area *')].filter(e => {
    const box = e.getBoundingClientRect();
    return box.left < 0 || box.right > innerWidth;
}).map(e => e.closest('a').textContent.trim())"""


@pytest.mark.parametrize("visit", [PHONE], indirect=True, ids=["390px"])
@every_page
def test_the_way_to_the_next_page_fits_a_phone(visit: Visit, document: str) -> None:
    assert visit.open(document).evaluate(CUT) == []


@pytest.mark.parametrize("visit", [{}, PHONE], indirect=True, ids=["wide", "390px"])
@every_page
def test_headings_and_links_of_tables_take_no_line_more_than_their_words(visit: Visit, document: str) -> None:
    page = visit.open(document)
    assert page.locator("article.bd-article h1").count() == 1
    assert page.evaluate(HIGHER) == []
    assert page.evaluate(BLOCKS) == []


@pytest.mark.parametrize("visit", [PHONE], indirect=True, ids=["390px"])
@every_page
def test_formulas_of_a_sentence_fit_its_lines_on_a_phone(visit: Visit, document: str) -> None:
    page = visit.open(document)
    page.evaluate(UNFOLD)
    assert page.evaluate(CROWDED) == []


@pytest.mark.parametrize("visit", [{}, PHONE], indirect=True, ids=["wide", "390px"])
def test_entries_of_the_index_stay_in_their_column(visit: Visit) -> None:
    page = visit.open("genindex")
    assert page.locator("table.genindextable td").count() > 20
    assert page.evaluate(INTO_THE_NEXT) == []


@pytest.mark.parametrize("visit", [{}, PHONE], indirect=True, ids=["wide", "390px"])
def test_what_is_looked_for_stands_beside_the_lens(visit: Visit) -> None:
    page = visit.open("search")
    form = page.locator("form.bd-search").locator("visible=true").first
    lens = form.locator(".fa-magnifying-glass").bounding_box()
    box, style = form.locator("input").evaluate(
        "i => [i.getBoundingClientRect().left, getComputedStyle(i).paddingLeft]"
    )
    assert lens is not None
    assert lens["x"] + lens["width"] <= box + float(style.removesuffix("px"))


@pytest.mark.parametrize("visit", [PHONE], indirect=True, ids=["390px"])
def test_the_frame_of_a_slider_crosses_no_words(visit: Visit) -> None:
    page = visit.open("chapters/05_convergence")
    slider = page.locator(".l2rw-explore input[type=range]").first
    slider.focus()
    page.keyboard.press("ArrowLeft")
    outline, offset = slider.evaluate("i => [getComputedStyle(i).outlineWidth, getComputedStyle(i).outlineOffset]")
    assert float(outline.removesuffix("px")) >= 3
    assert float(offset.removesuffix("px")) <= -3
