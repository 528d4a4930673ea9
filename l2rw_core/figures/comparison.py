"""Figures that set recorded runs beside the paper, or beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from l2rw_core.datasets import title_of
from l2rw_core.experiments import Interval, Record, Results, Row, reported_numbers
from l2rw_core.figures.labels import ROW_HEIGHT, name_rows
from l2rw_core.figures.methods import title_of_row
from l2rw_core.figures.numbers import NumberTable, number
from l2rw_core.figures.style import COLOURS, Drawing, as_sentence, dots, figure, show

HELD_OUT_PARTS = ("random", "one_class")
"""What images that the model has never seen are weighed as: the left and the right half of Figure 3."""


def beside_the_paper(results: Results, data: Sequence[str], paper_data: str = "cifar10") -> Drawing:
    """The rows of Table 1 or 2 in the paper's order of accuracy, and our accuracies beside them.

    Args:
        results: of ``table1`` or ``table2``.
        data: data sets of ours, one panel each; rows without a record stay empty.
        paper_data: data set of the paper's panel.
    """
    place = (results.grid.name, paper_data)
    reported = {row: value for (name, row, d), value in reported_numbers().items() if (name, d) == place}
    rows = sorted(reported, key=lambda row: reported[row].mean)
    ours = {d: {row: result.last for row, result in results.by_row(data=d).items() if result} for d in data}
    fig, axes = figure(ncols=1 + len(data), height=ROW_HEIGHT * len(rows) + 1.2, sharey=True)
    _dots(axes[0], rows, reported, ours=False)
    axes[0].set_title(f"paper:\n{title_of(paper_data)}")
    for ax, d in zip(axes[1:], data, strict=True):
        _dots(ax, rows, ours[d], ours=True)
        ax.set_title(f"ours:\n{title_of(d)}")
    name_rows(axes, [title_of_row(row) for row in rows])
    sentences = [_agreement(reported, ours[d], title_of(d)) for d in data]
    alt = f"Test accuracy of {len(rows)} methods, the paper's on {title_of(paper_data)} and ours. {' '.join(sentences)}"
    return show(
        fig,
        alt=alt,
        caption=f"{' '.join(sentences)} {results.grid.scale.capitalize()} scale, last step; bars are 95% intervals.",
    )


def table_beside_the_paper(results: Results, data: Sequence[str], paper_data: str = "cifar10") -> NumberTable:
    """The rows of Table 1 or 2: who sees clean labels, the paper's accuracy, and our last and best ones.

    Args:
        results: of ``table1`` or ``table2``.
        data: data sets of ours, two columns each; a cell that was not run says so.
        paper_data: data set of the paper's column; it stays empty where the paper has no such row.
    """
    reported = reported_numbers()
    rows: list[list[Any]] = []
    for row in results.rows:
        cells = [results.cell(row, data=d) for d in data]
        ours = [entry for cell in cells for entry in (number(cell), number(cell, "best"))]
        rows.append([row, Row.from_name(row).sees_clean, reported.get((results.grid.name, row, paper_data), ""), *ours])
    columns = [heading for d in data for heading in (f"{title_of(d)}, last", "best")]
    return NumberTable(
        ["method", "sees clean labels", f"{title_of(paper_data)}, paper", *columns],
        rows,
        f"Test accuracy. In italics the paper's, at its own scale; ours are {results.grid.scale} runs, mean and 95% "
        "interval over splits.",
    )


def _dots(ax: object, rows: Sequence[str], values: Mapping[str, Interval], ours: bool) -> None:
    """Means, and intervals as far as an accuracy can go: those of two trials may reach beyond 0 or 100%."""
    for height, row in enumerate(rows):
        if row in values:
            role = row if ours and row in {"l2rw", "baseline"} else "neutral"
            mean, half = values[row].mean, np.nan_to_num(values[row].half_width)
            reach = [[min(half, mean)], [min(half, 100 - mean)]]
            ax.errorbar(mean, height, xerr=reach, **dots(role))
    ax.set_xlabel("accuracy, %")


def _agreement(reported: Mapping[str, Interval], ours: Mapping[str, Interval], name: str) -> str:
    common = [row for row in reported if row in ours]
    if len(common) < 3:
        return f"{name}: too few rows were run to compare the order."
    rank = stats.spearmanr([reported[r].mean for r in common], [ours[r].mean for r in common]).statistic
    return f"{name}: the order of {len(common)} methods agrees with the paper's with a rank correlation of {rank:.2f}."


def confusions(
    groups: Mapping[str, Sequence[Record]], caption: str = "", classes: Sequence[str] | None = None
) -> Drawing:
    """Which class is taken for which: one panel a method, rows are true classes, each adds to 100% (Figure 6).

    Args:
        groups: method -> its trials.
        caption: text under the figure, before the sentence on the class for which most errors are taken.
        classes: names of the classes, for that sentence; without them it has numbers alone.
    """
    fig, axes = figure(ncols=len(groups), height=3.4)
    sentences = []
    for ax, (name, records) in zip(np.atleast_1d(axes), groups.items(), strict=True):
        counts = np.sum([record.confusion_at(record.experiment.steps) for record in records], axis=0)
        shares = counts / counts.sum(1, keepdims=True)
        image = ax.imshow(100 * shares, vmin=0, vmax=100)
        ax.set(xlabel="predicted class", title=title_of_row(name))
        ax.set_xticks(range(len(shares)))
        ax.set_yticks(range(len(shares)))
        wrong = shares - np.diag(shares.diagonal())
        sink = int(wrong.sum(0).argmax())
        share = wrong.sum(0)[sink] / wrong.sum()
        called = f"class {sink}, {classes[sink]}" if classes else f"class {sink}"
        sentences.append(f"{title_of_row(name)}: {share:.0%} of the errors are taken for {called}")
    np.atleast_1d(axes)[0].set_ylabel("true class")
    fig.colorbar(image, ax=axes, label="% of the true class", shrink=0.8)
    sentence = as_sentence("; ".join(sentences))
    return show(fig, alt=f"Confusion matrices. {sentence}", caption=f"{caption} {sentence}".strip())


def weight_histograms(records: Sequence[Record], part: str = "midway", caption: str = "") -> Drawing:
    """Weights of examples with right and with wrong labels, in units of an equal share (Figure 3).

    Of runs that were stopped before that part of training, it says so.

    Args:
        records: of one cell.
        part: training images by the part of training, ``midway`` or ``late``; or images that were held out, weighed at
            half of training, ``random`` as they come or ``one_class`` at a time.
        caption: what was trained.
    """
    if not all(any(map(sum, _parts(record, part))) for record in records):
        fig, ax = figure(height=1.2)
        ax.axis("off")
        sentence = f"The run was stopped before the part of training that is called {part}."
        ax.text(0.5, 0.5, "stopped before", ha="center", transform=ax.transAxes)
        return show(fig, alt=sentence, caption=sentence)
    edges = _weighed(records[0], part)["edges"]
    names = ["0", *(f"{edge:g}" for edge in edges[1:]), f"> {edges[-1]:g}"]
    fig, ax = figure(height=3.4)
    zero = without_weight(records, part)
    for offset, kind, role in ((-0.2, "right", "clean"), (0.2, "wrong", "noisy")):
        counts = np.sum([_weighed(record, part)[part][kind] for record in records], axis=0)
        shares = counts / max(counts.sum(), 1)
        bars = ax.bar(np.arange(len(shares)) + offset, shares, 0.38, color=COLOURS[role], label=f"{kind} label")
        for bar in bars:
            bar.set_hatch("" if kind == "right" else "//")
    ax.set_xticks(range(len(names)), names)
    ax.set(xlabel="weight, up to so many equal shares of the batch", ylabel="share of the examples", ylim=(0, 1))
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    ax.legend()
    sentence = f"Weight 0 for {zero['wrong']:.0%} of the wrong labels and {zero['right']:.0%} of the right ones."
    return show(fig, alt=sentence, caption=f"{sentence} {caption}".strip())


def without_weight(records: Sequence[Record], part: str) -> dict[str, float]:
    """Share of the examples with weight 0, of those with a ``right`` and with a ``wrong`` label; `part` as above."""
    counts = {kind: np.sum([_weighed(r, part)[part][kind] for r in records], axis=0) for kind in ("right", "wrong")}
    return {kind: float(each[0] / max(each.sum(), 1)) for kind, each in counts.items()}


def _parts(record: Record, part: str) -> list[list[int]]:
    counts = _weighed(record, part).get(part) or {}
    return [counts.get(kind, []) for kind in ("right", "wrong")]


def _weighed(record: Record, part: str) -> dict[str, Any]:
    return (record.held_out_weights if part in HELD_OUT_PARTS else record.weight_histograms) or {}
