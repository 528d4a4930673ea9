"""The one way to ask the records: a cell of a grid, a line of cells, or one row less another, seed by seed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from l2rw_core.experiments.config import Experiment
from l2rw_core.experiments.intervals import Interval, interval
from l2rw_core.experiments.paper import Cell, Grid, grid
from l2rw_core.experiments.records import Record, load_records, results_root

LEAST_TRIALS = 2
"""What a claim rests on has at least so many trials: one alone has no interval."""


class NotRun(Exception):
    """What was asked for has too few records."""


@dataclass(frozen=True)
class Quantity:
    """A number that every trial has."""

    name: str
    sentence: str
    """What it is, in full."""
    short: str
    """The same on an axis."""
    higher_is_better: bool
    of: Callable[[Record, int], float]
    """Its value, from a record and the step at which the cell ends."""
    unit: str = "%"
    difference_unit: str = "points"


QUANTITIES = {
    quantity.name: quantity
    for quantity in (
        Quantity(
            "last",
            "Test accuracy after the last step",
            "test accuracy, last step",
            True,
            lambda record, step: 100 * record.at(step),
        ),
        Quantity(
            "best",
            "Highest test accuracy of any evaluation, chosen on the test set",
            "test accuracy, best evaluation",
            True,
            lambda record, step: 100 * record.best_until(step),
        ),
        Quantity(
            "error",
            "Test error after the last step",
            "test error, last step",
            False,
            lambda record, step: 100 - 100 * record.at(step),
        ),
    )
}
"""What can be asked of a trial, by name."""


def quantity(name: str) -> Quantity:
    """One of `QUANTITIES`; ValueError for a name that there is none of."""
    if name not in QUANTITIES:
        raise ValueError(f"unknown kind of number {name!r}; choose one of {', '.join(QUANTITIES)}")
    return QUANTITIES[name]


class BySeed(dict[int, float]):
    """A quantity of each trial, by its seed. Two of them are combined over the seeds that both have."""

    @classmethod
    def of(cls, records: Iterable[Record], value: Callable[[Record], float]) -> BySeed:
        """A value of each record."""
        return cls((record.experiment.seed, value(record)) for record in records)

    def __sub__(self, other: BySeed) -> BySeed:
        return BySeed({seed: self[seed] - other[seed] for seed in self if seed in other})

    def __rmul__(self, factor: float) -> BySeed:
        return BySeed({seed: factor * value for seed, value in self.items()})

    @property
    def interval(self) -> Interval:
        """Mean and 95% interval; `NotRun` for fewer than `LEAST_TRIALS` trials."""
        if len(self) < LEAST_TRIALS:
            raise NotRun(f"{len(self)} of at least {LEAST_TRIALS} trials are on record")
        return interval([*self.values()])

    def share_above(self, limit: float) -> float:
        """The share of the trials above a limit, between 0 and 1; `NotRun` without a trial."""
        if not self:
            raise NotRun("no trial is on record")
        return sum(value > limit for value in self.values()) / len(self)


@dataclass(frozen=True)
class CellResult:
    """What the trials of a cell came to."""

    cell: Cell
    records: tuple[Record, ...]

    def of_trials(self, what: str = "last") -> list[float]:
        """One of `QUANTITIES`, of each trial."""
        value, step = quantity(what).of, self.cell.experiment.all_steps
        return [value(record, step) for record in self.records]

    def by_seed(self, what: str = "last") -> BySeed:
        """The same by the seed of the trial."""
        return BySeed(zip((record.experiment.seed for record in self.records), self.of_trials(what), strict=True))

    def interval(self, what: str = "last") -> Interval:
        """Mean and 95% interval of one of `QUANTITIES`."""
        return interval(self.of_trials(what))

    @property
    def last(self) -> Interval:
        """Accuracy after the last step."""
        return self.interval("last")

    @property
    def error(self) -> Interval:
        """Error after the last step."""
        return self.interval("error")

    @property
    def best(self) -> Interval:
        """Highest accuracy of any evaluation; the test set picks it, so it is optimistic."""
        return self.interval("best")

    @property
    def realised_noise(self) -> float:
        """Share of training labels that are wrong, mean over trials."""
        return float(np.mean([record.realised_noise for record in self.records]))


def on_common_seeds(results: Sequence[CellResult]) -> list[CellResult]:
    """The same cells on the seeds that all of them have; empty if there is no such seed."""
    seeds = set.intersection(*({record.experiment.seed for record in result.records} for result in results))
    return (
        [CellResult(result.cell, tuple(r for r in result.records if r.experiment.seed in seeds)) for result in results]
        if seeds
        else []
    )


class Recorded:
    """Records by the experiment that they answer for: its own run, or the same run with fine-tuning at its end.

    Of two runs of one experiment the later one counts.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self._runs: dict[Experiment, Record] = {}
        self._longer: dict[Experiment, Record] = {}
        self._seeds: set[int] = set()
        for record in records:
            self._runs[record.experiment] = record
            self._longer[record.experiment.with_(fine_tune_steps=0)] = record
            self._seeds.add(record.experiment.seed)

    def find(self, experiment: Experiment) -> Record | None:
        """The record that answers for `experiment`, None if there is none; `Record.at` reads a longer one."""
        return self._runs.get(experiment) or self._longer.get(experiment)

    def trials(self, cell: Cell) -> list[Record]:
        """Records of a cell's trials, in the order of their seeds."""
        return [r for seed in sorted(self._seeds) if (r := self.find(cell.trial(seed)))]

    def result(self, cell: Cell) -> CellResult | None:
        """What a cell came to, None if no trial of it is on record."""
        trials = self.trials(cell)
        return CellResult(cell, tuple(trials)) if trials else None


@dataclass(frozen=True)
class Results:
    """A grid at one scale, and what is on record of it: cells by row and by place.

    A place is what columns of the grid are, for example ``data="mnist", noise=0.4``. Rows and places that the grid does
    not have are a ValueError, which lists what there is; cells that were not run are None.
    """

    grid: Grid
    recorded: Recorded

    @classmethod
    def load(cls, name: str, scale: str = "reduced") -> Results:
        """The grid of that name, with the records that come with the package."""
        cells = grid(name, scale)
        files = dict.fromkeys(cell.experiment.name for cell in cells.cells)
        return cls(cells, Recorded(record for file in files for record in load_records(file)))

    @property
    def rows(self) -> list[str]:
        """Names of the rows, in the order of the grid."""
        return list(dict.fromkeys(cell.row for cell in self.grid.cells))

    def values(self, along: str, **place: Any) -> list[Any]:
        """What a column is at the cells of `place`, in the order of the grid."""
        return list(dict.fromkeys(cell.place[along] for cell in self.cells(**place) if along in cell.place))

    def cells(self, row: str | None = None, /, **place: Any) -> list[Cell]:
        """The cells of a row, or of all rows, at `place`, in the order of the grid."""
        return [
            cell
            for cell in self.grid.cells
            if row in (None, cell.row) and all(cell.place.get(name) == value for name, value in place.items())
        ]

    def items(self, row: str | None = None, /, **place: Any) -> Iterator[tuple[Cell, CellResult | None]]:
        """`cells`, each with its result."""
        return ((cell, self.recorded.result(cell)) for cell in self.cells(row, **place))

    def on_record(self, **place: Any) -> int:
        """How many cells at `place` have a record."""
        return sum(result is not None for _, result in self.items(**place))

    def cell(self, row: str, /, **place: Any) -> CellResult | None:
        """The result of one cell, None if it was not run.

        Raises:
            ValueError: there is no such cell, or `place` leaves more than one.
        """
        return self.recorded.result(self._only(row, self._some(row, place), place))

    def line(self, row: str, along: str, /, **place: Any) -> dict[Any, CellResult | None]:
        """The results of a row along a column, at one place: value of the column -> result.

        Raises:
            ValueError: there is no such cell, or `place` leaves more than one for a value of the column.
        """
        cells = [cell for cell in self.cells(row, **place) if along in cell.place]
        if not cells:
            raise ValueError(f"{self.grid.name} has no row {row!r} along {along!r} at {place}")
        groups: dict[Any, list[Cell]] = {}
        for cell in cells:
            groups.setdefault(cell.place[along], []).append(cell)
        return {
            value: self.recorded.result(self._only(row, group, {**place, along: value}))
            for value, group in groups.items()
        }

    def by_row(self, **place: Any) -> dict[str, CellResult | None]:
        """The results of all rows at one place; ValueError if it leaves more than one cell of a row."""
        rows = dict.fromkeys(cell.row for cell in self.cells(**place))
        return {row: self.cell(row, **place) for row in rows}

    def difference(self, row: str, other: str, what: str = "last", /, **place: Any) -> BySeed:
        """By how much a row is above another at one place, over the seeds that both have.

        Args:
            row: the one row.
            other: the other.
            what: one of `QUANTITIES`.
            place: as for `cell`.

        Raises:
            ValueError: as for `cell`.
            NotRun: one of the two has no record.
        """
        return self._run(row, place).by_seed(what) - self._run(other, place).by_seed(what)

    def _run(self, row: str, place: dict[str, Any]) -> CellResult:
        result = self.cell(row, **place)
        if result is None:
            raise NotRun(f"{self.grid.name} has no record of {row} at {place}")
        return result

    def _some(self, row: str, place: dict[str, Any]) -> list[Cell]:
        cells = self.cells(row, **place)
        if cells:
            return cells
        if row not in self.rows:
            raise ValueError(f"{self.grid.name} has no row {row!r}; choose one of {', '.join(self.rows)}")
        for name, value in place.items():
            values = [cell.place.get(name) for cell in self.cells(row)]
            if value not in values:
                raise ValueError(
                    f"{self.grid.name} has no {name} {value!r}; choose one of {list(dict.fromkeys(values))}"
                )
        raise ValueError(f"{self.grid.name} has no cell of {row} at {place}")

    def _only(self, row: str, cells: list[Cell], place: dict[str, Any]) -> Cell:
        if len(cells) > 1:
            where = ", ".join(f"{name} {value}" for name, value in place.items())
            columns = [name for name in cells[0].place if len({cell.place.get(name) for cell in cells}) > 1]
            raise ValueError(
                f"{self.grid.name} has several cells of {row}{f' at {where}' if where else ''}: "
                f"say also {', '.join(columns)}"
            )
        return cells[0]


def reported_numbers() -> dict[tuple[str, str, str], Interval]:
    """The paper's Tables 1 and 2: (grid, row, data set) -> accuracy in percent with its 95% interval, 5 splits."""
    rows = pd.read_csv(results_root().parent / "reported.csv").itertuples()
    return {(f"table{r.table}", r.method, r.dataset): Interval(r.value, r.ci95, 5) for r in rows}
