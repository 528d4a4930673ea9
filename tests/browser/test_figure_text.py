"""The text of figures can be read on a phone."""

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


@pytest.mark.parametrize("visit", [PHONE], indirect=True, ids=["390px"])
@pytest.mark.parametrize("document", ["intro", *CHAPTERS])
def test_no_text_of_a_figure_is_too_small_on_a_phone(visit: Visit, document: str) -> None:
    page = visit.open(document)
    assert page.locator("article.bd-article figure svg text").count() > 5
    assert page.evaluate(SMALL_LETTERS, LEAST) == []
