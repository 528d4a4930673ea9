"""The reproduction report as a page of the book, written from `data/reproduction.csv`'s rows and from nothing else."""

from __future__ import annotations

import numpy as np
import pandas as pd

from l2rw_core.experiments.paper import grid

DATA_NAMES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "mnist": "MNIST", "fashion_mnist": "Fashion-MNIST"}
METHOD_NAMES = {"l2rw": "**L2RW**"}
SCALE_NAMES = {"paper": "paper's scale", "reduced": "reduced"}

INTRODUCTION = """\
# Reproduction report

What the paper reports, and what came out here.
This page is made from the recorded runs by `l2rw report`; no number on it is typed.
`data/reproduction.csv` has the same rows, and more: best accuracies, and the identifier of every record.

A verdict is one of three.
*Agrees*: for a number, the two means are no further apart than their 95% intervals together allow.
For a claim, it holds for the means over our trials.
*Disagrees*: it does not.
*Not run*: a run that it needs is not on record.

A run at the *paper's scale* has the data, network and number of steps that the paper states.
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


def page(found: pd.DataFrame) -> str:
    """The page in MyST Markdown from the rows of `l2rw_core.experiments.reproduction`."""
    claims, numbers = found[found.kind == "claim"], found[found.kind == "number"]
    parts = [INTRODUCTION, _claims(claims), _imbalance(numbers)]
    parts += [_paper_table(numbers, name) for name in ("table1", "table2")]
    parts += [_ours(numbers, name) for name in ("fig4", "fig5", "noise_imbalance")]
    parts += [_ours(numbers, name) for name in ("clean_batch", "unclean", "schedule", "cifar_small")]
    return "\n".join(part for part in [*parts, RERUN] if part)


def _table(columns: list[str], rows: list[list[str]]) -> str:
    head = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    return "\n".join([*head, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def _value(mean: float, half: float, trials: int | None = None) -> str:
    if mean is None or np.isnan(mean):
        return ""
    shown = f"{mean:.2f}" if half is None or np.isnan(half) else f"{mean:.2f} ± {half:.2f}"
    return f"{shown} ({trials})" if trials else shown


def _place(data: str, scale: str) -> str:
    return f"{DATA_NAMES[data]} ({SCALE_NAMES[scale]})"


def _claims(claims: pd.DataFrame) -> str:
    rows = []
    for says, settings in claims.groupby("item", sort=False):
        looked_at = settings[settings.verdict != "not run"]
        found = [
            f"*{c.verdict.capitalize()}* on {_place(c.data, c.scale)}: {c.finding}; {c.trials} trials."
            for c in looked_at.itertuples()
        ]
        not_run = settings[settings.verdict == "not run"]
        if len(not_run):
            places = [_place(c.data, c.scale) for c in not_run.itertuples()]
            found.append(f"*Not run* on {', '.join(places)}.")
        rows.append([settings["where"].iloc[0], says, "<br>".join(found)])
    told = ", ".join(f"{number} {verdict}" for verdict, number in claims.verdict.value_counts().items())
    text = "## What the paper says\n\n"
    text += f"{claims.item.nunique()} statements, looked at in {len(claims)} places: {told}.\n"
    text += "Trials are the fewest of any cell that a finding rests on; with fewer than two it counts as not run.\n\n"
    return text + _table(["paper", "statement", "found"], rows)


def _imbalance(numbers: pd.DataFrame) -> str:
    text = "## Figure 2: one of two digits is rare\n\nTest error in percent, 95% interval, and trials in brackets.\n"
    text += "The paper shows its numbers as a plot; its text says about 2% for L2RW at 200:1.\n"
    for name, pair in (("fig2", "4 against 9"), ("pair_8_2", "8 against 2")):
        cells = numbers[numbers["where"] == name]
        methods, ratios = (list(dict.fromkeys(cells.item.str.split(", ratio ").str[part])) for part in (0, 1))
        rows = []
        for method in methods:
            of_method = (cells[cells.item == f"{method}, ratio {ratio}"].iloc[0] for ratio in ratios)
            shown = [_value(100 - _number(c.reproduced), c.ci95, c.trials) or "not run" for c in of_method]
            rows.append([METHOD_NAMES.get(method, method), *shown])
        text += f"\n{pair}, MNIST, paper's scale, after the last step:\n\n"
        text += _table(["method", *(f"{ratio}:1" for ratio in ratios)], rows)
    return text


def _number(value: float | None) -> float:
    return np.nan if value is None else float(value)


def _paper_table(numbers: pd.DataFrame, name: str) -> str:
    cells = numbers[numbers["where"] == name]
    rows = []
    for item in dict.fromkeys(cells.item):
        row = [METHOD_NAMES.get(item, item)]
        for data in ("cifar10", "cifar100", "fashion_mnist", "mnist"):
            found = next(cells[(cells.item == item) & (cells.data == data)].itertuples(), None)
            if data.startswith("cifar"):
                row.append(_value(_number(found.reported), found.reported_ci95) if found else "")
            row.append((_value(_number(found.reproduced), found.ci95, found.trials) or "not run") if found else "")
        rows.append(row)
    columns = ["method", "CIFAR-10, reported", "ours", "CIFAR-100, reported", "ours", "Fashion-MNIST, reduced"]
    known = grid(name)
    text = f"## {known.source}: {known.question}\n\n"
    text += "Test accuracy in percent after the last step, 95% interval, and trials in brackets.\n"
    text += "Rows without reported numbers are methods that we added.\n\n"
    return text + _table([*columns, "MNIST, reduced"], rows)


def _ours(numbers: pd.DataFrame, name: str) -> str:
    cells = numbers[(numbers["where"] == name) & (numbers.scale == "reduced") & (numbers.trials > 0)]
    if cells.empty:
        return ""
    rows = [
        [c.item, DATA_NAMES[c.data], _value(c.reproduced, c.ci95, c.trials), _value(c.best, c.best_ci95)]
        for c in cells.itertuples()
    ]
    known = grid(name, "reduced")
    text = f"## {known.question}\n\nReduced scale{'' if known.source == 'ours' else f', for {known.source}'}. "
    text += "Test accuracy in percent, last with trials in brackets, and best.\n\n"
    return text + _table(["run", "data", "last", "best"], rows)
