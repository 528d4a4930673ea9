"""The text of figures can be read: on a phone too, and none lies on another."""

from __future__ import annotations

import pytest
from test_book import CHAPTERS, PHONE
from visiting import Visit

LEAST = 12
# Letters above and below a line, as in 10^3, are smaller than the line on paper too.
SMALL_LETTERS = """least => [...document.querySelectorAll('article.bd-article figure svg text')]
    .filter(text => text.textContent.trim() && text.checkVisibility())
    .filter(text => {
        const {a, b, c, d} = text.getScreenCTM();
        const scale = Math.sqrt(Math.abs(a * d - b * c));  // turned text too
        return parseFloat(getComputedStyle(text).fontSize) * scale < least - 0.1;
    })
    .map(text => text.textContent.trim())"""

# Pairs of texts of one picture that share more than two by five pixels; a word twice at one place is drawn once.
COLLISIONS = """() => {
    const found = [];
    for (const svg of document.querySelectorAll('article.bd-article figure svg')) {
        const texts = [...svg.querySelectorAll('text')].filter(t => t.textContent.trim() && t.checkVisibility());
        const boxes = texts.map(text => text.getBoundingClientRect());
        boxes.forEach((a, i) => boxes.slice(0, i).forEach((b, j) => {
            const width = Math.min(a.right, b.right) - Math.max(a.left, b.left);
            const height = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
            const words = [texts[j].textContent, texts[i].textContent];
            if (width > 2 && height > 5 && words[0] !== words[1]) found.push(words.join(' | '));
        }));
    }
    return found;
}"""


@pytest.mark.parametrize("document", ["reference/cost", *CHAPTERS])
def test_no_text_of_a_figure_lies_on_another(visit: Visit, document: str) -> None:
    page = visit.open(document)
    assert page.locator("article.bd-article figure svg text").count() > 5
    assert page.evaluate(COLLISIONS) == []


@pytest.mark.parametrize("visit", [PHONE], indirect=True, ids=["390px"])
@pytest.mark.parametrize("document", ["reference/cost", *CHAPTERS])
def test_no_text_of_a_figure_is_too_small_on_a_phone(visit: Visit, document: str) -> None:
    page = visit.open(document)
    assert page.locator("article.bd-article figure svg text").count() > 5
    assert page.evaluate(SMALL_LETTERS, LEAST) == []


@pytest.mark.parametrize("visit", [PHONE], indirect=True, ids=["390px"])
@pytest.mark.parametrize("document", ["reference/cost", *CHAPTERS])
def test_figures_are_as_wide_in_dark_as_in_light(visit: Visit, document: str) -> None:
    page = visit.open(document)
    widths = "() => [...document.querySelectorAll('article.bd-article figure')].map(figure => figure.clientWidth)"
    light = page.evaluate(widths)
    assert max(light) > 300
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("document.documentElement.dataset.theme === 'dark'")
    assert page.evaluate(widths) == light
