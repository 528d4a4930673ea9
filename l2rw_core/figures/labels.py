"""Names at the ends of lines, in place of a legend, and above rows: who reads one need not look for it elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

ROW_HEIGHT = 0.44
"""Inches of a row with its name above it, see `name_rows`."""

_LINE_HEIGHT = 1.25
"""Of a name, in units of its size."""
_OF_THE_FIGURE = 0.75
"""About as much of a figure's height is its axes'."""
_GAP = 0.05
"""Between the axes and a name, in units of the axes' width: room for a short line that leads to it."""


def name_lines(ax: Axes, size: float = 14.0) -> None:
    """Write the label of each line beside the axes at the height at which the line ends, and lead there in its colour.

    Names that would lie on each other are moved apart, in the order of their lines. A long name has two rows. Limits
    of the axes must be set before.

    Args:
        ax: axes with lines that have labels, alone in their row of the figure.
        size: of the text, in points.
    """
    lines = [line for line in ax.get_lines() if not str(line.get_label()).startswith("_")]
    names = [str(line.get_label()).replace(" + ", "\n+ ") for line in lines]
    axes_height = 72 * ax.figure.get_figheight() * _OF_THE_FIGURE / ax.get_gridspec().nrows
    heights = np.array([_LINE_HEIGHT * size * (1 + name.count("\n")) / axes_height for name in names])
    ends = [_end(ax, line) for line in lines]
    for line, name, end, y in zip(lines, names, ends, apart(ends, heights, least=0.0), strict=True):
        lead = {"arrowstyle": "-", "color": line.get_color(), "linestyle": line.get_linestyle(), "relpos": (0, 0.5)}
        lead |= {"linewidth": line.get_linewidth(), "shrinkA": 2, "shrinkB": 0}
        ax.annotate(
            name,
            (1, end),
            xytext=(1 + _GAP, y),
            xycoords="axes fraction",
            textcoords="axes fraction",
            fontsize=size,
            va="center",
            arrowprops=lead,
            annotation_clip=False,
        )


def name_rows(axes: Sequence[Axes], names: Sequence[str]) -> None:
    """Write a name above each row of panels that stand side by side: beside them long names would take half the width.

    Args:
        axes: with one y axis in common, on which the rows stand at 0, 1, and so on. Its limits are set here.
        names: of the rows, lowest first.
    """
    first = axes[0]
    first.set_yticks(range(len(names)))
    first.set_ylim(-0.5, len(names) - 0.2)
    first.set_zorder(1)  # names reach into the panels that are drawn after it
    for ax in axes:
        ax.tick_params(left=False, labelleft=False)
        ax.spines["left"].set_visible(False)
    for row, name in enumerate(names):
        text = first.text(0.0, row + 0.4, name, transform=first.get_yaxis_transform(), va="center")
        text.set_in_layout(False)


def _end(ax: Axes, line: Line2D) -> float:
    """Where a line ends, as a share of the height of the axes; the middle for one that is nowhere."""
    y = np.asarray(line.get_ydata(), float)
    finite = y[np.isfinite(y)]
    if not len(finite):
        return 0.5
    _, height = ax.transAxes.inverted().transform(ax.transData.transform((ax.get_xlim()[1], finite[-1])))
    return float(np.clip(height, 0, 1))


def apart(targets: Sequence[float], heights: np.ndarray, least: float = -np.inf) -> np.ndarray:
    """Places as near to the targets as their heights allow without lying on each other, in the same order.

    Args:
        targets: (n,) places, in any order.
        heights: (n,) how much each takes, centred on its place.
        least: nothing reaches below it.
    """
    order = np.argsort(targets, kind="stable")
    groups: list[tuple[list[int], float]] = []  # neighbours that touch, and the place of the lowest one's lower edge
    for one in order:
        members, low = [int(one)], max(float(targets[one] - heights[one] / 2), least)
        while groups and groups[-1][1] + heights[groups[-1][0]].sum() > low:
            members = [*groups.pop()[0], *members]
            middle = np.mean([targets[m] - _above(members, heights)[k] for k, m in enumerate(members)])
            low = max(float(middle), least)
        groups.append((members, low))
    places = np.empty(len(order))
    for members, low in groups:
        places[members] = low + _above(members, heights)
    return places


def _above(members: Sequence[int], heights: np.ndarray) -> np.ndarray:
    """How far the middle of each of a stack is above the stack's lower edge."""
    sizes = heights[list(members)]
    return np.cumsum(sizes) - sizes / 2
