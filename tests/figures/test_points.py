"""Pictures of points show the labels, the weights and the line that they were given."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from l2rw_core.datasets import two_classes
from l2rw_core.figures import COLOURS, figure, show
from l2rw_core.figures.points import SPAN, boundary, clean_scatter, plane, scatter


@pytest.fixture
def ax():
    _, ax = figure()
    return ax


def named(ax):
    return {c.get_label(): c for c in ax.collections if not c.get_label().startswith("_")}


def test_marker_follows_the_given_label_and_a_cross_the_truth(ax):
    points = two_classes(40, imbalance=3, noise=0.2)
    scatter(ax, points, names=("rare", "frequent"))
    shown = named(ax)
    np.testing.assert_array_equal(shown["rare"].get_offsets(), points.x[points.y == 0])
    np.testing.assert_array_equal(shown["frequent"].get_offsets(), points.x[points.y == 1])
    np.testing.assert_array_equal(shown["wrong label"].get_offsets(), points.x[points.flipped])
    assert to_hex(shown["rare"].get_facecolor()[0]) == COLOURS["minority"]
    assert to_hex(shown["wrong label"].get_facecolor()[0]) == COLOURS["noisy"]
    assert shown["wrong label"].get_zorder() > shown["rare"].get_zorder()


def test_without_wrong_labels_there_is_no_cross(ax):
    scatter(ax, two_classes(10))
    assert "wrong label" not in named(ax)


def test_area_is_in_proportion_to_weight_whatever_their_sum(ax):
    points = two_classes(6)
    weights = torch.tensor([1.0, 2.0, 3.0, 0.0, 4.0, 2.0])
    scatter(ax, points, weights / 100, area=20.0)
    sizes = {
        tuple(xy): size
        for c in named(ax).values()
        for xy, size in zip(c.get_offsets().tolist(), c.get_sizes(), strict=True)
    }
    expected = {tuple(xy): 10 * w for xy, w in zip(points.x.tolist(), weights.tolist(), strict=True) if w}
    assert sizes == pytest.approx(expected)


def test_all_zero_weights_leave_specks(ax):
    scatter(ax, two_classes(10), torch.zeros(10))
    assert all(len(c.get_offsets()) == 0 for c in named(ax).values())
    assert sum(len(c.get_offsets()) for c in ax.collections) == 10


@pytest.mark.parametrize("weights", [torch.ones(9), torch.full((10,), -1.0)])
def test_impossible_weights_are_refused(ax, weights):
    with pytest.raises(ValueError, match=r"weights must be at least 0 and of shape \(10,\)"):
        scatter(ax, two_classes(10), weights)


def test_boundary_lies_where_the_logit_is_zero(ax):
    assert boundary(ax, lambda x: x[:, 0] - 2 * x[:, 1] - 1, "l2rw", "line")
    (path,) = ax.collections[-1].get_paths()
    across, up = path.vertices.T
    np.testing.assert_allclose(across - 2 * up, 1, atol=1e-9)
    assert up.min() == pytest.approx((-SPAN[0] - 1) / 2)
    assert up.max() == pytest.approx((SPAN[0] - 1) / 2)


def test_a_model_with_one_answer_has_no_line_but_a_place_in_the_legend(ax):
    assert not boundary(ax, lambda x: 0 * x[:, 0] + 1, "baseline", "plain")
    assert ax.get_legend_handles_labels()[1] == ["plain"]


def test_clean_points_are_in_the_legend_once(ax):
    clean_scatter(ax, two_classes(10))
    assert list(named(ax)) == ["clean"]


def test_plane_fixes_the_limits():
    fig, ax = figure()
    scatter(ax, two_classes(300, gap=4))
    plane(ax)
    assert ax.get_xlim() == (-SPAN[0], SPAN[0])
    assert "first coordinate" in show(fig, alt="Points.").svg
