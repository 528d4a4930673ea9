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

from l2rw_core.experiments import BySeed, CellResult, Experiment, Interval, in_words, interval, quantity

_USUAL = {"clean_noise": 0.0, "clean_imbalance": 1.0, "clean_origin": "clean", "label_scores": ""}
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

    Where trials lie so far apart that the interval is wider than the scale, it is the lowest and the highest instead.

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
        """Whether the interval is wider than all that such a value can be, and says nothing."""
        return self.value.half_width > self._largest / 2

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
        f'<span popover id="number-{name}" class="l2rw-record">{lines}</span></span>'
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
        body = "".join(
            "<tr>" + "".join(_td(entry, first=k == 0) for k, entry in enumerate(row)) + "</tr>" for row in self.rows
        )
        caption = f"<caption>{html.escape(self.caption)}</caption>"
        return f'<table class="l2rw-table">{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return f"[Table: {self.caption}]"


def _heading(name: str) -> str:
    """A heading that may break after a plus: a stage, as in baseline+ft, then needs no column of its full width."""
    return html.escape(name).replace("+", "+<wbr>")


def _td(entry: Opening | Interval | str, first: bool) -> str:
    """A cell; in a narrow column a number breaks before its ±, never after it."""
    if not isinstance(entry, Interval | str):
        number = entry.html.replace(" ± ", " ±&nbsp;", 1)
        return f'<td data-value="{entry.value.mean:.4f}">{number}</td>'
    if isinstance(entry, Interval):
        half = "" if math.isnan(entry.half_width) else f" ±&nbsp;{entry.half_width:.1f}"
        return f'<td data-value="{entry.mean:.4f}" class="l2rw-reported">{entry.mean:.1f}{half}%</td>'
    return f'<th scope="row">{html.escape(entry)}</th>' if first else f"<td>{html.escape(entry)}</td>"


def number(result: CellResult | None, what: str = "last", identity: str = "") -> Number | str:
    """The number of a cell, ``not run`` for one without a record; see `Number`."""
    return Number(result, what, identity) if result else "not run"


def _counted(trials: int, is_range: bool = False) -> str:
    what = "lowest and highest" if is_range else "mean and 95% interval"
    return "a single trial" if trials == 1 else f"{what} of {trials} trials"
