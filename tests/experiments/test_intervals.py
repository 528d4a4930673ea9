"""Intervals say what a handful of trials can say."""

import math

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from l2rw_core.experiments import Interval, holm, in_words, interval, prediction_interval


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
    assert in_words(Interval(-1.26, 0.5, 3), 1, "+") == "−1.3 ± 0.5"


def test_the_p_value_and_the_interval_say_the_same():
    rng = np.random.default_rng(2)
    for trials in (2, 3, 7):
        values = rng.normal(0, 1, trials)
        i = interval(values)
        assert i.p_below(i.high) == pytest.approx(0.025)
        assert i.p_below(i.low) == pytest.approx(0.975)
        assert i.p_below(i.mean) == pytest.approx(0.5)
        assert i.p_below(0.3) == pytest.approx(ttest_1samp(values, 0.3, alternative="less").pvalue)


def test_trials_that_do_not_differ_are_on_one_side_and_a_single_one_on_none():
    assert [Interval(1.0, 0.0, 3).p_below(limit) for limit in (0.9, 1.0, 1.1)] == [1.0, 0.0, 0.0]
    assert math.isnan(Interval(1.0, math.nan, 1).p_below(0.0))


def test_holm_holds_the_smallest_against_the_hardest_limit():
    assert holm([0.01, 0.04, 0.03, 0.005], level=0.05) == [True, False, False, True]
    assert holm([0.013, 0.013, 0.013, 0.013], level=0.05) == [False] * 4  # each alone would fall
    assert holm([0.025]) == [True]
    assert holm([math.nan, 0.001]) == [False, True]
    assert holm([]) == []


def test_of_many_true_hypotheses_holm_lets_one_fall_as_rarely_as_of_one():
    draws = np.random.default_rng(3).uniform(size=(4000, 15))
    assert np.mean([any(holm(p, 0.05)) for p in draws]) == pytest.approx(0.05, abs=0.012)
    assert np.mean([(p <= 0.05).any() for p in draws]) > 0.5
