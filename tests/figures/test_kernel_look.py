"""With a kernel tables and numbers bring their style and script; on a page of the book, which has both, they do not."""

from __future__ import annotations

import pytest

from l2rw_core.experiments import Results
from l2rw_core.figures.kernel import with_look
from l2rw_core.figures.numbers import Difference, Noted, NumberTable, number
from l2rw_core.report.words import InShort, Paragraph

RESULTS = Results.load("table1")
OURS, PLAIN = (RESULTS.cell(row, data="mnist") for row in ("l2rw", "baseline"))


class Measured(Noted):
    """A number that rests on no record."""

    def _note(self) -> dict[str, str]:
        return {"Time of a step": "2.0 times"}

    def __str__(self) -> str:
        return "2.0"


SHOWN = {
    "a number": number(OURS),
    "a measured number": Measured(),
    "a difference": Difference(OURS, PLAIN),
    "a paragraph": Paragraph(["It has ", number(OURS), "."]),
    "a box": InShort(paper="a", here=["b ", number(OURS)], scale="c", believe="d"),
    "a table": NumberTable(["method", "last"], [["l2rw", number(OURS)]], "Test accuracy."),
}


@pytest.mark.parametrize("shown", SHOWN.values(), ids=SHOWN)
def test_with_a_kernel_the_output_of_a_cell_has_its_style(shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("L2RW_PAGE", raising=False)
    html = shown._repr_html_()
    assert ".l2rw-record[popover]" in html
    assert "--jp-border-color2" in html
    assert ("<script>" in html) == isinstance(shown, NumberTable)
    assert "http" not in html.replace("http://www.w3.org", "")


@pytest.mark.parametrize("shown", SHOWN.values(), ids=SHOWN)
def test_a_page_of_the_book_brings_both_itself(shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("L2RW_PAGE", "1")
    html = shown._repr_html_()
    assert "<style>" not in html
    assert "<script>" not in html


def test_text_without_a_number_needs_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("L2RW_PAGE", raising=False)
    assert with_look("<p>words</p>") == "<p>words</p>"
