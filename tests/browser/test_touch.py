"""What a finger aims at is at least 24 pixels wide and high on a phone."""

from __future__ import annotations

import pytest
from test_book import PHONE, every_page
from visiting import UNFOLD, Visit

LEAST = 24
# Links in a sentence are as high as its lines; of a radio button and its label, the label takes the finger.
SMALL_TARGETS = """least => {
    const alone = link => ![...link.parentElement.childNodes].some(n => n !== link && n.textContent.trim());
    const targets = 'button, input:not([type=hidden], [type=radio], [type=checkbox]), label:has(input), select,'
        + ' summary, [role=button], [role=slider], .dropdown > .admonition-title, a';
    return [...document.querySelectorAll(targets)]
        .filter(e => e.checkVisibility({visibilityProperty: true, opacityProperty: true}))
        .filter(e => !e.matches('a') || (e.closest('nav, footer, .l2rw-page-end, td, li') && alone(e)))
        .filter(e => !e.matches('.headerlink, .skip-link'))
        .map(e => ({e, box: e.getBoundingClientRect()}))
        .filter(({box}) => box.width > 0 && box.height > 0)
        .filter(({box}) => Math.min(box.width, box.height) < least - 0.1)
        .map(({e, box}) => `${e.tagName}.${e.className} ${box.width} x ${box.height}: ${e.textContent.slice(0, 40)}`);
}"""


@pytest.mark.parametrize("visit", [PHONE], indirect=True, ids=["390px"])
@every_page
def test_what_a_finger_aims_at_is_large_enough(visit: Visit, document: str) -> None:
    page = visit.open(document)
    page.evaluate(UNFOLD)
    assert page.locator("button:visible").count() > 1
    assert page.evaluate(SMALL_TARGETS, LEAST) == []
    page.locator(".primary-toggle").locator("visible=true").tap()
    assert page.locator("dialog[open] nav a:visible").count() > 10
    assert page.evaluate(SMALL_TARGETS, LEAST) == []
