"""Figures of live runs show the numbers that they were given, and say them."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from l2rw_core.experiments import interval
from l2rw_core.figures import COLOURS, DASHES, MARKERS, dots, figure, live, pen
from l2rw_core.figures.live import (
    accuracy_dots,
    accuracy_lines,
    cosine_table,
    interval_rows,
    log_lines,
    mosaic,
    right_and_wrong,
    right_labels,
)

ROLES = {"baseline": "baseline", "own": "l2rw"}


@pytest.fixture
def drawn(monkeypatch):
    """What the function under test handed to `show`: its figure, and the words."""
    seen = {}

    def catch(fig, alt, caption=""):
        seen.update(fig=fig, alt=alt, caption=caption)
        return live.Drawing("<svg/>", alt, caption)

    monkeypatch.setattr(live, "show", catch)
    return seen


def test_a_role_has_one_pen_and_one_kind_of_dot():
    _, ax = figure()
    (line,) = ax.plot([0, 1], [0, 1], **pen("noisy"))
    (marked,) = ax.plot([0, 1], [0, 1], **pen("noisy", marker=True))
    (spots,) = ax.plot([0, 1], [0, 1], **dots("noisy"))
    assert {to_hex(artist.get_color()) for artist in (line, marked, spots)} == {COLOURS["noisy"]}
    assert [artist.get_marker() for artist in (line, marked, spots)] == ["None", MARKERS["noisy"], MARKERS["noisy"]]
    (plain,) = ax.plot([0, 1], [0, 1], linestyle=DASHES["noisy"])
    assert line._unscaled_dash_pattern == marked._unscaled_dash_pattern == plain._unscaled_dash_pattern
    assert spots.get_linestyle() == "None"


def test_dots_stand_at_the_means_and_the_words_have_them_with_their_intervals(drawn):
    results = {
        "first": {"baseline": [0.5, 0.6], "own": np.array([0.7, 0.9])},
        "second": dict.fromkeys(ROLES, [0.8] * 2),
    }
    accuracy_dots(results, ROLES, "Something", 3, {"own": "ours"})
    first, second = drawn["fig"].axes
    mean, half, _ = interval([0.7, 0.9])
    assert [line.get_xdata()[0] for line in first.lines if line.get_marker() in MARKERS.values()] == pytest.approx(
        [0.55, mean]
    )
    assert f"first, ours: {mean:.0%} ± {half:.0%}" in drawn["alt"]
    assert [label.get_text() for label in first.get_yticklabels()] == ["baseline", "ours"]
    assert second.get_title(loc="left") == "second"
    assert first.yaxis_inverted()
    assert drawn["caption"].startswith("Something, 2 trials from seed 3: mean and 95% interval.")


def test_a_table_of_cosines_has_each_number_in_its_cell():
    _, ax = figure()
    cosine_table(ax, np.array([[1.0, -0.26], [-0.04, 0.5]]), ["boot", "dress"])
    written = {(text.get_position()[1], text.get_position()[0]): text.get_text() for text in ax.texts}
    assert written == {(0.5, 0.5): "1.0", (0.5, 1.5): "−.3", (1.5, 0.5): ".0", (1.5, 1.5): ".5"}
    assert ax.yaxis_inverted()
    assert dict(zip(ax.get_yticks(), [label.get_text() for label in ax.get_yticklabels()], strict=True)) == {
        0.5: "boot",
        1.5: "dress",
    }


@pytest.mark.parametrize("log", [False, True])
def test_lines_go_through_the_accuracies(drawn, log):
    lines = {"baseline": {1: 0.2, 10: 0.4}, "own": {1: 0.5, 10: 0.9}}
    accuracy_lines(lines, ROLES, "images", "What is seen.", log=log, marked=10, words="{:.0f} images".format)
    (ax,) = drawn["fig"].axes
    names = {"plain training": "baseline", "own": "own"}
    shown = {names[line.get_label()]: line for line in ax.lines if line.get_label() in names}
    assert {name: dict(zip(*line.get_data(), strict=True)) for name, line in shown.items()} == lines
    assert to_hex(shown["own"].get_color()) == COLOURS["l2rw"]
    (mark,) = [line for line in ax.lines if line.get_label() not in names]
    assert list(mark.get_xdata()) == [10, 10]
    assert ax.get_xscale() == ("log" if log else "linear")
    assert drawn["alt"] == drawn["caption"] == "What is seen."
    if log:
        assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "10"]
    else:
        assert ax.xaxis.get_major_formatter()(10) == "10 images"


def test_lines_are_named_where_they_end_and_not_in_a_legend(drawn):
    names = [f"m{k}" for k in range(4)]
    accuracy_lines({key: {1: 0.5, 2: 0.6} for key in names}, dict.fromkeys(names, "l2rw"), "x", "s")
    (ax,) = drawn["fig"].axes
    assert not drawn["fig"].legends
    assert ax.get_legend() is None
    assert [text.get_text() for text in ax.texts] == names


def test_images_are_laid_out_row_by_row():
    images = np.arange(6)[:, None, None, None] * np.ones((1, 2, 2, 3))
    assert mosaic(images, 3)[::2, ::2].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_what_is_left_of_the_last_row_of_images_is_black():
    images = np.arange(1, 7)[:, None, None, None] * np.ones((1, 2, 2, 3))
    assert mosaic(images, 4)[::2, ::2].tolist() == [[1, 2, 3, 4], [5, 6, 0, 0]]


def test_a_frame_stands_around_each_image_whose_label_is_right(drawn):
    images = np.arange(1, 7)[:, None, None, None] * np.ones((1, 20, 20, 1), np.uint8)
    right = np.array([False, True, False, False, False, True])
    right_labels(images, right, 4, "Six images.")
    (ax,) = drawn["fig"].axes
    picture = np.ma.filled(ax.images[0].get_array(), np.nan)
    framed = []
    for frame in ax.patches:
        x, y = frame.get_x() + frame.get_width() / 2, frame.get_y() + frame.get_height() / 2
        framed.append(picture[round(y), round(x)])
        inside = picture[int(y - 9) : int(y + 9), int(x - 9) : int(x + 9)]
        assert np.isnan(inside).sum() == 0
    assert framed == [2, 6]
    assert drawn["caption"] == drawn["alt"] == "Six images."


def test_right_and_wrong_labels_each_add_to_one_and_the_ends_catch_all():
    _, ax = figure()
    values, wrong = np.array([-5.0, 0.1, 0.9, 0.9, 7.0]), np.array([False, False, False, True, True])
    right_and_wrong(ax, values, wrong, np.array([0.0, 0.5, 1.0]))
    right, bad = ax.containers
    assert [bar.get_height() for bar in right] == pytest.approx([2 / 3, 1 / 3])
    assert [bar.get_height() for bar in bad] == pytest.approx([0, 1])
    assert {bar.get_hatch() for bar in bad} == {"//"}
    assert ax.get_legend_handles_labels()[1] == ["right labels", "wrong labels"]


def test_without_a_wrong_label_there_is_nothing_to_divide_by():
    _, ax = figure()
    right_and_wrong(ax, np.array([0.2, 0.3]), np.zeros(2, bool), np.array([0.0, 1.0]))
    assert [bar.get_height() for bar in ax.containers[0]] == [1]


def test_marks_of_a_row_stand_beside_each_other_at_their_means(drawn):
    results = {"rule": {"a": [1.0, 2.0], "b": [3.0, 3.0]}, "other": {"a": [0.0, 0.0], "b": [2.0, 4.0]}}
    interval_rows(results, {"a": "l2rw", "b": "noisy"}, "weight", (0, 5), "What is seen.")
    (ax,) = drawn["fig"].axes
    a, b = (container.lines[0] for container in ax.containers)
    assert (list(a.get_xdata()), list(b.get_xdata())) == ([1.5, 0.0], [3.0, 3.0])
    np.testing.assert_allclose(a.get_ydata(), [1.27, 0.27])
    np.testing.assert_allclose(b.get_ydata(), [0.73, -0.27])
    (bars,) = ax.containers[0].lines[2]
    half = interval([1.0, 2.0]).half_width
    np.testing.assert_allclose(bars.get_segments()[0][:, 0], [1.5 - half, 1.5 + half])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["rule", "other"]
    assert ax.get_legend_handles_labels()[1] == ["a", "b"]
    assert drawn["alt"] == drawn["caption"] == "What is seen."


def test_both_axes_are_logarithmic_and_lines_are_those_that_were_given(drawn):
    x = np.array([1.0, 10.0])
    log_lines({"bound": (x, 1 / x, pen("l2rw")), "run": (x, 2 / x, dots("noisy"))}, "T", "g", (0.01, 3), "Seen.")
    (ax,) = drawn["fig"].axes
    assert (ax.get_xscale(), ax.get_yscale(), ax.get_ylim()) == ("log", "log", (0.01, 3))
    assert {line.get_label(): list(line.get_ydata()) for line in ax.lines} == {"bound": [1, 0.1], "run": [2, 0.2]}
    assert drawn["caption"] == "Seen."
    log_lines({"bound": (x, x, {})}, "T", "g", (0.1, 20), "Seen.", "Said.")
    assert (drawn["alt"], drawn["caption"]) == ("Seen.", "Said.")
