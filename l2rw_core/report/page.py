"""The reproduction report as a page of the book, written from the records and from nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from l2rw_core.datasets import title_of
from l2rw_core.experiments import Cell, Record, Recorded, Results, Row, grid, reported_numbers
from l2rw_core.experiments.paper import grid_scales
from l2rw_core.figures.numbers import Number, NumberTable, number
from l2rw_core.report.claims import NOT_RUN, VERDICTS
from l2rw_core.report.reproduction import reproduction

SCALE_NAMES = {"paper": "paper's scale", "quarter": "a quarter of the paper's schedule", "reduced": "reduced"}

INTRODUCTION = """\
# Reproduction report

What the paper reports, and what came out here.
This page is made from the recorded runs by `l2rw report`; no number on it is typed.
A number of ours opens its records: trials, configuration, versions, and the command that runs them again.
`data/reproduction.csv` has the same rows as a file.

A verdict is one of four.
For a number, *agrees* means that the two means are no further apart than their 95% intervals together allow.
A claim asks for something of a quantity: of L2RW's accuracy less that of another method, say, to be above 0.
Trials with the same seed share their data and their clean set, so such a difference is taken seed by seed.
The claim *agrees* if the whole 95% interval of the quantity is where the claim asks it to be.
It *disagrees* if the whole interval is elsewhere.
A method is ahead of those rows for which the whole interval of the difference is above 0.
Where the paper names a number, we allow a margin, and the claim disagrees if the interval leaves that number out.
*Undecided*: the interval has room for both, so that more trials would have to tell.
A number is undecided too if it rests on one trial, or on intervals that together are wider than 3 points.
*Not run*: a run that it needs is not on record.

A run at the *paper's scale* has the data, network and number of steps that the paper states.
On CIFAR it holds out 5,000 images of the 50,000, as the paper does.
There it takes 80,000 steps of a ResNet-32, days on a CPU, or 60,000 of a WRN-28-10, which asks for a GPU.
A run at *a quarter of the paper's schedule* has the same data and the ResNet-32, and 20,000 steps in bfloat16.
It can tell which method is ahead of which.
It cannot tell the paper's number, since plain training has a quarter of the time to learn wrong labels by heart.
Before each evaluation at these two scales, running statistics are estimated anew on 50 training batches.
That goes for every method alike; the released code does not do it.
A *reduced* run has 5,000 images of MNIST or Fashion-MNIST, the LeNet with ten outputs, and 2,000 steps of 100 images
(1,500 where the paper's schedule is the shorter one).
It can support or contradict an ordering of methods.
It can say nothing about a number on CIFAR.
"""

RERUN = """\
## How to run it

`l2rw reproduce table2 --scale reduced --trials 3` runs what is missing of one table, on all cores, and prints it.
`make reproduce` does so for everything that a CPU can do, and writes this page again.
A run that is interrupted goes on from its last checkpoint.
"""


_CORNER: dict[str, object] = {"noise": 0.4, "imbalance": 100, "clean": 100}
HEADLINES: tuple[tuple[str, str, str, dict[str, object]], ...] = (
    ("4 against 9, 200:1, MNIST", "fig2", "paper", {"ratio": 200}),
    ("40% uniform flips, Fashion-MNIST", "table1", "reduced", {"data": "fashion_mnist"}),
    ("40% uniform flips, MNIST", "table1", "reduced", {"data": "mnist"}),
    ("40% background flips, Fashion-MNIST", "table2", "reduced", {"data": "fashion_mnist"}),
    ("40% background flips, MNIST", "table2", "reduced", {"data": "mnist"}),
    ("both biases, Fashion-MNIST", "noise_imbalance", "reduced", {"data": "fashion_mnist", **_CORNER}),
    ("both biases, MNIST", "noise_imbalance", "reduced", {"data": "mnist", **_CORNER}),
    ("40% background flips, CIFAR-10, ResNet-32", "table2", "quarter", {}),
    ("40% background flips, CIFAR-10, ResNet-14", "cifar_small", "reduced", {}),
)
"""What the README shows: words, grid, scale, and the place in the grid."""

_HEADLINE = re.compile(r"(<!-- what came out -->\n).*?(<!-- end of what came out -->)", flags=re.DOTALL)


def write_reproduction(records: Iterable[Record], root: Path) -> list[Path]:
    """Write what the records say under `root`; returns the paths.

    These are ``data/reproduction.csv``, the page ``reproduction.md``, and the table of ``README.md`` between its two
    comments, if there is one.
    """
    records = list(records)
    csv, markdown, readme = root / "data" / "reproduction.csv", root / "reproduction.md", root / "README.md"
    csv.write_text(reproduction(records).to_csv(index=False))
    markdown.write_text(page(records))
    if not readme.exists() or not _HEADLINE.search(readme.read_text()):
        return [csv, markdown]
    table = headline(records)
    readme.write_text(_HEADLINE.sub(lambda marks: marks[1] + table + marks[2], readme.read_text()))
    return [csv, markdown, readme]


def headline(records: Iterable[Record]) -> str:
    """`HEADLINES` as a table in Markdown: plain training, the best row without clean labels, fine-tuning, L2RW."""
    recorded = Recorded(records)
    text = "| test accuracy, % | plain training | best without clean labels | plain + fine-tuning | L2RW | trials |\n"
    text += "| :-- | --: | --: | --: | --: | --: |\n"
    for words, name, scale, place in HEADLINES:
        by_row = Results(grid(name, scale), recorded).by_row(**place)
        results = {row: result for row, result in by_row.items() if result}
        if not results:
            continue
        blind = [row for row in results if Row.named(row).sees_clean == "no"]
        best = max(blind, key=lambda row: results[row].last.mean, default="")
        numbers = {row: str(Number(result)).removesuffix("%") for row, result in results.items()}
        values = [numbers.get("baseline", ""), f"{numbers[best]} ({best})" if best else ""]
        values += [numbers.get("baseline+ft", ""), numbers.get("l2rw", "")]
        trials = [results[row].last.trials for row in ("baseline", best, "baseline+ft", "l2rw") if row in results]
        counted = "" if not trials else f"{min(trials)} to {max(trials)}" if len(set(trials)) > 1 else str(trials[0])
        text += f"| {' | '.join([words, *values, counted])} |\n"
    return text


def page(records: Iterable[Record]) -> str:
    """The page in MyST Markdown."""
    records = list(records)
    rows, tables = reproduction(records), _Tables(Recorded(records))
    parts = [INTRODUCTION, _claims(rows[rows.kind == "claim"]), tables.imbalance()]
    parts += [tables.of_paper(name) for name in ("table1", "table2")]
    parts += [tables.reduced(name) for name in REDUCED]
    return "\n".join(part for part in [*parts, RERUN] if part)


REDUCED = (
    "settings_200",
    "fig4",
    "fig5",
    "noise_imbalance",
    "clean_batch",
    "unclean",
    "schedule",
    "cifar_small",
    "statistics",
)


def _claims(claims: pd.DataFrame) -> str:
    text = "## What the paper says\n\n"
    text += f"{claims.item.nunique()} statements, each looked at on the data and at the scales where it can be:\n\n"
    text += f"| | {' | '.join(VERDICTS)} |\n| :-- |{' --: |' * len(VERDICTS)}\n"
    text += "".join(f"| {' | '.join(row)} |\n" for row in verdict_counts(claims)) + "\n"
    text += "Trials are the fewest of any cell that a finding rests on; with fewer than two it counts as not run.\n"
    for says, settings in claims.groupby("item", sort=False):
        text += f"\n**{settings['where'].iloc[0]}. {says}.**\n\n"
        for c in settings[settings.verdict != NOT_RUN].itertuples():
            text += f"- *{c.verdict.capitalize()}* on {_place(c.data, c.scale)}: {c.finding}; {c.trials} trials.\n"
        not_run = settings[settings.verdict == NOT_RUN]
        if len(not_run):
            text += f"- *Not run* on {', '.join(_place(c.data, c.scale) for c in not_run.itertuples())}.\n"
    return text


def verdict_counts(claims: pd.DataFrame) -> list[list[str]]:
    """How often each verdict was reached: a row for each place where it was looked for, with a count for each verdict.

    Args:
        claims: rows of `reproduction` of the kind ``claim``.
    """
    rows = []
    for scale, name in SCALE_NAMES.items():
        small = claims.data.isin(["mnist", "fashion_mnist"])
        for kind in (small, ~small):
            there = claims[kind & (claims.scale == scale)]
            if len(there):
                where = " and ".join(dict.fromkeys(there.data.map(title_of)))
                rows.append([f"{where}, {name}", *(str((there.verdict == verdict).sum()) for verdict in VERDICTS)])
    return rows


def _place(data: str, scale: str) -> str:
    return f"{title_of(data)} ({SCALE_NAMES[scale]})"


class _Tables:
    """The page's tables. Numbers are named by their place, so that the same records always give the same page."""

    def __init__(self, recorded: Recorded) -> None:
        self.recorded = recorded

    def number(self, cell: Cell | None, what: str = "last") -> Number | str:
        if cell is None:
            return ""
        result = self.recorded.result(cell)
        place = "-".join(str(value) for value in cell.place.values())
        name = "".join(c if c.isalnum() else "-" for c in f"{cell.grid}-{cell.experiment.scale}-{cell.row}-{place}")
        return number(result, what, f"{name}-{what}")

    def imbalance(self) -> str:
        text = "## Figure 2: one of two digits is rare\n\n"
        text += "The paper shows its numbers as a plot; its text says about 2% for L2RW at 200:1.\n\n"
        for name, pair in (("fig2", "4 against 9"), ("pair_8_2", "8 against 2")):
            results = Results(grid(name), self.recorded)
            ratios = results.values("ratio")
            rows = [[row, *(self.number(cell, "error") for cell in results.cells(row))] for row in results.rows]
            caption = f"{pair}, MNIST, paper's scale: test error after the last step, mean and 95% interval."
            text += _html(NumberTable(["method", *(f"{ratio}:1" for ratio in ratios)], rows, caption))
        return text

    def of_paper(self, name: str) -> str:
        reported = reported_numbers()
        scales = [scale for scale in grid_scales(name) if scale != "quick"]
        cells = {(cell.row, cell.experiment.data, scale): cell for scale in scales for cell in grid(name, scale).cells}
        quarter = "quarter" in scales
        rows = []
        for method in dict.fromkeys(row for row, _, _ in cells):
            row: list[object] = [method]
            for data in ("cifar10", "cifar100"):
                row += [reported.get((name, method, data), ""), self.number(cells.get((method, data, "paper")))]
                row += [self.number(cells.get((method, data, "quarter")))] if quarter and data == "cifar10" else []
            row += [self.number(cells.get((method, data, "reduced"))) for data in ("fashion_mnist", "mnist")]
            rows.append(row)
        columns = ["method", "CIFAR-10, paper", "CIFAR-10, ours"]
        columns += ["CIFAR-10, a quarter of the steps"] if quarter else []
        columns += ["CIFAR-100, paper", "CIFAR-100, ours", "Fashion-MNIST, reduced", "MNIST, reduced"]
        caption = "Test accuracy after the last step, mean and 95% interval. In italics, what the paper reports. "
        caption += "Methods without reported numbers were added by us."
        return f"## {_title(name, 'paper')}\n\n" + _html(NumberTable(columns, rows, caption))

    def reduced(self, name: str) -> str:
        rows = []
        for cell in grid(name, "reduced").cells:
            last, best = self.number(cell), self.number(cell, "best")
            if not isinstance(last, str):
                place = [f"{key} {value}" for key, value in cell.place.items() if key != "data"]
                rows.append([", ".join([cell.row, *place]), title_of(cell.experiment.data), last, best])
        if not rows:
            return ""
        caption = "Test accuracy after the last step and at the best evaluation, mean and 95% interval."
        return f"## {_title(name, 'reduced')}\n\n" + _html(NumberTable(["run", "data", "last", "best"], rows, caption))


def _title(name: str, scale: str) -> str:
    table = grid(name, scale)
    return table.question if table.source == "ours" else f"{table.source}: {table.question}"


def _html(table: NumberTable) -> str:
    return f'```{{raw}} html\n<div class="table-wrapper">{table.html}</div>\n```\n\n'
