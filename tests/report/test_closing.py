"""A chapter's claims close it as a table, and a claim that fails is an error that names it."""

import math

import pytest

from l2rw_core.experiments import Interval
from l2rw_core.report.closing import above, below, between, every, hold

FIVE = Interval(4.0, 0.5, 5)


@pytest.mark.parametrize(
    ("bound", "margin"),
    [
        (above(4.0, 3.0), 1.0),
        (above(3.0, 4.0), -1.0),
        (below(4.0, 3.0), -1.0),
        (above(FIVE, 3.0), 0.5),
        (below(FIVE, 4.2), -0.3),
        (below(FIVE, 6.0), 1.5),
        (between(FIVE, 3.0, 10.0), 0.5),
        (between(FIVE, 0.0, 5.0), 0.5),
        (between(0.1, 0.2, 0.4), -0.1),
    ],
)
def test_the_margin_is_that_of_the_nearer_end(bound, margin):
    assert bound.margin == pytest.approx(margin)
    assert bool(bound) == (margin > 0)


def test_a_number_at_its_limit_is_on_neither_side():
    assert not above(3.0, 3.0)
    assert not below(3.0, 3.0)


def test_a_limit_that_reads_like_the_number_is_told_in_full():
    assert str(below(0.5, 0.5 + 1e-9)) == "0.5 < 0.500000001"
    assert str(below(0.2, 0.5 + 1e-9)) == "0.2 < 0.5"


def test_a_single_trial_bounds_nothing():
    alone = Interval(4.0, math.nan, 1)
    assert not above(alone, 0)
    assert not below(alone, 10)
    assert every([above(9.0, 0.0), above(alone, 0)]).value is alone


def test_of_several_the_one_with_the_least_margin_is_told():
    tight = above(1.1, 1.0)
    assert every([above(5.0, 1.0), tight, below(0.0, 2.0)]) is tight
    with pytest.raises(ValueError, match="choose what it is about"):
        every([])


def test_claims_that_hold_are_a_table_with_number_and_margin():
    table = hold({"it is small": below(FIVE, 6.0), "it <adds> up": True, "many": above(12_345, 1_000)})
    assert "<td>4.00 ±\N{NO-BREAK SPACE}0.50 &lt;\N{NO-BREAK SPACE}6</td><td>1.5</td><td>holds</td>" in table.html
    assert '<th scope="row">it &lt;adds&gt; up</th><td></td><td></td><td>holds</td>' in table.html
    assert "<td>12,345 &gt;\N{NO-BREAK SPACE}1,000</td><td>11,345</td>" in table.html
    assert repr(table).splitlines() == [
        "holds: it is small (4.00 ± 0.50 < 6; margin 1.5)",
        "holds: it <adds> up",
        "holds: many (12,345 > 1,000; margin 11,345)",
    ]


def test_every_claim_that_fails_is_named_with_its_number():
    with pytest.raises(AssertionError, match=r"^no longer true: low \(0.2 > 0.5\); plain$"):
        hold({"low": above(0.2, 0.5), "right": True, "plain": False})
    with pytest.raises(ValueError, match="give it a claim"):
        hold({})


def test_under_a_readers_own_parameters_a_claim_that_fails_is_a_line_and_no_error():
    alone, nothing = Interval(4.0, math.nan, 1), Interval(math.nan, math.nan, 1)
    claims = {"low": above(0.2, 0.5), "right": True, "one": above(alone, 0), "none": above(nothing, 0), "plain": False}
    table = hold(claims, own=True)
    assert repr(table).splitlines() == [
        "does not hold: low (0.2 > 0.5; margin −0.3)",
        "holds: right",
        "does not hold: one (4.00 > 0; margin unknown)",
        "does not hold: none (unknown > 0; margin unknown)",
        "does not hold: plain",
    ]
    assert "with yours: 1 of 5 hold." in table.html
    with pytest.raises(AssertionError, match="no longer true: low"):
        hold(claims)
