"""Figures of points in the plane: who they are, what they weigh, and where a model draws the line."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from torch import Tensor

from l2rw_core.datasets import Points
from l2rw_core.figures.style import COLOURS, DASHES, INK, MARKERS

ROLES = ("minority", "majority")
"""Role of class 0, the rare one of `two_classes`, and of class 1: their colours and markers."""

SPAN = (5.5, 4.2)
"""Half the width and half the height of the part of the plane that is shown: `two_classes` with gaps up to 4 fits."""

_AREA = 22.0
_SMALLEST = 3.0
_FAINT = 0.4
_LINE = 2.0


def scatter(
    ax: Axes,
    points: Points,
    weights: Tensor | None = None,
    names: tuple[str, str] = ("class 0", "class 1"),
    area: float = _AREA,
) -> None:
    """Draw points: marker and colour tell the given label, a cross tells that it is wrong.

    Args:
        ax: where to draw.
        points: N points.
        weights: (N,) weights, at least 0, with any sum. An area is in proportion to its weight, and points of average
            weight are as large as without weights; a point without weight is a faint speck. No weights: all the same.
        names: what the legend calls the two given labels.
        area: area of a point of average weight, in square points.

    Raises:
        ValueError: weights of another shape, or negative ones.
    """
    relative = _relative(weights, len(points))
    x, label = points.x.numpy(), points.y.numpy()
    for k, role in enumerate(ROLES):
        of_class = label == k
        if weights is None:
            rows, sizes = of_class, area
        else:
            rows = of_class & (relative > 0)
            sizes = np.maximum(area * relative[rows], _SMALLEST)
            _specks(ax, x[of_class & (relative == 0)], role)
        ax.scatter(*x[rows].T, s=sizes, c=COLOURS[role], marker=MARKERS[role], linewidths=0, alpha=0.8, label=names[k])
    wrong = points.flipped.numpy()
    _crosses(ax, x[wrong], area * np.where(relative[wrong] > 0, 1.0, _FAINT))


def clean_scatter(ax: Axes, clean: Points, area: float = 3 * _AREA) -> None:
    """Draw a clean set: the markers of its classes, larger and with an edge, in the colour of clean data."""
    for k, role in enumerate(ROLES):
        x = clean.x.numpy()[clean.y.numpy() == k]
        label = "clean" if k == 1 else "_nolegend_"
        ax.scatter(*x.T, s=area, c=COLOURS["clean"], marker=MARKERS[role], edgecolors=INK, linewidths=1.2, label=label)


def boundary(ax: Axes, logit: Callable[[Tensor], Tensor], role: str, name: str, resolution: int = 61) -> bool:
    """Draw the line on which a model is undecided, in the colour and dash of `role`, on the part that `plane` shows.

    Args:
        ax: where to draw.
        logit: maps (P, 2) float64 points to (P,) logits of class 1, as a model does.
        role: a key of `COLOURS`.
        name: what the legend calls the line; it stands there also if there is no line to be seen.
        resolution: points asked along each side.

    Returns:
        Whether there is a line: a model that answers the same everywhere has none.
    """
    across, up = (torch.linspace(-side, side, resolution, dtype=torch.float64) for side in SPAN)
    with torch.no_grad():
        height = logit(torch.cartesian_prod(across, up)).reshape(resolution, resolution).T.numpy()
    colour, dash = COLOURS[role], DASHES[role]
    ax.add_line(Line2D([], [], label=name, color=colour, linestyle=dash, linewidth=_LINE))
    if height.min() >= 0 or height.max() <= 0:
        return False
    ax.contour(across, up, height, levels=[0], colors=[colour], linestyles=[dash], linewidths=_LINE)
    return True


def plane(ax: Axes, labels: bool = True) -> None:
    """Fix limits, ticks and aspect, so that pictures of the plane can be compared; `labels` names the axes."""
    ax.set(xlim=(-SPAN[0], SPAN[0]), ylim=(-SPAN[1], SPAN[1]), aspect="equal")
    ax.set_xticks([-4, -2, 0, 2, 4])
    ax.set_yticks([-2, 0, 2])
    if labels:
        ax.set(xlabel="first coordinate", ylabel="second coordinate")


def _relative(weights: Tensor | None, n: int) -> np.ndarray:
    """Weights in units of their mean; all 0 if none is positive."""
    if weights is None:
        return np.ones(n)
    if weights.shape != (n,) or bool((weights < 0).any()):
        raise ValueError(f"weights must be at least 0 and of shape ({n},), got {tuple(weights.shape)}")
    w = weights.detach().double().cpu().numpy()
    return w / (w.mean() + (w.sum() == 0))


def _specks(ax: Axes, x: np.ndarray, role: str) -> None:
    ax.scatter(*x.T, s=_SMALLEST, c=COLOURS[role], marker=MARKERS[role], linewidths=0, alpha=0.35, label="_nolegend_")


def _crosses(ax: Axes, x: np.ndarray, areas: np.ndarray) -> None:
    if len(x):
        ax.scatter(*x.T, s=areas, c=COLOURS["noisy"], marker="x", linewidths=1.5, zorder=3, label="wrong label")
