"""Predict, then look: the reader draws a guess before the recorded curve appears, with or without a kernel."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from l2rw_core.figures.style import COLOURS, DASHES, MARKERS, Drawing, as_sentence, figure, show

_SCRIPT = Path(__file__).with_name("predict.js")
_STYLE = Path(__file__).with_name("predict.css")
MAX_POINTS = 12
"""The most points that a reader is asked to place."""


@dataclass(frozen=True)
class Prediction:
    """What `predict` returns; a notebook shows it when it is the last value of a cell.

    Attributes:
        question: what the reader is asked.
        data: what the page's script reads: places, values, axes and words.
        drawing: the recorded curve, in a fold where no script runs.
        records: ids of the records behind the curve.
    """

    question: str
    data: dict[str, Any]
    drawing: Drawing
    records: tuple[str, ...] = ()

    @property
    def html(self) -> str:
        """The question, the data, the fold, and the script that makes a board of them."""
        data = json.dumps(self.data, ensure_ascii=False).replace("</", "<\\/")
        attribute = f' data-records="{html.escape(" ".join(self.records))}"' if self.records else ""
        return (
            f'<div class="l2rw-predict"{attribute}><style>{_STYLE.read_text()}</style>'
            f'<p class="question">{html.escape(self.question)}</p>'
            f'<script type="application/json">{data}</script>'
            f"<details><summary>The recorded curve</summary>{self.drawing.html}</details></div>"
            f'<script type="module">\n{_SCRIPT.read_text()}</script>'
        )

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return f"[Predict, then look: {self.question} {self.drawing.alt}]"


def predict(
    x: Sequence[float],
    y: Sequence[float],
    *,
    question: str,
    xlabel: str,
    ylabel: str,
    ylim: tuple[float, float],
    half_width: Sequence[float] | None = None,
    words: Sequence[str] | None = None,
    unit: str = "",
    log: bool = False,
    known: int = 0,
    lesson: str = "",
    source: str = "",
    records: Sequence[str] = (),
) -> Prediction:
    """Return a board on which the reader draws a guess at `y` over `x`, and then sees both and how far they differ.

        predict([20, 50, 100, 200], error, half_width=spread, words=["20:1", "50:1", "100:1", "200:1"], log=True,
                question="How does the error grow?", xlabel="imbalance", ylabel="test error", ylim=(0, 50), unit="%")

    Args:
        x, y: the recorded curve, 3 to `MAX_POINTS` points, `x` increasing.
        question: what the reader is asked before anything is seen.
        xlabel, ylabel: words on the axes, also spoken.
        ylim: ends of the vertical axis; guess and record share it.
        half_width: half of each point's 95% interval in the units of `y`; NaN where there is none.
        words: how the values of `x` read; the numbers themselves where not given.
        unit: follows every value of `y`; differences of `"%"` are told in percentage points.
        log: whether `x` is spaced by its logarithm.
        known: this many first points are shown from the outset and not asked for.
        lesson: sentences computed from the record, told after the comparison.
        source: what the record is, under the curve: data, trials, scale.
        records: ids of the records behind the curve.

    Raises:
        ValueError: fewer than 3 or more than `MAX_POINTS` points; lists that differ in length; values that are not
            finite, not increasing in `x`, outside of `ylim`, or not positive with `log`; a negative `half_width`;
            words that repeat; fewer than 2 points left to guess; an empty question or label.
    """
    words = [f"{value:,g}" for value in x] if words is None else list(words)
    _check_texts(question=question, xlabel=xlabel, ylabel=ylabel)
    _check_points(x, y, words, half_width, log)
    _check_axis(y, ylim, known, unit)
    half = [math.nan] * len(y) if half_width is None else [float(value) for value in half_width]
    ticks = [value for value in MaxNLocator(5).tick_values(*ylim) if ylim[0] <= value <= ylim[1]]
    decimals = max(0, 2 - math.floor(math.log10(ylim[1] - ylim[0])))
    data = {
        "x": _shares(x, log),
        "y": [float(value) for value in y],
        "half": [None if math.isnan(value) else value for value in half],
        "words": words,
        "ylim": [float(end) for end in ylim],
        "yticks": [[float(value), f"{value:g}{unit}"] for value in ticks],
        "unit": unit,
        "decimals": decimals,
        "known": known,
        "xlabel": xlabel,
        "ylabel": ylabel,
        "lesson": lesson,
    }
    return Prediction(question, data, _drawing(data, half, source), tuple(records))


def _check_texts(**texts: str) -> None:
    for name, text in texts.items():
        if not text.strip():
            raise ValueError(f"predict needs a {name}: readers who do not see the picture have nothing else")


def _check_points(
    x: Sequence[float], y: Sequence[float], words: Sequence[str], half_width: Sequence[float] | None, log: bool
) -> None:
    lengths = {"x": len(x), "y": len(y), "words": len(words)}
    if half_width is not None:
        lengths["half_width"] = len(half_width)
    if len(set(lengths.values())) > 1:
        raise ValueError(f"predict needs lists of one length, and got {lengths}")
    if not 3 <= len(x) <= MAX_POINTS:
        raise ValueError(f"a curve to be guessed has 3 to {MAX_POINTS} points, and this one has {len(x)}: choose some")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("x and y must be finite numbers: leave out the points that are not on record")
    if not (np.diff(x) > 0).all() or (log and x[0] <= 0):
        raise ValueError(f"x must increase{' from above 0, since log is set' if log else ''}; got {list(x)}")
    if len(set(words)) < len(words):
        raise ValueError(f"two points read the same: {list(words)}")
    if half_width is not None and (np.asarray(half_width, dtype=float) < 0).any():
        raise ValueError(f"half_width must not be negative; got {list(half_width)}")


def _check_axis(y: Sequence[float], ylim: tuple[float, float], known: int, unit: str) -> None:
    low, high = ylim
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"ylim must be two finite numbers, the lower one first; got {ylim}")
    outside = [value for value in y if not low <= value <= high]
    if outside:
        raise ValueError(f"{outside[0]:g}{unit} lies outside of ylim {ylim}: the record could not be seen")
    if not 0 <= known <= len(y) - 2:
        raise ValueError(f"known must be from 0 to {len(y) - 2}, so that two points are left to guess; got {known}")


def _shares(x: Sequence[float], log: bool) -> list[float]:
    """Places between the first (0) and the last (1)."""
    places = np.log(x) if log else np.asarray(x, dtype=float)
    return ((places - places[0]) / (places[-1] - places[0])).round(6).tolist()


def _drawing(data: dict[str, Any], half: Sequence[float], source: str) -> Drawing:
    """The recorded curve as the book draws curves, with its numbers in words."""
    fig, ax = figure()
    style = {"color": COLOURS["l2rw"], "marker": MARKERS["l2rw"], "linestyle": DASHES["l2rw"], "capsize": 3}
    ax.errorbar(data["x"], data["y"], yerr=np.nan_to_num(half), **style)
    ax.set(xlabel=data["xlabel"], ylabel=data["ylabel"], ylim=data["ylim"])
    ax.set_xticks(data["x"], data["words"])
    ax.set_yticks(*zip(*data["yticks"], strict=True))
    values = [f"{y:.{data['decimals']}f}{data['unit']}" for y in data["y"]]
    points = ", ".join(f"{value} at {words}" for value, words in zip(values, data["words"], strict=True))
    summary = as_sentence(f"{data['ylabel']} against {data['xlabel']}: {points}")
    return show(fig, alt=summary, caption=f"{summary} {data['lesson']} {source}".strip())
