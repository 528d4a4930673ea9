"""Numbers that open the records they come from, and tables of them."""

from __future__ import annotations

import hashlib
import html
import itertools
import math
import re
import shlex
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from l2rw_core.experiments import BySeed, CellResult, Experiment, Interval, Row, in_words, interval, quantity
from l2rw_core.figures.kernel import with_look
from l2rw_core.figures.methods import is_row, titled
from l2rw_core.numerals import MINUS, typeset
from l2rw_core.numerals import number as number_as

_USUAL = {"clean_noise": 0.0, "clean_imbalance": 1.0, "clean_origin": "clean", "label_scores": ""}
_FEWEST_RIVALS = 3
"""Numbers of a column that make its best one worth marking."""
_FEWEST_ALIKE = 2
"""Rows that begin with the same words, for these to head them."""
_LONG_NAME = 24
"""Letters of a row's name that fill three lines of a narrow column."""
_FEW = 3
"""Trials of which a wide interval says less than the lowest and the highest."""
_OURS = ' class="l2rw-ours"'
_KEPT = "\N{NO-BREAK SPACE}"
_SIGN_BEFORE = re.compile(rf"([<>±×]) (?=[{MINUS}\d])")
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
    """

    result: CellResult
    what: str = "last"

    def __post_init__(self) -> None:
        quantity(self.what)

    @property
    def value(self) -> Interval:
        """Mean and 95% interval over the trials."""
        return self.result.interval(self.what)

    def __str__(self) -> str:
        digits, unit = self._form
        if self._is_range:
            return f"{_range(self._of_trials, f'.{digits}f')}{unit}"
        return f"{in_words(self.value, digits)}{unit}"

    @property
    def html(self) -> str:
        """A button with the number, and the note that it opens; no script is needed."""
        return opener(fresh_name(self._ids + self.what), str(self), self._ids, self._note())

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
        return _says_little(self.value, self._largest)

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
        return [number_as(value, ".2f") for value in self._of_trials]

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
        return with_look(self.html)


@dataclass(frozen=True)
class Difference:
    """By how many points one cell is above another: trials with the same seed are compared with each other.

    Shown as a `Number` is, the range of few trials that lie far apart too, with a note on the records of both cells.

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

    @property
    def _is_range(self) -> bool:
        return _says_little(self.value, 100)

    def __str__(self) -> str:
        return _range(self._by_seed.values(), "+.1f") if self._is_range else in_words(self.value, 1, "+")

    @property
    def html(self) -> str:
        """A button with the difference, and the note that it opens."""
        ids = " ".join(record.id for result in (self.result, self.other) for record in result.records)
        return opener(fresh_name(ids + self.what), str(self), ids, self._note())

    def _note(self) -> dict[str, str]:
        mine, its = (result.by_seed(self.what) for result in (self.result, self.other))
        trials = (f"seed {seed}: {mine[seed]:.2f} {MINUS} {its[seed]:.2f}" for seed in self._by_seed)
        kind, counted = quantity(self.what), _counted(self.value.trials, self._is_range)
        return {
            f"{kind.sentence}: a difference in {kind.difference_unit}": f"{self}, {counted}",
            "First": f"{self.result.cell.label}; {command(self.result)}",
            "Second": f"{self.other.cell.label}; {command(self.other)}",
            "Trials": ", ".join(trials),
        }

    def _repr_html_(self) -> str:
        return with_look(self.html)


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


class Noted(ABC):
    """A number that rests on something else than `Record`s, as text that opens a note on it."""

    @abstractmethod
    def _note(self) -> dict[str, str]:
        """Heading -> text."""

    @property
    def html(self) -> str:
        """A button with the number, and the note that it opens."""
        note = self._note()
        return opener(fresh_name(f"{self} {note}"), str(self), "", note)

    def _repr_html_(self) -> str:
        return with_look(self.html)


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


Entry = Opening | Interval | str
"""What stands in a cell of a table: what opens a note, a reported value, or text."""


@dataclass(frozen=True)
class NumberTable:
    """A table of numbers and text, its columns sortable on the book's pages.

    Names of methods and of data sets stand as a reader knows them. Where the first cells of several rows in a row begin
    with the same words, as in ``MNIST, 10:1, 20%`` and ``MNIST, 10:1, 40%``, these head the rows as a group, and
    columns are sorted within it. Where the rows are methods, the best numbers of a column are bold, and the caption
    says so.

    Args:
        columns: headings.
        rows: one sequence a row, of what opens a note (`Number`, `Difference`), `Interval` (a reported value), or text.
        caption: what the table shows.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Entry]]
    caption: str

    @property
    def html(self) -> str:
        """One `<table class="l2rw-table">`; a class more says that names of rows are long."""
        head = "".join(f'<th scope="col">{_text(name)}</th>' for name in self.columns)
        caption = f"<caption>{html.escape(typeset(' '.join([self.caption, *self._of_bold]).strip()))}</caption>"
        bodies = "".join(self._body(group, rows) for group, rows in self._groups)
        names = (titled(_name(row)) for _, rows in self._groups for row in rows)
        wide = " l2rw-long-names" if any(len(name) > _LONG_NAME for name in names) else ""
        return f'<table class="l2rw-table{wide}">{caption}<thead><tr>{head}</tr></thead>{bodies}</table>'

    @property
    def _groups(self) -> list[tuple[str, list[Sequence[Entry]]]]:
        """Words of a group -> its rows, whose first cells have the rest; one group without words if there are none."""
        split = [_name(row).rpartition(", ") for row in self.rows]
        runs = [(words, [*run]) for words, run in itertools.groupby(range(len(split)), lambda i: split[i][0])]
        heads = [words for words, _ in runs]
        if not all(heads) or len(set(heads)) < len(heads) or any(len(run) < _FEWEST_ALIKE for _, run in runs):
            return [("", [*self.rows])]
        return [(words, [[split[i][2], *self.rows[i][1:]] for i in run]) for words, run in runs]

    @property
    def _of_bold(self) -> list[str]:
        """What bold numbers are, if there are any, and which rows have none."""
        groups = self._groups
        if not any(_best_of(rows) for _, rows in groups):
            return []
        where = "a column" if len(groups) == 1 else "a column in each group"
        said = f"Bold: the best of {where}, and what lies within its interval"
        aside = any(_is_oracle(row) for _, rows in groups for row in rows)
        return [f"{said}; an oracle does not compete." if aside else f"{said}."]

    def _body(self, group: str, rows: Sequence[Sequence[Entry]]) -> str:
        best = _best_of(rows)
        head = ""
        if group:
            words = f"<span>{_text(group)}</span>"
            head = f'<tr class="l2rw-group"><th scope="rowgroup" colspan="{len(self.columns)}">{words}</th></tr>'
        lines = (
            f"<tr{_OURS if _name(row) == 'l2rw' else ''}>"
            + "".join(_td(entry, k == 0, (i, k) in best) for k, entry in enumerate(row))
            + "</tr>"
            for i, row in enumerate(rows)
        )
        return f"<tbody>{head}{''.join(lines)}</tbody>"

    def _repr_html_(self) -> str:
        return with_look(self.html)

    def __repr__(self) -> str:
        return f"[Table: {self.caption}]"


def _best_of(rows: Sequence[Sequence[Entry]]) -> set[tuple[int, int]]:
    """Row and column of the best number of each column, and of those within its interval; none where rows are not all
    methods. An oracle, which knows the truth, does not compete."""
    if len(rows) < _FEWEST_RIVALS or not all(is_row(_name(row)) for row in rows):
        return set()
    rivals = [i for i, row in enumerate(rows) if not _is_oracle(row)]
    columns = range(1, max(map(len, rows)))
    return {(i, k) for k in columns for i in _best_in({i: rows[i][k] for i in rivals if k < len(rows[i])})}


def _is_oracle(row: Sequence[Entry]) -> bool:
    return is_row(_name(row)) and Row.from_name(_name(row)).sees_clean == "all of them"


def _best_in(column: Mapping[int, Entry]) -> list[int]:
    numbers = {i: entry for i, entry in column.items() if isinstance(entry, Number)}
    if len(numbers) < _FEWEST_RIVALS:
        return []
    sign = -1 if next(iter(numbers.values())).what == "error" else 1
    top = max(numbers.values(), key=lambda number: sign * number.value.mean).value
    reach = 0.0 if math.isnan(top.half_width) else top.half_width
    return [i for i, number in numbers.items() if sign * (top.mean - number.value.mean) <= reach]


def _name(row: Sequence[Entry]) -> str:
    """What a row of a table is about: its first cell, if that is text."""
    return row[0] if row and isinstance(row[0], str) else ""


def _text(words: str) -> str:
    """Text in a reader's words; a sign stays with the number after it."""
    return html.escape(_SIGN_BEFORE.sub(f"\\1{_KEPT}", typeset(titled(words))))


def _td(entry: Entry, first: bool, best: bool = False) -> str:
    if isinstance(entry, str):
        return f'<th scope="row">{_text(entry)}</th>' if first else f"<td>{_text(entry)}</td>"
    if isinstance(entry, Interval):
        return f'<td data-value="{entry.mean:.4f}" class="l2rw-reported">{_small_half(in_words(entry, 1))}%</td>'
    mark = ' class="l2rw-best"' if best else ""
    return f'<td data-value="{entry.value.mean:.4f}"{mark}>{_small_half(entry.html)}</td>'


def _small_half(text: str) -> str:
    """The half width of an interval smaller than its mean."""
    return re.sub(r" ± [\d.,]+", lambda half: f'<span class="l2rw-half">{half[0]}</span>', text, count=1)


def _says_little(value: Interval, largest: float) -> bool:
    """Whether an interval is wider than the scale, or for a few trials than a tenth of it."""
    few = value.trials <= _FEW and value.half_width > largest / 10
    return few or value.half_width > largest / 2


def _range(values: Iterable[float], form: str) -> str:
    """The lowest and the highest."""
    several = [*values]
    return f"{number_as(min(several), form)} to {number_as(max(several), form)}"


def number(result: CellResult | None, what: str = "last") -> Number | str:
    """The number of a cell, ``not run`` for one without a record; see `Number`."""
    return Number(result, what) if result else "not run"


def _counted(trials: int, is_range: bool = False) -> str:
    what = "lowest and highest" if is_range else "mean and 95% interval"
    return "a single trial" if trials == 1 else f"{what} of {trials} trials"
