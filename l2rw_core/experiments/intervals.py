"""What a handful of trials says about a mean, about several means at once, and about one more trial."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtr, stdtrit

from l2rw_core.numerals import number


class Interval(NamedTuple):
    """A mean over trials with its 95% confidence interval (Student's t), mean ± half_width."""

    mean: float
    half_width: float
    """NaN for a single trial."""
    trials: int

    @property
    def low(self) -> float:
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        return self.mean + self.half_width

    def p_below(self, limit: float) -> float:
        """How surprising so low a mean would be if the true one were at `limit`: the one-sided p value of Student's t.

        It is at most 0.025 where the whole interval is below the limit, and NaN for a single trial. Of trials that do
        not differ it is 0 or 1.
        """
        if self.half_width == 0:
            return float(self.mean > limit)
        freedom = self.trials - 1
        deviation = self.half_width / stdtrit(freedom, 0.975)
        return float(stdtr(freedom, (self.mean - limit) / deviation))


def interval(values: Sequence[float]) -> Interval:
    """Mean and 95% confidence interval of independent trials."""
    if len(values) == 0:
        raise ValueError("an interval needs at least one trial")
    n, mean = len(values), float(np.mean(values))
    if n == 1:
        return Interval(mean, float("nan"), 1)
    return Interval(mean, float(stdtrit(n - 1, 0.975) * np.std(values, ddof=1) / np.sqrt(n)), n)


def holm(p_values: Sequence[float], level: float = 0.025) -> list[bool]:
    """Which of several hypotheses fall, if all together may fall wrongly with a probability of `level`.

    Holm's correction (1979): the smallest of k p values is held against level / k, the next against level / (k - 1),
    and so on until one does not pass. One interval in forty lies wholly below its limit by chance; of fifteen rows, one
    does so in a third of all comparisons.

    Args:
        p_values: one for each hypothesis; NaN never falls.
        level: one-sided, so that 0.025 goes with 95% intervals.
    """
    order = sorted(range(len(p_values)), key=lambda k: math.inf if math.isnan(p_values[k]) else p_values[k])
    fallen = [False] * len(p_values)
    for passed, k in enumerate(order):
        if not p_values[k] <= level / (len(order) - passed):
            break
        fallen[k] = True
    return fallen


def prediction_interval(values: Sequence[float]) -> Interval:
    """Where one more trial falls in 95 of 100 cases: mean ± t · s · √(1 + 1/n), over n independent trials.

    It answers another question than `interval`, which is about the mean: that one narrows to nothing as trials are
    added, while a single trial keeps its own spread s. The values are taken as normally distributed, so for an
    accuracy near 100% it is rough. With few trials it is wide, and honestly so: t is 12.7 for two, 2.3 for nine.

    Raises:
        ValueError: fewer than two values, from which no spread can be seen.
    """
    n = len(values)
    if n < 2:
        raise ValueError(f"where one more trial falls cannot be said from {n} of them: at least two are needed")
    spread = float(np.std(values, ddof=1) * np.sqrt(1 + 1 / n))
    return Interval(float(np.mean(values)), float(stdtrit(n - 1, 0.975)) * spread, n)


def in_words(value: Interval, digits: int = 2, sign: str = "") -> str:
    """Mean and half width; a single trial has no interval.

    Args:
        value: what to say.
        digits: decimals.
        sign: ``+`` shows the sign of a positive mean too.
    """
    mean = number(value.mean, f"{sign}.{digits}f")
    return mean if math.isnan(value.half_width) else f"{mean} ± {value.half_width:.{digits}f}"
