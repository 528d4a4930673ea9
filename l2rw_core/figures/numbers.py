"""Numbers that open the records they come from, and tables of them."""

from __future__ import annotations

import hashlib
import html
import itertools
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from l2rw_core.experiments import BySeed, CellResult, Experiment, Interval, Row, in_words, interval, quantity
from l2rw_core.figures.methods import is_row, title_of_row

_USUAL = {"clean_noise": 0.0, "clean_imbalance": 1.0, "clean_origin": "clean", "label_scores": ""}
_FEWEST_RIVALS = 3
"""Numbers of a column that make its best one worth marking."""
_FEW = 3
"""Trials of which a wide interval says less than the lowest and the highest."""
_OURS = ' class="l2rw-ours"'
_serial = itertools.count()


class Opening(Protocol):
    """A value that opens a note on where it comes from."""

    @property
    def value(self) -> Interval:
        """What a column of these is sorted by."""

    @property
    def html(self) -> str:
        """The value as a button, and its note."""


@dataclass(frozen=True)
class Number:
    """A mean over recorded trials, as text that opens a note on its records. Shown by a notebook, or glued into prose.

    Where trials lie so far apart that the interval is wider than the scale, or at most three trials so far that it is
    wider than a tenth of it, the lowest and the highest stand instead.

    Args:
        result: the trials.
        what: one of `l2rw_core.experiments.QUANTITIES`.
        identity: name of the note in the page; by default one that no other number of this process has.
    """

    result: CellResult
    what: str = "last"
    identity: str = ""

    def __post_init__(self) -> None:
        quantity(self.what)

    @property
    def value(self) -> Interval:
        """Mean and 95% interval over the trials."""
        return self.result.interval(self.what)

    def __str__(self) -> str:
        value, (digits, unit) = self.value, self._form
        if self._is_range:
            return f"{min(self._of_trials):.{digits}f} to {max(self._of_trials):.{digits}f}{unit}"
        return f"{in_words(value, digits)}{unit}"

    @property
    def html(self) -> str:
        """A button with the number, and the note that it opens; no script is needed."""
        name = self.identity or fresh_name(self._ids + self.what)
        return opener(name, str(self), self._ids, self._note())

    @property
    def _ids(self) -> str:
        return " ".join(record.id for record in self.result.records)

    @property
    def _meaning(self) -> str:
        return quantity(self.what).sentence

    @property
    def _form(self) -> tuple[int, str]:
        """Decimals and unit."""
        return 1, quantity(self.what).unit

    @property
    def _is_range(self) -> bool:
        """Whether the interval says little: it is wider than the scale, or for a few trials than a tenth of it."""
        few = self.value.trials <= _FEW and self.value.half_width > self._largest / 10
        return few or self.value.half_width > self._largest / 2

    @property
    def _largest(self) -> float:
        """The value of what is perfect; the smallest is 0."""
        return 100

    @property
    def _of_trials(self) -> list[float]:
        return self.result.of_trials(self.what)

    @property
    def _trials(self) -> list[str]:
        """The value of each trial."""
        return [f"{value:.2f}" for value in self._of_trials]

    def _note(self) -> dict[str, str]:
        first, cell = self.result.records[0], self.result.cell
        trials = ", ".join(
            f"seed {r.experiment.seed}: {value} ({r.id})"
            for r, value in zip(self.result.records, self._trials, strict=True)
        )
        commits = sorted({r.environment.get("commit", "")[:9] for r in self.result.records})
        devices = sorted({r.environment.get("device", "") for r in self.result.records})
        seconds = sum(r.duration for r in self.result.records) / len(self.result.records)
        return {
            self._meaning: f"{self}, {_counted(self.value.trials, self._is_range)}",
            "Trials": trials,
            "Wrong labels": f"{self.result.realised_noise:.1%} of the training set",
            "Configuration": describe_experiment(cell.experiment),
            "Made": f"{', '.join(devices)}; {seconds:.0f} s a trial; commit {', '.join(commits)}",
            "File": f"data/results/{first.experiment.name}.jsonl",
            "Again": command(self.result),
        }

    def _repr_html_(self) -> str:
        return self.html


@dataclass(frozen=True)
class Difference:
    """By how many points one cell is above another: trials with the same seed are compared with each other.

    Shown as a `Number` is, with a note on the records of both cells.

    Raises:
        ValueError: an unknown quantity, or no seed that both cells have.
    """

    result: CellResult
    other: CellResult
    what: str = "last"
    """One of `l2rw_core.experiments.QUANTITIES`."""

    def __post_init__(self) -> None:
        if not self._by_seed:
            raise ValueError(f"no seed is on record for both {self.result.cell.label} and {self.other.cell.label}")

    @property
    def value(self) -> Interval:
        """In points, over the seeds that both cells have."""
        return interval([*self._by_seed.values()])

    @property
    def _by_seed(self) -> BySeed:
        return self.result.by_seed(self.what) - self.other.by_seed(self.what)

    def __str__(self) -> str:
        return in_words(self.value, 1, "+")

    @property
    def html(self) -> str:
        """A button with the difference, and the note that it opens."""
        ids = " ".join(record.id for result in (self.result, self.other) for record in result.records)
        return opener(fresh_name(ids + self.what), str(self), ids, self._note())

    def _note(self) -> dict[str, str]:
        mine, its = (result.by_seed(self.what) for result in (self.result, self.other))
        trials = (f"seed {seed}: {mine[seed]:.2f} - {its[seed]:.2f}" for seed in self._by_seed)
        kind = quantity(self.what)
        return {
            f"{kind.sentence}: a difference in {kind.difference_unit}": f"{self}, {_counted(self.value.trials)}",
            "First": f"{self.result.cell.label}; {command(self.result)}",
            "Second": f"{self.other.cell.label}; {command(self.other)}",
            "Trials": ", ".join(trials),
        }

    def _repr_html_(self) -> str:
        return self.html


def fresh_name(content: str) -> str:
    """A name for a note of this content that no other note of this process has."""
    return f"{hashlib.sha256(content.encode()).hexdigest()[:8]}-{next(_serial)}"


def opener(name: str, text: str, ids: str, note: Mapping[str, str]) -> str:
    """A button with `text` that opens a note of named lines; no script is needed.

    Args:
        name: of the note, one that no other note of the page has.
        text: what the button shows.
        ids: ids of the `Record`s behind it, separated by spaces; "" if it rests on something else.
        note: heading -> text.
    """
    records = f' data-records="{ids}"' if ids else ""
    lines = "".join(
        f"<b>{html.escape(heading)}</b> <span>{html.escape(words)}</span>" for heading, words in note.items()
    )
    return (
        f'<span class="l2rw-number"{records}>'
        f'<button type="button" popovertarget="number-{name}">{text}</button>'
        f'<span popover id="number-{name}" class="l2rw-record">'
        f'<button type="button" class="l2rw-close" popovertarget="number-{name}" popovertargetaction="hide" '
        f'aria-label="Close">×</button>{lines}</span></span>'
    )


def command(result: CellResult) -> str:
    """The shell command that runs the trials of a cell again, or finds them on record."""
    cell = result.cell
    where = " ".join(shlex.quote(f"{name}={value}") for name, value in cell.place.items())
    return (
        f"l2rw reproduce {cell.grid} --scale {cell.experiment.scale} --rows {cell.row} --where {where} "
        f"--trials {1 + max(record.experiment.seed for record in result.records)}"
    )


def describe_experiment(e: Experiment) -> str:
    """What was run, in one line."""
    parts = [
        f"{e.method} on {e.data}",
        ", ".join(repr(bias) for bias in e.biases),
        f"{e.model}, {e.steps:,} steps of {e.batch_size}, m = {min(e.clean_batch_size, e.clean_size)}",
        f"{e.clean_size} clean images" + ("" if e.clean_balanced else ", drawn at random"),
        f"SGD at {e.lr:g}, momentum {e.momentum:g}, decay {e.weight_decay:g}",
    ]
    if e.lr_drops:
        parts.append("a tenth of the rate from steps " + " and ".join(f"{drop:,}" for drop in e.lr_drops))
    if e.fine_tune_steps:
        parts.append(f"{e.fine_tune_steps:,} steps of fine-tuning")
    parts += [
        f"{name.replace('_', ' ')} {getattr(e, name)}" for name, usual in _USUAL.items() if getattr(e, name) != usual
    ]
    return "; ".join(part for part in parts if part)


@dataclass(frozen=True)
class NumberTable:
    """A table of numbers and text, its columns sortable on the book's pages.

    Args:
        columns: headings.
        rows: one sequence a row, of what opens a note (`Number`, `Difference`), `Interval` (a reported value), or text.
        caption: what the table shows.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Opening | Interval | str]]
    caption: str

    @property
    def html(self) -> str:
        """One `<table class="l2rw-table">`."""
        head = "".join(f'<th scope="col">{_heading(name)}</th>' for name in self.columns)
        best = self._best
        body = "".join(
            f"<tr{_OURS if _name(row) == 'l2rw' else ''}>"
            + "".join(_td(entry, k == 0, (i, k) in best) for k, entry in enumerate(row))
            + "</tr>"
            for i, row in enumerate(self.rows)
        )
        caption = f"<caption>{html.escape(self.caption)}</caption>"
        return f'<table class="l2rw-table">{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'

    @property
    def _best(self) -> set[tuple[int, int]]:
        """Row and column of the best number of each column, and of those within its interval; none for a table whose
        rows are not all methods. An oracle, which knows the truth, does not compete."""
        if len(self.rows) < _FEWEST_RIVALS or not all(is_row(_name(row)) for row in self.rows):
            return set()
        rivals = [i for i, row in enumerate(self.rows) if Row.named(_name(row)).sees_clean != "all of them"]
        return {(i, k) for k in range(1, len(self.columns)) for i in self._best_of(k, rivals)}

    def _best_of(self, column: int, rivals: Sequence[int]) -> list[int]:
        numbers = {i: e for i in rivals if isinstance(e := self.rows[i][column], Number)}
        if len(numbers) < _FEWEST_RIVALS:
            return []
        sign = -1 if next(iter(numbers.values())).what == "error" else 1
        top = max(numbers.values(), key=lambda number: sign * number.value.mean).value
        reach = 0.0 if math.isnan(top.half_width) else top.half_width
        return [i for i, number in numbers.items() if sign * (top.mean - number.value.mean) <= reach]

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return f"[Table: {self.caption}]"


def _name(row: Sequence[Opening | Interval | str]) -> str:
    """What a row of a table is about: its first cell, if that is text."""
    return row[0] if row and isinstance(row[0], str) else ""


def _heading(name: str) -> str:
    """A heading in a reader's words: a row's name as it is called in figures, too."""
    return html.escape(title_of_row(name))


def _td(entry: Opening | Interval | str, first: bool, best: bool = False) -> str:
    """A cell; in a narrow column a number breaks before its ±, never after it."""
    if not isinstance(entry, Interval | str):
        number = entry.html.replace(" ± ", " ±&nbsp;", 1)
        mark = ' class="l2rw-best"' if best else ""
        return f'<td data-value="{entry.value.mean:.4f}"{mark}>{number}</td>'
    if isinstance(entry, Interval):
        half = "" if math.isnan(entry.half_width) else f" ±&nbsp;{entry.half_width:.1f}"
        return f'<td data-value="{entry.mean:.4f}" class="l2rw-reported">{entry.mean:.1f}{half}%</td>'
    return f'<th scope="row">{html.escape(title_of_row(entry))}</th>' if first else f"<td>{html.escape(entry)}</td>"


def number(result: CellResult | None, what: str = "last", identity: str = "") -> Number | str:
    """The number of a cell, ``not run`` for one without a record; see `Number`."""
    return Number(result, what, identity) if result else "not run"


def _counted(trials: int, is_range: bool = False) -> str:
    what = "lowest and highest" if is_range else "mean and 95% interval"
    return "a single trial" if trials == 1 else f"{what} of {trials} trials"
