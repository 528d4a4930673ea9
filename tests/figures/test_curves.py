"""Curves say what the records say."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_hex

from l2rw_core.experiments import Curve, Experiment, Record
from l2rw_core.figures import COLOURS, curves, figure


def record(seed, errors, method="l2rw"):
    curve = Curve()
    for step, error in enumerate(errors):
        curve.add(100 * step, accuracy=1 - error)
    return Record(
        Experiment(method=method, seed=seed), "", [1, 1], 0.0, curve, [0.5, 0.5], f"{seed}", 1.0,
        {"commit": "a" * 40, "device": "CPU"},
    )  # fmt: skip


GROUPS = {
    "l2rw": [record(s, (0.5, 0.02 + 0.01 * s)) for s in range(3)],
    "baseline": [record(s, (0.5, 0.4), "baseline") for s in range(3)],
}


def test_errors_over_steps():
    steps, errors = curves.errors_over_steps(GROUPS["l2rw"])
    assert steps.tolist() == [0, 100]
    np.testing.assert_allclose(errors, [[0.5, 0.02], [0.5, 0.03], [0.5, 0.04]])


def test_alt_text_and_caption_come_from_the_records():
    drawing = curves.error_curves(GROUPS, caption="Four against nine.")
    assert "L2RW 3.0% ± 2.5%; plain training 40.0% ± 0.0%" in drawing.alt
    assert drawing.caption.startswith("Four against nine. MNIST, the paper's scale: 8,000 steps, 3 trials a method")
    assert drawing.caption.endswith("mean, thin lines for single ones; CPU.")


def parts_of(monkeypatch, groups):
    """How many lines and bands are drawn, and the caption."""
    seen = []
    monkeypatch.setattr(curves, "show", lambda fig, alt, caption: seen.append(fig) or curves.Drawing("", alt, caption))
    caption = curves.error_curves(groups).caption
    (ax,) = seen[0].axes
    return len(ax.lines), len(ax.collections), caption


def test_three_trials_are_lines_and_four_an_interval(monkeypatch):
    trials = [record(s, (0.5, 0.02 + 0.01 * s)) for s in range(4)]
    lines, bands, _ = parts_of(monkeypatch, {"l2rw": trials[:3]})
    assert (lines, bands) == (4, 0)
    lines, bands, caption = parts_of(monkeypatch, {"l2rw": trials})
    assert (lines, bands) == (1, 1)
    assert "4 trials a method, mean and 95% interval" in caption
    lines, bands, caption = parts_of(monkeypatch, {"l2rw": trials, "baseline": trials[:2], "random": trials[:1]})
    assert (lines, bands) == (5, 1)
    assert "1 to 4 trials a method, mean, and 95% interval or thin lines for single ones" in caption


def test_a_short_run_is_timed_in_parts_of_a_second():
    def after(seconds):
        made = replace(record(0, (0.5, 0.1)), training_seconds=seconds)
        return curves.accuracy_against_time({"l2rw": [made]}).caption

    assert "L2RW 90.0% after 0.42 s." in after(0.42)
    assert "L2RW 90.0% after 5,275 s." in after(5275.3)


def test_one_trial_is_drawn_without_an_interval():
    drawing = curves.error_curves({"l2rw": GROUPS["l2rw"][:1]})
    assert "L2RW 2.0%." in drawing.alt
    assert "8,000 steps, 1 trial; CPU" in drawing.caption
    assert "nan" not in drawing.svg


def test_trials_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="different steps"):
        curves.errors_over_steps([record(0, (0.5, 0.1)), record(1, (0.5, 0.1, 0.1))])


@pytest.mark.parametrize("groups", [{}, {"l2rw": []}])
def test_nothing_to_draw_says_how_to_run_it(groups):
    with pytest.raises(ValueError, match="l2rw reproduce"):
        curves.error_curves(groups)


def test_methods_without_a_colour_of_their_own_differ():
    styles = [curves.style_of(name, k) for k, name in enumerate(("proportion", "resample", "random"))]
    assert len({(colour, str(dash)) for colour, dash in styles}) == 3


def weighed(seed, shares, effective, method="l2rw"):
    made = record(seed, [0.5, 0.3, 0.2][: len(shares)], method)
    made.curve.weight_by_class[:] = [[share, 1 - share] for share in shares]
    made.curve.effective_examples[:] = effective
    return made


def test_effective_examples_are_means_as_far_as_the_shortest_trial():
    _, ax = figure()
    long, short = weighed(0, (0, 0.3, 0.5), [0, 20, 30]), weighed(1, (0, 0.3), [0, 40])
    ends = curves.effective_lines(ax, {"l2rw": [long, short], "other": [long]}, {"other": "noisy"})
    mean, other = ax.lines
    assert [list(line.get_data()[0]) for line in (mean, other)] == [[100], [100, 200]]
    assert [list(line.get_data()[1]) for line in (mean, other)] == [[30], [20, 30]]
    assert ends == {"l2rw": 30, "other": 30}
    assert to_hex(other.get_color()) == COLOURS["noisy"]


def test_effective_examples_leave_batches_without_weight_out():
    half_idle = weighed(0, (0, 0.3, 0.5), [0, 1, 0])
    half_idle.curve.idle_steps[:] = [None, 0.5, 1.0]
    _, ax = figure()
    curves.effective_lines(ax, {"l2rw": [half_idle, weighed(1, (0, 0.3, 0.5), [0, 4, 5])]})
    assert list(ax.lines[0].get_ydata()) == [3, 5]


def test_trials_at_a_step_are_a_dot_each_and_told_in_the_mean(monkeypatch):
    seen = []
    monkeypatch.setattr(curves, "show", lambda fig, alt, caption: seen.append(fig) or curves.Drawing("", alt, caption))
    groups = {
        name: [weighed(s, (0, share, share + 0.1 * s), [1, 1, 1], name) for s in range(2)]
        for name, share in (("baseline", 0.0), ("l2rw", 0.3))
    }
    drawing = curves.trials_at(groups, 200, "MNIST")
    errors, shares = ([line.get_ydata() for line in ax.lines] for ax in seen[0].axes)
    np.testing.assert_allclose(errors, [[0.2, 0.2], [0.2, 0.2]])
    np.testing.assert_allclose(shares, [[0.0, 0.1], [0.3, 0.4]])
    assert "L2RW has 20.0% ± 0.0% test error and puts 35.0% of the weight on the rare class" in drawing.alt
    assert drawing.caption.endswith("MNIST, 2 trials each.")
