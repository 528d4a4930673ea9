"""Figures of what a chapter has just computed: accuracies of its own runs, images, and how right and wrong differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from l2rw_core.experiments import interval
from l2rw_core.figures.labels import name_lines
from l2rw_core.figures.methods import title_of_row
from l2rw_core.figures.style import COLOURS, Drawing, dots, figure, ink_on, pen, show


def accuracy_dots(
    results: Mapping[str, Mapping[str, Sequence[float]]],
    roles: Mapping[str, str],
    what: str,
    seed: int,
    names: Mapping[str, str] | None = None,
) -> Drawing:
    """One panel a data set, one row a method: mean test accuracy over trials with its 95% interval.

    Args:
        results: panel -> method -> accuracies of its trials, as shares; every panel has the methods of the first, and
            a dashed line where its ``baseline`` stands.
        roles: method -> a key of `COLOURS`.
        what: what was run; the caption begins with it.
        seed: of the first trial.
        names: what the figure calls a method, where that is not its key.
    """
    called = {name: (names or {}).get(name, name) for by_name in results.values() for name in by_name}
    rows = list(next(iter(results.values())))
    fig, axes = figure(ncols=len(results), height=1.3 + 0.42 * len(rows), sharey=True)
    sentences = []
    for ax, (panel, by_name) in zip(np.atleast_1d(axes), results.items(), strict=True):
        for row, name in enumerate(rows):
            mean, half, _ = interval([float(value) for value in by_name[name]])
            ax.errorbar(mean, row, xerr=half, capsize=4, **dots(roles[name]))
            sentences.append(f"{panel}, {called[name]}: {mean:.0%} ± {half:.0%}")
        ax.axvline(float(np.mean(by_name["baseline"])), linewidth=1, **pen("baseline"))
        ax.set_yticks(range(len(rows)), [called[name] for name in rows])
        ax.set(xlim=(0.4, 1.02), xlabel="test accuracy", title=panel)
        ax.set_xticks([0.5, 0.75, 1.0])
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    np.atleast_1d(axes)[0].invert_yaxis()
    trials = f"{len(by_name[name])} trials from seed {seed}: mean and 95% interval"
    caption = f"{what}, {trials}. The dashed line is plain training."
    return show(fig, alt=f"Balanced test accuracy. {'; '.join(sentences)}.", caption=caption)


def cosine_table(ax: Axes, cosines: np.ndarray, names: Sequence[str]) -> None:
    """Draw an (n, n) table of cosines, each number on its colour; `names` go with the rows, and may be left empty."""
    cells = ax.pcolormesh(cosines, cmap="PuOr", vmin=-1, vmax=1)
    for (row, column), value in np.ndenumerate(cosines):
        text = f"{value:.1f}".replace("-", "−").replace("0.", ".").replace("−.0", ".0")  # narrow, as cells are
        ink = ink_on(cells.cmap(cells.norm(value)))
        ax.text(column + 0.5, row + 0.5, text, ha="center", va="center", color=ink)
    ax.set(ylim=(len(cosines), 0), aspect="equal")
    ax.set_yticks(np.arange(len(cosines)) + 0.5, names)


def interval_rows(
    results: Mapping[str, Mapping[str, Sequence[float]]],
    roles: Mapping[str, str],
    xlabel: str,
    xlim: tuple[float, float],
    sentence: str,
    equal: float = 1.0,
) -> Drawing:
    """One row a rule, one mark a kind of example beside the others: means over trials with their 95% intervals.

    Args:
        results: row -> kind -> a value of each trial.
        roles: kind -> a key of `COLOURS`, in the order of the marks from the top down.
        xlabel, xlim: of the axis of the values.
        sentence: what is seen; it is the caption too.
        equal: where a thin line stands.
    """
    fig, ax = figure(height=4.2)
    heights = np.arange(len(results))[::-1]
    for offset, (kind, role) in zip(np.linspace(0.27, -0.27, len(roles)), roles.items(), strict=True):
        spread = [interval([float(value) for value in of_row[kind]]) for of_row in results.values()]
        halves = [one.half_width for one in spread]
        ax.errorbar([one.mean for one in spread], heights + offset, xerr=halves, label=kind, **dots(role))
    ax.axvline(equal, linewidth=1, alpha=0.5)
    ax.set_yticks(heights, [title_of_row(row) for row in results])
    ax.set(xlim=xlim, xlabel=xlabel)
    fig.legend(loc="outside lower center", ncols=2)
    return show(fig, alt=sentence, caption=sentence)


def log_lines(
    lines: Mapping[str, tuple[np.ndarray, np.ndarray, Mapping[str, Any]]],
    xlabel: str,
    ylabel: str,
    ylim: tuple[float, float],
    alt: str,
    caption: str = "",
    height: float = 3.6,
) -> Drawing:
    """Lines on two logarithmic axes, where a power is a straight line.

    Args:
        lines: what the legend calls a line -> x, y, and how it is drawn, as `pen` and `dots` say it.
        xlabel, ylabel, ylim: of the axes.
        alt: what is seen.
        caption: text under the figure; by default what is seen.
        height: inches, without the legend below.
    """
    fig, ax = figure(height=height + 0.3 * -(-len(lines) // 2))
    for label, (x, y, look) in lines.items():
        ax.plot(x, y, label=label, **look)
    ax.set(xscale="log", yscale="log", xlabel=xlabel, ylabel=ylabel, ylim=ylim)
    ax.minorticks_off()
    fig.legend(loc="outside lower center", ncols=2)
    return show(fig, alt=alt, caption=caption or alt)


def accuracy_lines(
    lines: Mapping[str, Mapping[Any, float]],
    roles: Mapping[str, str],
    xlabel: str,
    sentence: str,
    ylabel: str = "test accuracy",
    log: bool = False,
    marked: Any = None,
    words: Callable[[Any], str] | None = None,
    height: float = 3.2,
) -> Drawing:
    """Test accuracy of live runs against what was changed between them, one line a method.

    Args:
        lines: method -> value on the axis -> accuracy, as a share.
        roles: method -> a key of `COLOURS`.
        xlabel, ylabel: what the axes are.
        sentence: what is seen; it is the caption too.
        log: whether the axis is logarithmic, with a tick at every value.
        marked: a value at which a thin line stands.
        words: how a value of the axis reads; by default as matplotlib writes it.
        height: inches.
    """
    fig, ax = figure(height=height)
    for name, line in lines.items():
        ax.plot(list(line), list(line.values()), label=title_of_row(name), **pen(roles[name], marker=True))
    if marked is not None:
        ax.axvline(marked, alpha=0.5, linewidth=1)
    if log:
        ax.set_xscale("log")
        ax.set_xticks(list(line), [str(value) for value in line])
        ax.minorticks_off()
    elif words is not None:
        ax.xaxis.set_major_formatter(lambda value, _: words(value))
    ax.set(xlabel=xlabel, ylabel=ylabel, ylim=(0, 1.02))
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    name_lines(ax)
    return show(fig, alt=sentence, caption=sentence)


def mosaic(images: np.ndarray, columns: int) -> np.ndarray:
    """One picture of many, for `imshow`: (n, H, W, C) images in rows of `columns`, of which the first channel is shown.

    What is left of the last row is black.
    """
    rows = -(-len(images) // columns)
    places = np.zeros((rows * columns, *images.shape[1:3]), images.dtype)
    places[: len(images)] = images[..., 0]
    return np.vstack([np.hstack(places[k : k + columns]) for k in range(0, len(places), columns)])


def right_labels(images: np.ndarray, right: np.ndarray, columns: int, sentence: str) -> Drawing:
    """Images with the same given label, side by side, a frame around those for which it is right.

    Args:
        images: (n, H, W, C), of which the first channel is shown.
        right: (n,) bool.
        columns: images in a row.
        sentence: what is seen; it is the caption too.
    """
    gap = max(images.shape[1] // 10, 1)
    padded = np.pad(images.astype(float), ((0, 0), (gap, gap), (gap, gap), (0, 0)), constant_values=np.nan)
    height, width = padded.shape[1:3]
    rows = -(-len(images) // columns)
    fig, ax = figure(height=5.4 * rows * height / (columns * width) + 0.2)
    ax.imshow(mosaic(padded, columns), cmap="gray", vmin=0, vmax=255)
    for place in np.flatnonzero(right):
        corner = (place % columns * width + gap / 2 - 0.5, place // columns * height + gap / 2 - 0.5)
        frame = {"fill": False, "edgecolor": COLOURS["clean"], "linewidth": 3}
        ax.add_patch(Rectangle(corner, width - gap, height - gap, **frame))
    ax.axis("off")
    return show(fig, alt=sentence, caption=sentence)


def right_and_wrong(ax: Axes, values: np.ndarray, wrong: np.ndarray, edges: np.ndarray) -> None:
    """Histograms of the (n,) values of right and of wrong labels, each adding to 1; the bins at the ends catch all."""
    clipped = np.clip(values, edges[0], edges[-1])
    for kind, role, hatch, mask in (("right", "clean", "", ~wrong), ("wrong", "noisy", "//", wrong)):
        share = np.full(mask.sum(), 1 / max(mask.sum(), 1))
        ax.hist(
            clipped[mask], edges, weights=share, color=COLOURS[role], alpha=0.6, hatch=hatch, label=f"{kind} labels"
        )
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
