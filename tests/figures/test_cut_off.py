"""A figure does not hide what it is there to show."""

import warnings

import matplotlib as mpl
import pytest

from l2rw_core.figures import figure, show

ALT = "The points rise."


def drawn(**limits):
    fig, ax = figure()
    ax.set(ylabel="test error", **limits)
    return fig, ax


@pytest.mark.parametrize(
    ("draw", "kind"),
    [
        (lambda ax: ax.plot([0, 1], [0.2, 0.57], marker="o"), "markers"),
        (lambda ax: ax.scatter([0, 1], [0.2, 0.57]), "markers"),
        (lambda ax: ax.bar([0, 1], [0.2, 0.57]), "bars"),
        (lambda ax: ax.errorbar([0, 1], [0.2, 0.57], [0.1, 0.1], fmt="s"), "markers"),
    ],
    ids=["plot", "scatter", "bar", "errorbar"],
)
def test_what_an_axis_cuts_off_is_named(draw, kind):
    fig, ax = drawn(ylim=(0, 0.4))
    draw(ax)
    ax.set_ylim(0, 0.4)
    with pytest.warns(UserWarning, match=f"^{kind} at 0.57 are outside of 'test error', 0 to 0.4; widen") as seen:
        show(fig, ALT)
    assert [warning.filename for warning in seen] == [__file__]
    ax.set_ylim(0, 0.6)
    show(fig, ALT)  # warnings are errors in these tests


def test_along_the_other_axis_and_upside_down():
    fig, ax = drawn()
    ax.barh(["one", "two", "three"], [3, 12, 15])
    ax.set(xlim=(0, 10), ylim=(3, -1))
    with pytest.warns(UserWarning, match="bars at 12 to 15 are outside of 'x axis', 0 to 10"):
        show(fig, ALT)


def test_what_is_meant_to_leave_the_picture_may():
    """Lines without markers, areas, marks in other coordinates, missing values, and the feet of bars on a log scale."""
    fig, ax = drawn()
    ax.plot([0, 1], [0, 50])
    ax.fill_between([0, 1], [0, 0], [40, 50])
    ax.axhspan(-5, 0.5)
    ax.axvline(0.5)
    ax.plot([0.1, 0.9], [9, 9], marker="v", transform=ax.transAxes)
    ax.plot([0, 1], [float("nan"), 0.3], marker="o")
    ax.set_ylim(0, 1)
    show(fig, ALT)
    fig, ax = drawn()
    ax.bar([0, 1, 2], [1, 20, 0])
    ax.set(yscale="log", ylim=(0.7, 50))
    show(fig, ALT)


def test_figures_of_plain_matplotlib_too():
    fig = mpl.figure.Figure()
    fig.subplots().plot([0, 1], [0, 1], "o")
    show(fig, ALT)
    fig.axes[0].set_xlim(0.5, 2)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        show(fig, ALT)
    assert [str(one.message) for one in seen] == ["markers at 0 are outside of 'x axis', 0.5 to 2; widen its limits"]
