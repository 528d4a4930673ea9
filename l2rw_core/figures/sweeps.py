"""Recorded grids along one axis: a figure with error bars in which cells that were not run say so."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from l2rw_core.experiments import CellResult, Record, quantity
from l2rw_core.figures.labels import name_lines
from l2rw_core.figures.methods import look_of, title_of_row
from l2rw_core.figures.style import COLOURS, DASHES, INK, MARKERS, Drawing, figure, show

Line = Mapping[Any, CellResult | None]
"""Value on the axis -> result, None for a cell that was not run."""
Lines = Mapping[str, Line]
"""What the legend calls a line -> the line."""

_NOT_RUN = "#8a8a8a"


@dataclass(frozen=True)
class Star:
    """A reader's own run in a figure of recorded ones."""

    row: str
    at: float
    """On the axis."""
    record: Record
    what: str = "last"
    """One of `l2rw_core.experiments.QUANTITIES`, the figure's."""
    panel: str = ""
    """The title of its panel; the first one if no panel has it."""
    words: str = ""
    """What was run, and what came out."""

    @property
    def value(self) -> float:
        """In percent, after the last step that was taken."""
        return quantity(self.what).of(self.record, self.record.steps_taken)


def against(
    panels: Mapping[str, Lines],
    xlabel: str,
    what: str = "last",
    ylim: tuple[float, float] = (0.0, 100.0),
    words: str | Callable[[Any], str] = "{:,}",
    log: bool = False,
    marked: Any = None,
    height: float = 3.8,
    caption: str = "",
    own: Sequence[Star] = (),
) -> Drawing:
    """Test accuracy or error against one axis of a grid: a panel a title, a line a method, bars for 95% intervals.

    A cell that was not run breaks its line. Where no line of a panel has a cell, a grey band says "not run"; a line
    without any cell is named so in a legend; otherwise a single panel has the names at the ends of its lines. Axes
    follow from `ylim` and from the values of the cells, run or not, so that they stay the same over the frames of a
    slider.

    Args:
        panels: title -> lines; all panels share their axes.
        xlabel: what the axis is.
        what: one of `l2rw_core.experiments.QUANTITIES`.
        ylim: limits, in percent.
        words: how a value of the axis reads.
        log: whether the axis is logarithmic.
        marked: a value of the axis at which a thin line stands.
        height: inches.
        caption: text under the figure; trials and cells that were not run are added to it.
        own: a reader's own runs, which stand as stars, the last of them told in the caption; limits grow to hold them.

    Raises:
        ValueError: an unknown `what`, or no lines.
    """
    words_of_axis = quantity(what).short
    if not any(line for lines in panels.values() for line in lines.values()):
        raise ValueError("there are no lines to draw: choose rows and a place that the grid has")
    fig, axes = figure(ncols=len(panels), height=height, sharey=True)
    for ax, (title, lines) in zip(np.atleast_1d(axes), panels.items(), strict=True):
        _panel(ax, lines, what, log, marked)
        _ticks(ax, lines, words)
        ax.set(ylim=_holding([star.value for star in own], *ylim), xlabel=xlabel)
        ax.set_title(title)
        _draw_stars(ax, [star for star in own if (star.panel if star.panel in panels else next(iter(panels))) == title])
    first = np.atleast_1d(axes)[0]
    first.set_ylabel(words_of_axis)
    first.yaxis.set_major_formatter(lambda value, _: f"{value:.0f}%")
    _name(fig, np.atleast_1d(axes), panels)
    stars = f"Stars: trained here, at last {own[-1].words}." if own else ""
    alt = f"{words_of_axis.capitalize()}. {_sentences(panels, what, words)} {stars}".strip()
    return show(fig, alt=alt, caption=" ".join(part for part in (caption, about(panels, words), stars) if part))


def _holding(values: Sequence[float], low: float, high: float) -> tuple[float, float]:
    """Limits that hold these percentages too."""
    return min([low, *(value - 3 for value in values)]), max([high, *(value + 3 for value in values)])


def _draw_stars(ax: Axes, stars: Sequence[Star]) -> None:
    """Those of the last run in full, earlier ones pale."""
    (low, high), log = ax.get_xlim(), ax.get_xscale() == "log"
    for star in stars:
        look = {"color": style_of_row(star.row)[0], "markeredgecolor": INK, "markeredgewidth": 0.8, "markersize": 16}
        ax.plot(star.at, star.value, "*", alpha=1 if star.words == stars[-1].words else 0.4, zorder=5, **look)
        room = 0.04 * (high - low)
        low = min(low, star.at / 1.2 if log else star.at - room)
        high = max(high, star.at * 1.2 if log else star.at + room)
    ax.set_xlim(low, high)


def _panel(ax: Axes, lines: Lines, what: str, log: bool, marked: Any) -> None:
    if log:
        ax.set_xscale("log")
    if marked is not None:
        ax.axvline(marked, linewidth=1, alpha=0.5)
    for name, line in lines.items():
        colour, marker, dash = style_of_row(name)
        means, halves = np.array([_point(result, what) for result in line.values()]).T
        gap = np.full_like(means, np.nan)  # all bars of a line are one path, which weighs less than a path each
        bars = np.stack([means - halves, means + halves, gap], axis=1)[halves > 0]
        at = np.repeat(np.array(list(line))[halves > 0], 3)
        ax.plot(at, bars.ravel(), color=colour, linestyle="-", linewidth=1.2, marker="")
        ax.plot(list(line), means, color=colour, marker=marker, linestyle=dash, label=title_of_row(name))
    for value in _values(lines):
        if not any(line.get(value) for line in lines.values()):
            low, high = _around(value, _values(lines), log)
            ax.axvspan(low, high, color=_NOT_RUN, alpha=0.18, linewidth=0)
            ax.text(value, 0.5, "not run", rotation=90, ha="center", va="center", transform=ax.get_xaxis_transform())


def _point(result: CellResult | None, what: str) -> tuple[float, float]:
    """Mean and half width; NaN where there is none."""
    if result is None:
        return math.nan, math.nan
    value = result.interval(what)
    return value.mean, np.nan_to_num(value.half_width)


def _ticks(ax: Axes, lines: Lines, words: str | Callable[[Any], str]) -> None:
    values = _values(lines)
    ax.set_xticks(values, _thinned([_word(value, words) for value in values]))
    ax.minorticks_off()
    ax.set_xlim(_around(values[0], values, ax.get_xscale() == "log")[0], _last_edge(values, ax.get_xscale() == "log"))


def _thinned(names: list[str], most: int = 4) -> list[str]:
    """At most so many of the names, so that they do not run into each other; the last one stays."""
    every = math.ceil(len(names) / most)
    return [name if (len(names) - 1 - k) % every == 0 else "" for k, name in enumerate(names)]


def _around(value: Any, values: list[Any], log: bool) -> tuple[float, float]:
    """Half of the way to the neighbours of a value of the axis."""
    at, steps = values.index(value), [math.log(v) if log else float(v) for v in values]
    gaps = np.diff(steps) if len(steps) > 1 else np.ones(1)
    low = steps[at] - gaps[max(at - 1, 0)] / 2
    high = steps[at] + gaps[min(at, len(gaps) - 1)] / 2
    return (math.exp(low), math.exp(high)) if log else (low, high)


def _last_edge(values: list[Any], log: bool) -> float:
    return _around(values[-1], values, log)[1]


def _values(lines: Lines) -> list[Any]:
    return sorted({value for line in lines.values() for value in line})


def style_of_row(name: str) -> tuple[str, str, Any]:
    """Colour, marker and dash of a line: those of its row, or for a row with an addition those of a rare class."""
    if look := look_of(name):
        return look.colour, look.marker, look.dash
    return COLOURS["minority"], MARKERS["minority"], DASHES["minority"]


def _name(fig: Figure, axes: np.ndarray, panels: Mapping[str, Lines]) -> None:
    """Names at the ends of a single panel's lines; a legend for several panels, and for a line that was not run."""
    handles, names = _legend(axes, panels)
    if len(axes) == 1 and not any(name.endswith("(not run)") for name in names):
        name_lines(axes[0])
        axes[0].set_xticks(axes[0].get_xticks(), _thinned([t.get_text() for t in axes[0].get_xticklabels()], most=3))
        return
    fig.legend(handles, names, loc="outside lower center", ncols=min(3, len(names)))


def _legend(axes: np.ndarray, panels: Mapping[str, Lines]) -> tuple[list[Any], list[str]]:
    handles = {name: handle for ax in axes for handle, name in zip(*ax.get_legend_handles_labels(), strict=True)}
    run = {title_of_row(name) for lines in panels.values() for name, line in lines.items() if any(line.values())}
    return list(handles.values()), [name if name in run else f"{name} (not run)" for name in handles]


def _sentences(panels: Mapping[str, Lines], what: str, words: str | Callable[[Any], str]) -> str:
    """Every line's first and last cell that was run, in words."""
    sentences = []
    for title, lines in panels.items():
        ends = []
        for name, line in lines.items():
            run = [(value, result.interval(what).mean) for value, result in line.items() if result]
            if run:
                (first, a), (last, b) = run[0], run[-1]
                ends.append(
                    f"{title_of_row(name)} {a:.1f}% at {_word(first, words)} and {b:.1f}% at {_word(last, words)}"
                )
        sentences.append(f"{title}: {'; '.join(ends) or 'not run'}.".removeprefix(": "))
    return " ".join(sentences)


def about(panels: Mapping[str, Lines], words: str | Callable[[Any], str] = "{:,}") -> str:
    """Trials a cell, what the bars are, and which cells were not run, in sentences."""
    cells = [result for lines in panels.values() for line in lines.values() for result in line.values()]
    counts = sorted({len(result.records) for result in cells if result})
    if not counts:
        return "Not run."
    trials = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[0])
    bars = {
        (1,): "One trial a cell, so there are no intervals.",
    }.get(tuple(counts), f"{trials} trials a cell; bars are 95% intervals.")
    if len(counts) > 1 and counts[0] == 1:
        bars += " A single trial has none."
    return f"{bars} {_missing(panels, words)}".strip()


def _missing(panels: Mapping[str, Lines], words: str | Callable[[Any], str]) -> str:
    missing = [
        ", ".join(part for part in (f"{title_of_row(name)} at {_word(value, words)}", title) if part)
        for title, lines in panels.items()
        for name, line in lines.items()
        for value, result in line.items()
        if result is None
    ]
    if not missing:
        return ""
    total = sum(len(line) for lines in panels.values() for line in lines.values())
    return f"Not run: {'; '.join(missing)}." if len(missing) <= 4 else f"{len(missing)} of {total} cells were not run."


def _word(value: Any, words: str | Callable[[Any], str]) -> str:
    return words.format(value) if isinstance(words, str) else words(value)


def by_class(results: Line, sizes: np.ndarray, most: int = 4000) -> Drawing:
    """Accuracy of each class after the last step, one line a row, over the number of training images of the class.

    Args:
        results: row -> result of its cell; what was not run, or kept no confusions, is named in the caption.
        sizes: (K,) training images of each class, from frequent to rare; at least 10.
        most: where their axis ends, the same for all frames of a slider.
    """
    fig, (ax, counts) = figure(height=4.8, nrows=2, sharex=True, height_ratios=[3, 1])
    sentences, left_out, trials = [], [], set()
    for row, result in results.items():
        shares = class_accuracies(result) if result else None
        if shares is None:
            left_out.append(title_of_row(row))
            continue
        colour, marker, dash = style_of_row(row)
        ax.plot(
            range(len(sizes)),
            100 * shares.mean(0),
            color=colour,
            marker=marker,
            linestyle=dash,
            label=title_of_row(row),
        )
        sentences.append(f"{title_of_row(row)} {100 * shares[:, -3:].mean():.0f}%")
        trials.add(len(result.records))
    ax.set(ylim=(-3, 103), ylabel="accuracy")
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:.0f}%")
    least = 10  # where the logarithmic axis begins, and so do the bars
    counts.bar(range(len(sizes)), sizes - least, bottom=least, color=COLOURS["neutral"])
    counts.set_yscale("log")
    counts.set(ylim=(least, most), ylabel="images", xlabel="class")
    counts.set_xticks(range(len(sizes)))
    if not sentences:
        ax.text(0.5, 0.5, "not run", ha="center", transform=ax.transAxes, color=COLOURS["neutral"])
        return show(fig, alt="This cell was not run.", caption="This cell was not run.")
    name_lines(ax)
    span = " to ".join(map(str, sorted({min(trials), max(trials)})))
    sentence = f"Three rarest classes: {', '.join(sentences)}, {span} {'trial' if span == '1' else 'trials'}."
    sentence += f" Not run: {', '.join(left_out)}." * bool(left_out)
    return show(fig, alt=sentence, caption=sentence)


def class_accuracies(result: CellResult) -> np.ndarray | None:
    """(trials, K) accuracy of each class after the cell's last step, as shares; None if no trial kept its confusions.

    A record may go on beyond the cell's last step, for fine-tuning: then it is the matrix from before it that counts.
    """
    shares = []
    for record in result.records:
        try:
            counts = np.array(record.confusion_at(result.cell.experiment.all_steps))
        except ValueError:
            continue
        shares.append(counts.diagonal() / counts.sum(1))
    return np.array(shares) if shares else None


def enough(line: Line, points: float, what: str = "last") -> Any | None:
    """The smallest value of the axis from which on the mean accuracy stays within `points` of that at the largest.

    Cells that were not run are passed over; None if fewer than two were run, since then nothing can be compared.
    """
    run = {value: result.interval(what).mean for value, result in sorted(line.items()) if result}
    if len(run) < 2:
        return None
    goal, answer = list(run.values())[-1] - points, None
    for value, mean in reversed(run.items()):
        if mean < goal:
            break
        answer = value
    return answer


def leads(line: Line, other: Line, points: float = 0.0, what: str = "last") -> list[Any]:
    """The values of the axis at which the mean of `line` is more than `points` above that of `other`.

    Only values at which both were run count.
    """
    both = ((value, line[value], other.get(value)) for value in sorted(line))
    return [
        value
        for value, ours, theirs in both
        if ours and theirs and ours.interval(what).mean > theirs.interval(what).mean + points
    ]
