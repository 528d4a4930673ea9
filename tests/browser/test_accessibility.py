"""axe-core finds nothing on any page, folded parts included, in light and in dark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from test_book import DOCUMENTS
from visiting import UNFOLD, Visit

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
# Sphinx makes these by itself.
PAGES = [*DOCUMENTS, "genindex", "search"]
FINDINGS = """async options => {
    const {violations} = await axe.run(document, {resultTypes: ['violations'], ...options});
    return violations.flatMap(
        ({id, nodes}) => nodes.map(node => `${id}: ${node.target} ${node.html.slice(0, 200)} ${node.failureSummary}`),
    );
}"""
# What the theme changes from light to dark is colour.
COLOURS = {"runOnly": ["color-contrast"]}


def findings(visit: Visit, options: dict[str, Any]) -> list[str]:
    return visit.page.evaluate(FINDINGS, options)


@pytest.mark.parametrize("document", PAGES)
def test_axe_finds_nothing(visit: Visit, document: str) -> None:
    page = visit.open(document)
    page.evaluate(UNFOLD)
    page.add_script_tag(path=AXE)
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    assert findings(visit, {}) == []
    # Colours that fade from one theme to the other would be measured half-way.
    page.add_style_tag(content="* { transition: none !important; }")
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("document.documentElement.dataset.theme === 'dark'")
    assert findings(visit, COLOURS) == []


def test_code_that_scrolls_can_be_reached_as_soon_as_it_is_unfolded(visit: Visit) -> None:
    page = visit.open("chapters/05_convergence")
    wide, unreached = page.evaluate(
        """() => {
            for (const title of document.querySelectorAll('.toggle-hidden > .admonition-title')) title.click();
            const code = [...document.querySelectorAll('.toggle pre')];
            const wide = code.filter(one => one.scrollWidth > one.clientWidth);
            return [wide.length, wide.filter(one => one.tabIndex !== 0).map(one => one.id)];
        }"""
    )
    assert wide > 0
    assert unreached == []
