"""What the limits of an axis hide. A figure must not cut off the values that it is there to show."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import PathCollection
from matplotlib.container import BarContainer
from matplotlib.figure import Figure

_ROUNDING = 1e-6


def warn_of_hidden(fig: Figure, stacklevel: int = 2) -> None:
    """Warn for each axis whose limits leave out a marker or the end of a bar. Lines and areas may leave the picture.

    Args:
        fig: any matplotlib figure.
        stacklevel: as in `warnings.warn`.
    """
    for ax in fig.axes:
        for kind, points in _marks(ax):
            for axis, values in zip((ax.xaxis, ax.yaxis), points.T, strict=True):
                if hidden := _hidden(axis, values):
                    warnings.warn(f"{kind} {hidden}; widen its limits", UserWarning, stacklevel=stacklevel + 1)


def _marks(ax: Axes) -> Iterator[tuple[str, np.ndarray]]:
    """Kinds of marks, and (N, 2) data coordinates of each artist's."""
    for line in ax.lines:
        if line.get_marker() not in ("None", "none", "", " ", None) and line.get_transform() == ax.transData:
            yield "markers", np.asarray(line.get_xydata(), float)
    for collection in ax.collections:
        if isinstance(collection, PathCollection) and collection.get_offset_transform() == ax.transData:
            yield "markers", np.ma.filled(np.ma.asarray(collection.get_offsets(), float), np.nan)
    for container in ax.containers:
        if isinstance(container, BarContainer):
            yield "bars", np.concatenate([bar.get_bbox().get_points() for bar in container] or [np.empty((0, 2))])


def _hidden(axis: Axis, values: np.ndarray) -> str:
    low, high = sorted(axis.get_view_interval())
    slack = _ROUNDING * (high - low)
    finite = values[np.isfinite(values) & ((values > 0) | (axis.get_scale() != "log"))]
    outside = finite[(finite < low - slack) | (finite > high + slack)]
    if not len(outside):
        return ""
    name = axis.get_label_text() or f"{axis.axis_name} axis"
    where = " to ".join(dict.fromkeys(f"{value:.4g}" for value in (outside.min(), outside.max())))
    return f"at {where} are outside of {name!r}, {low:.4g} to {high:.4g}"
