"""Intervals say what a handful of trials can say."""

import math

import numpy as np
import pytest

from l2rw_core.experiments import Interval, in_words, interval, prediction_interval


def test_one_more_trial_falls_in_the_interval_19_times_in_20():
    draws = np.random.default_rng(0).normal(90, 2, (4000, 6))
    held = [abs(last - i.mean) <= i.half_width for *others, last in draws for i in [prediction_interval(others)]]
    assert np.mean(held) == pytest.approx(0.95, abs=0.015)


def test_a_spread_cannot_be_seen_from_one_trial():
    with pytest.raises(ValueError, match="at least two"):
        prediction_interval([90.0])


def test_the_mean_lies_in_the_interval_19_times_in_20():
    draws = np.random.default_rng(1).normal(90, 2, (4000, 4))
    inside = [i.low <= 90 <= i.high for values in draws for i in [interval(values)]]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.015)


def test_intervals_in_words():
    assert in_words(Interval(86.5, math.nan, 1)) == "86.50"
    assert in_words(Interval(86.5, 0.25, 3)) == "86.50 ± 0.25"
    assert in_words(Interval(1.26, 0.5, 3), 1, "+") == "+1.3 ± 0.5"
    assert in_words(Interval(-1.26, 0.5, 3), 1, "+") == "-1.3 ± 0.5"
