"""A reader's own run beside the recorded trials of the same configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from l2rw_core.experiments import (
    Cell,
    CellResult,
    Interval,
    Record,
    Recorded,
    cell_of,
    load_records,
    prediction_interval,
    quantity,
)
from l2rw_core.figures.methods import title_of_row
from l2rw_core.figures.numbers import Number, NumberTable

NOT_ON_RECORD = "not on record"
STOPPED = "stopped before its end"
FEWEST = 3
"""Trials on record below which nothing is said: two have a range that holds almost any number."""

COLUMNS = ("method", "this run", "on record", "range for one more trial", "this run is", "the same seed on record")


@dataclass(frozen=True)
class OwnRun:
    """One run, and what is on record of its configuration.

    Args:
        record: the run.
        others: recorded trials with other seeds, None if there are fewer than `FEWEST`.
        twin: the recorded trial with the same seed, None if there is none.
        what: one of `l2rw_core.experiments.QUANTITIES`.
    """

    record: Record
    others: CellResult | None
    twin: CellResult | None
    what: str

    @property
    def value(self) -> float:
        """In percent."""
        return quantity(self.what).of(self.record, self.record.steps_taken)

    @property
    def range(self) -> Interval | None:
        """Where one more trial falls, from the others alone: a trial must not vouch for itself."""
        if self.others is None:
            return None
        return prediction_interval(self.others.of_trials(self.what))

    @property
    def limits(self) -> tuple[float, float] | None:
        """The range, cut to what a percentage can be."""
        return (max(0.0, self.range.low), min(100.0, self.range.high)) if self.range else None

    @property
    def verdict(self) -> str:
        """``inside`` or ``outside`` that range, or that nothing is on record to compare with."""
        if not self.record.is_whole:
            return STOPPED
        if self.range is None:
            return NOT_ON_RECORD
        # Accuracies are rounded when they are recorded; a range without width still holds its own value.
        inside = abs(self.value - self.range.mean) <= self.range.half_width + 1e-6
        return "inside" if inside else "outside"


def own_run(record: Record, recorded: Recorded, what: str = "last") -> OwnRun:
    """Find what is on record of a run's configuration on the same data, its own seed kept apart."""
    cell = cell_of(record.experiment)
    trials = [r for r in recorded.trials(cell) if r.data_checksum == record.data_checksum] if cell else []
    seed = record.experiment.seed
    others = [r for r in trials if r.experiment.seed != seed]
    twin = [r for r in trials if r.experiment.seed == seed]
    return OwnRun(record, _result(cell, others, FEWEST), _result(cell, twin, 1), what)


def _result(cell: Cell | None, records: list[Record], at_least: int) -> CellResult | None:
    return CellResult(cell, tuple(records)) if cell and len(records) >= at_least else None


def beside_the_record(live: Mapping[str, Record], what: str = "last", recorded: Recorded | None = None) -> NumberTable:
    """One row a run: its result, what is on record, and whether it falls where one more trial should fall.

    The range is a prediction interval for a single trial, made of recorded trials with the same configuration, the same
    data and other seeds; see `l2rw_core.experiments.prediction_interval`. The interval of the mean would be wrong here:
    it gets narrower with every trial on record, and soon leaves out most honest runs. One run in twenty falls outside
    by chance. A run whose configuration has no record says so, which is what happens to whoever changes a setting.

    Args:
        live: name -> record of a run, as `l2rw_core.experiments.fit` returns it.
        what: one of `l2rw_core.experiments.QUANTITIES`.
        recorded: the records; by default those that come with the package.

    Raises:
        ValueError: `what` is none of them.
    """
    meaning = quantity(what).sentence
    recorded = recorded or Recorded(load_records())
    runs = {name: own_run(record, recorded, what) for name, record in live.items()}
    return NumberTable(COLUMNS, [_row(name, run) for name, run in runs.items()], summary(runs, meaning))


def _row(name: str, run: OwnRun) -> list[Number | str]:
    limits = f"{run.limits[0]:.1f} to {run.limits[1]:.1f}%" if run.limits else ""
    mean = Number(run.others, run.what) if run.others else NOT_ON_RECORD
    same = Number(run.twin, run.what) if run.twin else NOT_ON_RECORD
    return [name, f"{run.value:.1f}%", mean, limits, run.verdict if run.limits else "", same]


def summary(runs: Mapping[str, OwnRun], meaning: str) -> str:
    """What came out, in sentences.

    Args:
        runs: name -> run.
        meaning: what was compared.
    """
    parts = [f"{meaning}: this run beside recorded trials with other seeds."]
    for verdict, words in (
        ("inside", "Inside the range for one more trial"),
        ("outside", "Outside of it, as one run in twenty is by chance"),
        (NOT_ON_RECORD, "No record of this configuration on these data"),
        (STOPPED, "Stopped before its end, so not to be compared"),
    ):
        if names := [title_of_row(name) for name, run in runs.items() if run.verdict == verdict]:
            parts.append(f"{words}: {', '.join(names)}.")
    return " ".join(parts)
