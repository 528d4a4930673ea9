"""How a step's time and memory grow: the lines that `benchmarks.growth` recorded, as a figure and in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from l2rw_core.figures.benchmarks import Line, origin
from l2rw_core.figures.style import COLOURS, DASHES, MARKERS, Drawing, figure, show

AXES = {"n": "training batch n", "m": "clean batch m", "width": "width", "depth": "depth", "examples": "training set"}
"""Axes of growth -> what they are called; the steps along the last one come from a loader."""
ROLES = {"n": "l2rw", "m": "baseline", "width": "clean", "depth": "minority", "examples": "neutral"}
LARGEST = 3
"""Sizes that a slope is fitted to, the largest: towards them, what does not grow counts less."""


def along(lines: Sequence[Line], axis: str, system: str = "forward") -> list[Line]:
    """The lines of one axis and system, from the smallest size to the largest."""
    return sorted((e for e in lines if e["case"] == axis and e["system"] == system), key=lambda line: line["size"])


def time_ratio(line: Line) -> float:
    """Time of a step relative to the smallest size of its axis, the median over the rounds."""
    return float(np.median(line["ratios"]))


def slope(lines: Sequence[Line], what: str = "time") -> float:
    """The power of the size that time or memory grows with: least squares over the largest sizes, both logarithmic.

    Args:
        lines: of one axis and system, in the order of their sizes.
        what: ``time`` or ``memory``.
    """
    largest = lines[-LARGEST:]
    values = [time_ratio(line) if what == "time" else line["memory_ratio"] for line in largest]
    return float(np.polyfit(np.log([line["size"] for line in largest]), np.log(values), 1)[0])


def growth(lines: Sequence[Line]) -> Drawing:
    """Time and peak memory of a step against size, each relative to the smallest size, both axes logarithmic.

    Args:
        lines: of ``growth``; see `l2rw_core.figures.benchmarks.load_benchmark`.
    """
    fig, panels = figure(height=7.8, nrows=2, sharex=True)
    sentences = []
    for axis, title in AXES.items():
        steps = along(lines, axis)
        sizes = [line["size"] / steps[0]["size"] for line in steps]
        role = ROLES[axis]
        look = {"color": COLOURS[role], "marker": MARKERS[role], "linestyle": DASHES[role]}
        panels[0].plot(sizes, [time_ratio(line) for line in steps], label=title, **look)
        panels[1].plot(sizes, [line["memory_ratio"] for line in steps], **look)
        sentences.append(f"{title} {slope(steps):.2f} and {slope(steps, 'memory'):.2f}")
    for ax, what in zip(panels, ("time of a step", "peak memory"), strict=True):
        ax.set(xscale="log", yscale="log", ylabel=f"{what},\nrelative to the smallest")
    panels[1].set(xlabel="size, relative to the smallest")
    fig.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    network = [line for line in lines if line["case"] in ("n", "m", "width", "depth")]
    base = ", ".join(f"{name} {value}" for name, value in network[0]["base"].items())
    rounds = len(network[0]["ratios"])
    sentence = f"Slopes of time and of memory: {'; '.join(sentences)}."
    caption = (
        f"{sentence} Engine forward, a multilayer perceptron; {base} where they do not vary. Slopes are fitted to the "
        f"{LARGEST} largest sizes. Medians of {rounds} rounds in which the sizes take turns. Along the training set "
        "one run each, with a loader that reads from a file: memory is the whole process's, and grows by "
        f"{_more(lines) / 1e6:.0f} MB. {origin(lines)}"
    )
    return show(fig, alt=sentence, caption=caption)


def _more(lines: Sequence[Line]) -> float:
    """Bytes of peak memory that the largest training set takes beyond the smallest one."""
    first, *_, last = along(lines, "examples")
    return last["peak_bytes"] - first["peak_bytes"]
