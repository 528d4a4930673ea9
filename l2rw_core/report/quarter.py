"""The paper's network on CIFAR-10 at a quarter of the paper's steps, beside the paper's own numbers."""

from __future__ import annotations

import numpy as np

from l2rw_core.experiments import Cell, CellResult, Results, Row, campaign, reported_numbers
from l2rw_core.figures.comparison import without_weight
from l2rw_core.figures.methods import title_of_row
from l2rw_core.figures.numbers import Difference, NumberTable, Opening, number
from l2rw_core.numerals import number as in_digits
from l2rw_core.report.words import Paragraph

PAPER_STEPS = 80_000
_TOLD = ("baseline", "random", "baseline+ft", "l2rw")
WHAT_IT_TELLS = (
    "A quarter of the schedule has the paper's network, images, batches and rates, but fits wrong labels for a quarter "
    "of the time. It tells which method is ahead, and roughly by how much; it cannot confirm an accuracy of the paper."
)


def quarter_table(results: Results) -> NumberTable:
    """The rows of Table 2 that the long runs are for: the paper's accuracy, our last and best ones, and trials.

    Args:
        results: of ``table2`` at the scale ``quarter``. A row without a record says so.
    """
    reported = reported_numbers()
    lines = []
    for row in _planned(results):
        result = results.cell(row)
        paper = reported.get(("table2", row, "cifar10"), "")
        ours = [number(result), number(result, "best"), str(len(result.records))] if result else ["not run", "", ""]
        lines.append([row, Row.from_name(row).sees_clean, paper, *ours])
    return NumberTable(
        ["method", "sees clean labels", f"the paper, {_steps(PAPER_STEPS)}", "ours, last", "best", "trials"],
        lines,
        f"CIFAR-10, 40% background flips, ResNet-32, 100 clean images: test accuracy after {_steps(_ours(results))} of "
        f"100 images. In italics the paper's, after {_steps(PAPER_STEPS)}.",
    )


def quarter_in_words(results: Results) -> Paragraph:
    """The rows that matter most in sentences, as far as they are on record, and what they can tell."""
    reported = reported_numbers()
    run = {row: result for row in _TOLD if (result := results.cell(row))}
    text: list[str | Opening] = []
    for row, result in run.items():
        theirs = in_digits(reported["table2", row, "cifar10"].mean, ".1f")
        name = title_of_row(row)
        text += [f"{name[0].upper()}{name[1:]}: ", number(result), f" after the last step; in the paper {theirs}%. "]
    for row in ("baseline", "baseline+ft"):
        if {row, "l2rw"} <= run.keys() and run[row].by_seed() - run["l2rw"].by_seed():
            gap = reported["table2", "l2rw", "cifar10"].mean - reported["table2", row, "cifar10"].mean
            lead = Difference(run["l2rw"], run[row])
            text += [f"L2RW minus {title_of_row(row)}: ", lead, f" points; in the paper {in_digits(gap, '+.1f')}. "]
    if missing := [title_of_row(row) for row in _TOLD if row not in run]:
        text += [f"Not run yet: {', '.join(missing)}. "]
    return Paragraph([*text, WHAT_IT_TELLS])


def noise_table(results: Results) -> NumberTable:
    """Accuracy after the last step by the share of flips: methods in rows, shares in columns.

    Args:
        results: of ``fig5`` at the scale ``quarter``. A cell without a record says so; one that no run is planned for
            is empty.
    """
    planned = {(cell.row, cell.place["noise"]) for cell in _planned_cells(results)}
    rates = sorted({rate for _, rate in planned})
    lines: list[list[str | Opening]] = []
    for row in results.rows:
        cells = {rate: results.cell(row, noise=rate) for rate in rates}
        if any((row, rate) in planned or result for rate, result in cells.items()):
            lines.append([row, *(_number_or_not(r, (row, rate) in planned) for rate, r in cells.items())])
    return NumberTable(
        ["method", *(f"{rate:.0%} flips" for rate in rates)],
        lines,
        f"CIFAR-10, background flips, ResNet-32, 100 clean images: test accuracy after {_steps(_ours(results))} of 100 "
        "images." + " Empty: no run is planned." * any("" in line for line in lines),
    )


def _number_or_not(result: CellResult | None, planned: bool) -> str | Opening:
    return number(result) if result else "not run" * planned


def few_clean_images_in_words(results: Results) -> Paragraph:
    """What L2RW loses with fewer clean images than a hundred.

    Args:
        results: of ``fig4`` at the scale ``quarter``.
    """
    usual = results.cell("l2rw", clean=100)
    text: list[str | Opening] = ["L2RW with 100 clean images ends at ", number(usual), ". "] if usual else []
    for cell in _planned_cells(results):
        size, result = cell.place["clean"], results.cell(cell.row, **cell.place)
        if size == 100 or cell.row != "l2rw":
            continue
        if result is None:
            text += [f"Not run yet: L2RW with {size} clean images. "]
        else:
            text += [f"With {size} it ends at ", number(result)]
            paired = usual and result.by_seed() - usual.by_seed()
            text += [": ", Difference(result, usual), " points. "] if usual and paired else [". "]
    return Paragraph([*text, WHAT_IT_TELLS])


def precision_in_words(results: Results) -> Paragraph:
    """By how much runs in bfloat16 end above the same in float32, seed by seed.

    Args:
        results: of ``precision`` at the scale ``quarter``.
    """
    text: list[str | Opening] = [f"Training is in bfloat16. After {_steps(_ours(results))} it ends "]
    for row, words in (("baseline", " points above float32 with plain training, and "), ("l2rw", " with L2RW.")):
        half, full = (results.cell(row, precision=precision) for precision in ("bfloat16", "float32"))
        text += [Difference(half, full) if half and full else "(not run)", words]
    return Paragraph(text)


def statistics_in_words(results: Results) -> Paragraph:
    """What re-estimated running statistics change in the second half of the steps before the rate first drops.

    Args:
        results: of ``statistics`` at the scale ``reduced``.
    """
    ways = {way: results.cell("baseline", statistics=way) for way in results.values("statistics")}
    if missing := [way for way, result in ways.items() if not result]:
        return Paragraph(f"Not run yet: plain training by running statistics {' and '.join(missing)}.")
    drop = results.cells()[0].experiment.lr_drops[0]
    means, moves, text = (
        [],
        [],
        [f"Between steps {drop // 2:,} and {drop:,}, before the rate first drops, plain training is "],
    )
    for way, result in ways.items():
        curves = [record.curve for record in result.records]
        before = [
            100 * np.array([a for step, a in zip(c.step, c.accuracy, strict=True) if drop / 2 < step <= drop])
            for c in curves
        ]
        means.append(float(np.mean(before)))
        moves.append(float(np.mean([np.abs(np.diff(accuracies)).mean() for accuracies in before])))
        text.append(
            f"right on {means[-1]:.1f}% of the test images on average and on {np.min(before):.1f}% at worst by "
            f"running statistics {way}, and moves by {moves[-1]:.1f} points from one evaluation to the next"
        )
        text.append("; it is " if len(moves) == 1 else ". ")
    own = moves[1] > moves[0] / 2
    cause = "is the training's own" if own else "comes from statistics that lag behind"
    text.append(f"So most of the zigzag {cause}")
    text.append(", but statistics that lag behind lower the accuracy." if own and means[1] > means[0] else ".")
    return Paragraph("".join(text))


def figure_3_in_words(result: CellResult | None) -> Paragraph:
    """How much weight the right and the wrong labels of images get that were held out; see `weigh_held_out`.

    Args:
        result: of L2RW in the grid ``fig3`` at the scale ``quarter``; None if it was not run.
    """
    if result is None:
        return Paragraph("Not run yet: L2RW with the paper's network, which weighs images that it was not trained on.")
    random, one_class = (without_weight(result.records, part) for part in ("random", "one_class"))
    trials = f"{len(result.records)} trial{'s' if len(result.records) > 1 else ''}"
    return Paragraph(
        f"The same here, with the paper's network at a quarter of its steps, {trials}. In batches as they come, "
        f"weight zero goes to {random['wrong']:.0%} of the wrong labels and to {random['right']:.0%} of the right "
        f"ones. In batches of one class it goes to {one_class['wrong']:.0%} and to {one_class['right']:.0%}."
    )


def _planned(results: Results) -> list[str]:
    """Rows of `_planned_cells`."""
    planned = {cell.row for cell in _planned_cells(results)}
    return [row for row in results.rows if row in planned]


def _planned_cells(results: Results) -> list[Cell]:
    """Cells that the queue of long runs has, or passes on its way to one with fine-tuning."""
    passed = campaign.passed()
    return [cell for cell in results.grid.cells if cell.trial(0) in passed]


def _ours(results: Results) -> int:
    return max(cell.experiment.steps for cell in results.grid.cells)


def _steps(count: int) -> str:
    return f"{count:,} steps"
