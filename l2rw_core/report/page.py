"""The reproduction report: what its page of the book shows, made from the records and from nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from l2rw_core.datasets import title_of
from l2rw_core.experiments import Cell, Record, Recorded, Results, Row, grid, reported_numbers
from l2rw_core.experiments.paper import grid_scales
from l2rw_core.figures.kernel import with_look
from l2rw_core.figures.methods import title_of_row
from l2rw_core.figures.numbers import Number, NumberTable, number
from l2rw_core.report.claims import NOT_RUN, VERDICTS
from l2rw_core.report.quarter import statistics_in_words
from l2rw_core.report.reproduction import reproduction
from l2rw_core.report.words import Paragraph, counted

FURTHER = (
    "look_ahead",
    "instance",
    "clean_draw",
    "settings_imbalance",
    "fair_200",
    "instance_detection",
    "cifar_long_tail",
)
"""Grids of studies beyond the paper's tables, in the order of the page."""
_WORDS = {
    "clean": "{:,} clean images",
    "clean imbalance": "clean set {:g}:1",
    "clean noise": "{:.0%} of the clean labels wrong",
    "clean set cut from": "clean set cut from the {} one",
    "draw": "drawn {}",
    "flip": "{} flips",
    "imbalance": "{:g}:1",
    "m": "m = {}",
    "momentum": "momentum {:g}",
    "noise": "{:.0%} flips",
    "optimizer": "look ahead by {}",
    "rate": "rate {:g}",
    "ratio": "{:g}:1",
    "schedule": "{}",
    "setting": "{}",
    "share": "{:.0%} of them a step",
    "statistics": "running statistics {}",
    "steps": "{:,} steps",
}
_NAMES: dict[str | float, str] = {"sgd": "SGD", "adamw": "AdamW"}
SCALE_NAMES = {"paper": "paper's scale", "quarter": "a quarter of the paper's schedule", "reduced": "reduced"}

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

    These are ``data/reproduction.csv``, and what stands between two comments of ``README.md``, if it has them: what was
    found in words, and a table.
    """
    records = list(records)
    csv, readme = root / "data" / "reproduction.csv", root / "README.md"
    csv.write_text(reproduction(records).to_csv(index=False))
    if not readme.exists() or not _HEADLINE.search(readme.read_text()):
        return [csv]
    bullets = "".join(f"- {''.join(map(str, parts))}\n" for parts in _filled(Recorded(records)))
    table = f"{bullets}\n{headline(records)}"
    readme.write_text(_HEADLINE.sub(lambda marks: marks[1] + table + marks[2], readme.read_text()))
    return [csv, readme]


def headline(records: Iterable[Record]) -> str:
    """`HEADLINES` as a table in Markdown: plain training, the best of the rows without clean labels, fine-tuning, L2RW.

    The best of many rows is a maximum, the higher the more there are, so it says of how many. The last column has the
    paper's own numbers where it has this bias.
    """
    recorded = Recorded(records)
    text = "| test accuracy, % | plain training | best without clean labels | plain + fine-tuning | L2RW | trials "
    text += "| the paper, CIFAR-10: plain, L2RW |\n| :-- | --: | --: | --: | --: | --: | --: |\n"
    for words, name, scale, place in HEADLINES:
        by_row = Results(grid(name, scale), recorded).by_row(**place)
        results = {row: result for row, result in by_row.items() if result}
        if not results:
            continue
        blind = [row for row in results if Row.from_name(row).sees_clean == "no"]
        best = max(blind, key=lambda row: results[row].last.mean, default="")
        numbers = {row: str(Number(result)).removesuffix("%") for row, result in results.items()}
        highest = f"{numbers[best]} ({title_of_row(best)}, of {len(blind)})" if best else ""
        values = [numbers.get("baseline", ""), highest]
        values += [numbers.get("baseline+ft", ""), numbers.get("l2rw", "")]
        trials = [results[row].last.trials for row in ("baseline", best, "baseline+ft", "l2rw") if row in results]
        counted = "" if not trials else f"{min(trials)} to {max(trials)}" if len(set(trials)) > 1 else str(trials[0])
        text += f"| {' | '.join([words, *values, counted, _of_the_paper(name)])} |\n"
    return text


_FASHION = {"data": "fashion_mnist"}
_RARE = ("fig2", "paper", "error", {"ratio": 200})
_AGREEING = ("table2", "reduced", "last", _FASHION)
_RANDOM = ("table1", "reduced", "last", _FASHION)
_EARLY = ("schedule", "reduced", "last", {**_FASHION, "flip": "uniform"})
FINDINGS: tuple[tuple[str | tuple[Any, ...], ...], ...] = (
    (
        "A rare class, a large gain: with two hundred nines for each four, plain training has ",
        ("baseline", *_RARE),
        " test error and reweighting with ten clean images ",
        ("l2rw", *_RARE),
        ". Plain training that is then fine-tuned on the same ten images ties with it: ",
        ("baseline+ft", *_RARE),
        ". (MNIST, the paper's scale.)",
    ),
    (
        "Wrong labels that agree with each other, a large gain: with 40% of the labels flipped to one class, plain ",
        "training has ",
        ("baseline", *_AGREEING),
        " test accuracy, reweighting with a hundred clean images ",
        ("l2rw", *_AGREEING),
        ", and fine-tuning on the same images ",
        ("baseline+ft", *_AGREEING),
        ". (Fashion-MNIST, reduced scale.)",
    ),
    (
        "Wrong labels at random, little that takes a clean set: with 40% uniform flips, plain training has ",
        ("baseline", *_RANDOM),
        ", reweighting ",
        ("l2rw", *_RANDOM),
        ", random weights ",
        ("random", *_RANDOM),
        ", and plain training whose learning rate drops early ",
        ("baseline", *_EARLY),
        ". (Fashion-MNIST, reduced scale.)",
    ),
)
"""What was found, in words and numbers; a number is a row, a grid, a scale, a quantity, and a place."""


def findings(records: Iterable[Record]) -> Html:
    """`FINDINGS` as a list whose numbers open their records."""
    paragraphs = (Paragraph(parts).html for parts in _filled(Recorded(records)))
    return Html(f"<ol>{''.join(f'<li>{paragraph}</li>' for paragraph in paragraphs)}</ol>")


def _filled(recorded: Recorded) -> Iterator[list[str | Number]]:
    for parts in FINDINGS:
        yield [part if isinstance(part, str) else _recorded_number(recorded, *part) for part in parts]


def _recorded_number(recorded: Recorded, row: str, name: str, scale: str, what: str, place: dict[str, Any]) -> Any:
    return number(Results(grid(name, scale), recorded).cell(row, **place), what)


def _of_the_paper(name: str) -> str:
    """The paper's accuracies of plain training and of its method under the same bias, if it has any."""
    table = {"cifar_small": "table2"}.get(name, name)
    reported = reported_numbers()
    cells = [reported.get((table, row, "cifar10")) for row in ("baseline", "l2rw")]
    return ", ".join(f"{one.mean:.1f} ± {one.half_width:.1f}" for one in cells if one)


@dataclass(frozen=True)
class Html:
    """What a cell of a notebook shows."""

    html: str

    def _repr_html_(self) -> str:
        return with_look(self.html)


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


def _in_words(name: str, value: str | float) -> str:
    """Where in a grid a run stands."""
    return _WORDS.get(name, f"{name} {{}}").format(_NAMES.get(value, value))


def _place(data: str, scale: str) -> str:
    return f"{title_of(data)} ({SCALE_NAMES[scale]})"


class Report:
    """The parts of the page. Numbers are named by their place, so that the same records always give the same page.

    Args:
        records: what is on record.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        records = list(records)
        self.recorded, self.rows = Recorded(records), reproduction(records)

    @property
    def _claims(self) -> pd.DataFrame:
        return self.rows[self.rows.kind == "claim"]

    def verdicts(self) -> Html:
        """How often each verdict was reached, by scale and data."""
        caption = (
            f"{self._claims.item.nunique()} claims, each checked on every data set and at every scale where it can be."
        )
        return Html(_wide(NumberTable(["checked on", *VERDICTS], verdict_counts(self._claims), caption).html))

    def abstract(self) -> Html:
        """The verdicts in a sentence for each place where they were looked for."""
        items = []
        for place, *counts in verdict_counts(self._claims):
            by_verdict = dict(zip(VERDICTS, map(int, counts), strict=True))
            items.append(f"<li>{escape(place)}, {sum(by_verdict.values())} checks: {counted(by_verdict)}.</li>")
        return Html(f'<ul class="l2rw-told">{"".join(items)}</ul>')

    def claims(self) -> Html:
        """Every statement with what was found, at each scale and on each data set where it is looked at."""
        text = ""
        for says, settings in self._claims.groupby("item", sort=False):
            text += f"<p><strong>{escape(settings['where'].iloc[0])}. {escape(str(says))}.</strong></p><ul>"
            for c in settings[settings.verdict != NOT_RUN].itertuples():
                finding = f"{_place(c.data, c.scale)}: {c.finding}; {c.trials} trials."
                text += f"<li><em>{c.verdict.capitalize()}</em> on {escape(finding)}</li>"
            not_run = settings[settings.verdict == NOT_RUN]
            if len(not_run):
                places = ", ".join(_place(c.data, c.scale) for c in not_run.itertuples())
                text += f"<li><em>Not run</em> on {escape(places)}.</li>"
            text += "</ul>"
        return Html(text)

    def imbalance(self) -> Html:
        """Figure 2, and the same with another pair of digits."""
        tables = ""
        for name, pair in (("fig2", "4 against 9"), ("pair_8_2", "8 against 2")):
            results = Results(grid(name), self.recorded)
            ratios = results.values("ratio")
            rows = [[row, *(self._number(cell, "error") for cell in results.cells(row))] for row in results.rows]
            caption = f"{pair}, MNIST, paper's scale: test error after the last step, mean and 95% interval."
            tables += _wide(NumberTable(["method", *(f"{ratio}:1" for ratio in ratios)], rows, caption).html)
        return Html(tables)

    def of_paper(self, name: str) -> Html:
        """Table 1 or 2 beside ours."""
        reported = reported_numbers()
        scales = [scale for scale in grid_scales(name) if scale != "quick"]
        cells = {(cell.row, cell.experiment.data, scale): cell for scale in scales for cell in grid(name, scale).cells}
        quarter = "quarter" in scales
        rows = []
        for method in dict.fromkeys(row for row, _, _ in cells):
            row: list[object] = [method]
            for data in ("cifar10", "cifar100"):
                row += [reported.get((name, method, data), ""), self._number(cells.get((method, data, "paper")))]
                row += [self._number(cells.get((method, data, "quarter")))] if quarter and data == "cifar10" else []
            row += [self._number(cells.get((method, data, "reduced"))) for data in ("fashion_mnist", "mnist")]
            rows.append(row)
        columns = ["method", "CIFAR-10, paper", "CIFAR-10, ours"]
        columns += ["CIFAR-10, a quarter of the steps"] if quarter else []
        columns += ["CIFAR-100, paper", "CIFAR-100, ours", "Fashion-MNIST, reduced", "MNIST, reduced"]
        caption = "Test accuracy after the last step, mean and 95% interval. In italics, what the paper reports. "
        caption += "Methods without reported numbers were added by us. Empty: not reported, or no run is planned."
        return Html(_wide(NumberTable(columns, rows, caption).html))

    def reduced(self, name: str) -> Html:
        """The cells of a grid that are on record at the reduced scale."""
        rows = []
        for cell in grid(name, "reduced").cells:
            last, best = self._number(cell), self._number(cell, "best")
            if not isinstance(last, str):
                place = [_in_words(key, value) for key, value in cell.place.items() if key != "data"]
                rows.append([", ".join([cell.row, *place]), title_of(cell.experiment.data), last, best])
        caption = "Test accuracy after the last step and at the best evaluation, mean and 95% interval."
        return Html(_wide(NumberTable(["run", "data", "last", "best"], rows, caption).html))

    def statistics(self) -> Html:
        """Whether running statistics that lag behind make the accuracy of the runs on CIFAR-10 zigzag."""
        words = statistics_in_words(Results(grid("statistics", "reduced"), self.recorded))
        return Html(self.reduced("statistics").html + words.html)

    def further(self) -> Html:
        """Studies beyond the paper's tables: those on record, each under its question, then those that are not."""
        studies = {name: grid(name, "reduced") for name in FURTHER}
        begun = [name for name in FURTHER if any(not isinstance(self._number(c), str) for c in studies[name].cells)]
        text = "".join(f"<h3>{escape(studies[name].question)}</h3>{self.reduced(name).html}" for name in begun)
        if planned := [name for name in FURTHER if name not in begun]:
            items = "".join(
                f"<li>{escape(studies[name].question)}: "
                f'<code class="literal">l2rw reproduce {name} --scale reduced --trials 3</code></li>'
                for name in planned
            )
            text += f"<p>Planned, and not run yet:</p><ul>{items}</ul>"
        return Html(text)

    def _number(self, cell: Cell | None, what: str = "last") -> Number | str:
        if cell is None:
            return ""
        return number(self.recorded.result(cell), what)


def _wide(table: str) -> str:
    return f'<div class="table-wrapper">{table}</div>'
