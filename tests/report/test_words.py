"""A chapter opens with a box whose numbers open their records, and whose verdicts are those of the report."""

import re

import pandas as pd
import pytest

from l2rw_core.experiments import Results, load_records, results_root
from l2rw_core.figures.numbers import number
from l2rw_core.report.claims import VERDICTS
from l2rw_core.report.page import findings
from l2rw_core.report.words import InShort, Paragraph, standing


def test_the_box_has_four_named_lines_and_numbers_that_open():
    ours = number(Results.load("fig2", "paper").cell("l2rw", ratio=200), "error")
    box = InShort("errors < 5%", ["error ", ours, " at 200:1"], "the paper's", "yes")
    assert re.findall(r"<dt>(.*?)</dt>", box.html) == ["The paper", "Here", "Scale", "Believe it?"]
    assert "<dd>errors &lt; 5%</dd>" in box.html
    assert "popovertarget" in box.html
    assert repr(box).splitlines()[1] == f"Here: error {ours} at 200:1"


def test_a_paragraph_is_escaped_and_its_numbers_open():
    ours = number(Results.load("fig2", "paper").cell("l2rw", ratio=200), "error")
    told = Paragraph(["a < b: ", ours, "."])
    assert told.html.startswith('<p class="l2rw-told">a &lt; b: <span class="l2rw-number"')
    assert repr(told) == f"a < b: {ours}."
    assert Paragraph("x > y").html == '<p class="l2rw-told">x &gt; y</p>'
    assert Paragraph("one\n\ntwo").html == '<p class="l2rw-told">one</p><p class="l2rw-told">two</p>'


@pytest.mark.parametrize(
    ("where", "named"),
    [
        (("Figure 2",), "Figure 2"),
        (("Figure 4", "Figure 5"), "Figure 4 and Figure 5"),
        (("Figure 3", "Figure 3, on training images"), "Figure 3"),
    ],
)
def test_its_verdicts_are_those_of_the_report(where, named):
    rows = pd.read_csv(results_root().parent / "reproduction.csv").query("kind == 'claim'")
    rows = rows[rows["where"].isin(where)]
    said = standing(*where)
    assert said.startswith(f"{len(rows)} checks of what the paper says of {named}, one for")
    for verdict in VERDICTS:
        count = (rows.verdict == verdict).sum()
        assert (f"{count} {verdict.removesuffix('s')}" in said) == (count > 0)


def test_the_findings_of_the_first_page_are_those_of_the_readme():
    records = load_records()
    page = findings(records)._repr_html_()
    assert page.count("<li>") == 3
    assert page.count('class="l2rw-number"') == 10
    readme = (results_root().parents[1] / "README.md").read_text()
    for row, grid in (("l2rw", "table2"), ("random", "table1")):
        shown = str(number(Results.load(grid).cell(row, data="fashion_mnist")))
        assert shown in page
        assert shown in readme


def test_a_figure_without_claims_is_refused():
    with pytest.raises(ValueError, match="no claim is about Figure 99; choose of Figure 2"):
        standing("Figure 99")
