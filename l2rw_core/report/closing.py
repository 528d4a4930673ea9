"""How a chapter closes: a table of what it claims, each claim with its number, its margin, and whether it holds.

Under the chapter's own parameters a claim that fails is an error. Under a reader's own it is a line of the table.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from l2rw_core.experiments import Interval, Record, in_words
from l2rw_core.figures.numbers import NumberTable
from l2rw_core.numerals import typeset

COLUMNS = ("claim", "number", "margin", "holds")


@dataclass(frozen=True)
class Bound:
    """A number that a claim asks to be on one side of a limit; of an interval, all of it."""

    value: Interval | float
    limit: float
    side: str
    """``above`` or ``below``."""

    @property
    def margin(self) -> float:
        """How far the value is on its side of the limit, by the end of an interval that is nearer; NaN if unknown."""
        if isinstance(self.value, Interval):
            nearest = self.value.low if self.side == "above" else self.value.high
        else:
            nearest = self.value
        return float(nearest - self.limit if self.side == "above" else self.limit - nearest)

    def __bool__(self) -> bool:
        return self.margin > 0

    def __str__(self) -> str:
        value, limit = _in_short(self.value), _in_short(self.limit)
        if value == limit:
            limit = typeset(repr(self.limit))
        return f"{value} {'>' if self.side == 'above' else '<'} {limit}"


def above(value: Interval | float, limit: float) -> Bound:
    """That a number, or the whole of an interval, is above a limit. The interval of a single trial is not."""
    return Bound(value, limit, "above")


def below(value: Interval | float, limit: float) -> Bound:
    """That a number, or the whole of an interval, is below a limit. The interval of a single trial is not."""
    return Bound(value, limit, "below")


def between(value: Interval | float, low: float, high: float) -> Bound:
    """That a number, or the whole of an interval, is between two limits: the nearer of them."""
    return every([above(value, low), below(value, high)])


def every(bounds: Iterable[Bound]) -> Bound:
    """The bound of several that holds by the least, or fails by the most.

    Raises:
        ValueError: without a bound, so that a claim about nothing does not hold.
    """
    bounds = list(bounds)
    if not bounds:
        raise ValueError("a claim about every one of several numbers has none: choose what it is about")
    return min(bounds, key=lambda bound: -math.inf if math.isnan(bound.margin) else bound.margin)


class ClaimTable(NumberTable):
    """The claims of a chapter, on a page as a table and elsewhere as a line a claim."""

    def __repr__(self) -> str:
        lines = (
            f"{holds}: {claim}" + (f" ({number}; margin {margin})" if number else "")
            for claim, number, margin, holds in self.rows
        )
        return "\n".join(lines)


def hold(claims: Mapping[str, Bound | bool], own: bool = False, runs: Iterable[Record] = ()) -> ClaimTable:
    """The table of a chapter's claims.

    Args:
        claims: what is claimed -> a bound, or whether it is true where no one number says so.
        own: whether the parameters are a reader's own. The chapter claims nothing about these, so no claim that fails
            is an error; the table says for each whether it holds.
        runs: live runs that claims rest on. Where one was stopped before its end, the chapter claims nothing either.

    Raises:
        AssertionError: names every claim that does not hold, with its number; never for a reader's `own` parameters.
        ValueError: there is no claim.
    """
    if not claims:
        raise ValueError("a chapter that claims nothing has nothing to close with: give it a claim")
    failed = [f"{claim} ({says})" if isinstance(says, Bound) else claim for claim, says in claims.items() if not says]
    stopped = not all(record.is_whole for record in runs)
    if failed and not own and not stopped:
        raise AssertionError(f"no longer true: {'; '.join(failed)}")
    caption = "Each claim with its number, the limit that the number keeps, and by how much."
    if own or stopped:
        yours = "yours" if own else "a run that was stopped"
        caption = (
            f"What is claimed for the parameters as they were, looked at with {yours}: "
            f"{len(claims) - len(failed)} of {len(claims)} hold."
        )
    return ClaimTable(COLUMNS, [_row(claim, says) for claim, says in claims.items()], caption)


def _row(claim: str, says: Bound | bool) -> Sequence[str]:
    number, margin = (str(says), _in_short(says.margin)) if isinstance(says, Bound) else ("", "")
    return claim, number, margin, "holds" if says else "does not hold"


def _in_short(value: Interval | float) -> str:
    """Three significant digits; of an interval as many decimals as its larger part needs."""
    if math.isnan(value.mean if isinstance(value, Interval) else value):
        return "unknown"
    if not isinstance(value, Interval):
        return typeset(f"{value:,.0f}" if abs(value) >= 1000 else f"{float(f'{value:.3g}'):g}")
    largest = max(abs(value.mean), abs(value.half_width), 1e-9)
    return in_words(value, max(0, 2 - math.floor(math.log10(largest))))
