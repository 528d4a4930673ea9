"""Names of lines stand where the lines end, in their colours, and not on each other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex

from l2rw_core.figures import COLOURS, figure, pen
from l2rw_core.figures.labels import apart, name_lines, name_rows


@pytest.mark.parametrize("least", [-np.inf, 0.0])
@given(pairs=st.lists(st.tuples(st.floats(0, 1), st.floats(0.02, 0.3)), min_size=1, max_size=8))
def test_names_keep_their_order_and_do_not_lie_on_each_other_or_below_the_axes(pairs, least):
    wanted, heights = np.array(pairs).T
    places = apart(wanted, heights, least)
    order = np.argsort(wanted, kind="stable")
    lower, upper = (places + sign * heights / 2 for sign in (-1, 1))
    assert (lower[order][1:] >= upper[order][:-1] - 1e-9).all()
    assert lower.min() >= least - 1e-9


def test_names_that_have_room_stay_and_a_pair_that_has_none_moves_as_little_up_as_down():
    np.testing.assert_allclose(apart([0.9, 0.1], np.array([0.1, 0.1])), [0.9, 0.1])
    np.testing.assert_allclose(apart([0.5, 0.5, 0.1], np.array([0.2, 0.2, 0.1])), [0.4, 0.6, 0.1])


def test_a_row_has_its_name_above_it_nearer_than_the_next_row_and_only_once():
    fig, axes = figure(ncols=2, sharey=True)
    name_rows(axes, ["clean set alone", "L2RW"])
    fig.draw_without_rendering()
    places = {text.get_text(): text.get_position()[1] for ax in axes for text in ax.texts}
    assert list(places) == ["clean set alone", "L2RW"]
    assert all(0.3 < place - row < 0.45 for row, place in enumerate(places.values()))
    assert axes[0].get_ylim()[1] > max(places.values()) + 0.2
    assert not any(ax.yaxis.get_tick_params()["labelleft"] for ax in axes)


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_a_name_stands_at_the_end_of_its_line_in_its_colour(scale):
    _, ax = figure()
    ax.plot([0, 1, 2], [0.2, 0.5, np.nan], label="plain training", **pen("baseline"))
    ax.plot([0, 1, 2], [0.2, 0.5, 0.9], label="plain training + fine-tuning", **pen("clean"))
    ax.plot([0, 1], [0.1, 0.1], label="_nolegend_", color="black")
    ax.set(yscale=scale, ylim=(0.1, 1), xlim=(0, 2))
    name_lines(ax)
    names = {text.get_text(): text for text in ax.texts}
    assert names.keys() == {"plain training", "plain training\n+ fine-tuning"}
    for name, role, y in (("plain training", "baseline", 0.5), ("plain training\n+ fine-tuning", "clean", 0.9)):
        assert to_hex(names[name].arrow_patch.get_edgecolor()) == COLOURS[role]
        share = (y - 0.1) / 0.9 if scale == "linear" else 1 + np.log10(y)
        assert names[name].xy == (1, pytest.approx(share))
