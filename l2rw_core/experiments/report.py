"""The paper's numbers beside what the records say: `data/reproduction.csv`, and the tables that show it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from l2rw_core.experiments.claims import AGREES, CLAIMS, DISAGREES, NOT_RUN, UNDECIDED, Look
from l2rw_core.experiments.paper import Cell, grid, grid_names, grid_scales
from l2rw_core.experiments.records import Interval, Record, interval, results_root
from l2rw_core.experiments.sweep import Recorded

WIDEST = 3.0
"""Points: intervals that together are wider than this can contradict a number, and are no support for it."""


@dataclass(frozen=True)
class CellResult:
    """What the trials of a cell came to; accuracies in percent."""

    cell: Cell
    records: tuple[Record, ...]

    @property
    def accuracies(self) -> list[float]:
        """After the cell's last step, one a trial."""
        return self.of_trials("last")

    def of_trials(self, what: str) -> list[float]:
        """The ``last`` or ``best`` accuracy or the ``error`` of each trial."""
        steps = self.cell.experiment.all_steps
        if what == "best":
            return [100 * record.best_until(steps) for record in self.records]
        accuracies = [100 * record.at(steps) for record in self.records]
        return [100 - accuracy for accuracy in accuracies] if what == "error" else accuracies

    @property
    def last(self) -> Interval:
        """Accuracy after the last step."""
        return interval(self.of_trials("last"))

    @property
    def error(self) -> Interval:
        """Error after the last step."""
        return interval(self.of_trials("error"))

    @property
    def best(self) -> Interval:
        """Highest accuracy of any evaluation; the test set picks it, so it is optimistic."""
        return interval(self.of_trials("best"))

    @property
    def realised_noise(self) -> float:
        """Share of training labels that are wrong, mean over trials."""
        return float(np.mean([record.realised_noise for record in self.records]))


def cell_result(cell: Cell, recorded: Recorded) -> CellResult | None:
    """The result of a cell, None if no trial of it is on record."""
    trials = recorded.trials(cell)
    return CellResult(cell, tuple(trials)) if trials else None


def grid_table(cells: Sequence[Cell], records: Iterable[Record]) -> pd.DataFrame:
    """One row a cell: where it stands, trials, test accuracy in percent last and best, wrong labels, the paper's."""
    recorded, reported = Recorded(records), reported_numbers()
    rows = []
    for cell in cells:
        result = cell_result(cell, recorded)
        row: dict[str, Any] = {"method": cell.row, **dict(cell.column), "trials": 0}
        if result:
            row |= {
                "trials": result.last.trials,
                "last": in_words(result.last),
                "best": in_words(result.best),
                "wrong labels": f"{result.realised_noise:.1%}",
            }
        paper = reported.get((cell.experiment.name, cell.row, cell.experiment.data))
        if paper is not None and cell.experiment.scale == "paper":
            row["paper"] = in_words(paper)
        rows.append(row)
    return pd.DataFrame(rows).fillna("")


def in_words(value: Interval) -> str:
    """Mean and half width with two decimals; a single trial has no interval."""
    return f"{value.mean:.2f}" if np.isnan(value.half_width) else f"{value.mean:.2f} ± {value.half_width:.2f}"


def reported_numbers() -> dict[tuple[str, str, str], Interval]:
    """The paper's Tables 1 and 2: (grid, row, data set) -> accuracy in percent with its 95% interval, 5 splits."""
    rows = pd.read_csv(results_root().parent / "reported.csv").itertuples()
    return {(f"table{r.table}", r.method, r.dataset): Interval(r.value, r.ci95, 5) for r in rows}


def compare(ours: Interval, paper: Interval) -> str:
    """Whether two means are no further apart than their intervals together allow.

    `UNDECIDED` for a single trial, which has no interval, and where intervals wider than `WIDEST` allow it.
    """
    widths = float(np.hypot(ours.half_width, np.nan_to_num(paper.half_width)))
    if np.isnan(widths):
        return UNDECIDED
    if abs(ours.mean - paper.mean) > widths:
        return DISAGREES
    return AGREES if widths <= WIDEST else UNDECIDED


def reproduction(records: Iterable[Record]) -> pd.DataFrame:
    """Every number of Tables 1 and 2, every claim about figures, and every cell of ours, with what came out.

    Columns: kind (``number`` for a cell, ``claim``), where, item, data, scale, reported and its interval, reproduced
    and its interval (accuracy in percent after the last step), best, trials, verdict, finding, records.
    """
    recorded = Recorded(records)
    views = ("fig3", "fig6", "fig7")  # of Table 2's runs
    names = [name for name in grid_names() if name not in (*views, "detection")]  # which is not about accuracy
    rows = [_number(cell, name, recorded) for name in names for cell in _cells_of(name)]
    rows += [_claim(claim, scale, data, recorded) for claim in CLAIMS for scale, data in claim.settings]
    return pd.DataFrame(rows)


def _cells_of(name: str) -> list[Cell]:
    return [cell for scale in grid_scales(name) if scale != "quick" for cell in grid(name, scale).cells]


def _number(cell: Cell, name: str, recorded: Recorded) -> dict[str, Any]:
    e = cell.experiment
    paper = reported_numbers().get((name, cell.row, e.data)) if e.scale == "paper" else None
    result = cell_result(cell, recorded)
    place = ", ".join(f"{key} {value}" for key, value in cell.column if key != "data")
    row: dict[str, Any] = {
        "kind": "number",
        "where": name,
        "item": f"{cell.row}, {place}" if place else cell.row,
        "data": e.data,
        "scale": e.scale,
        "reported": paper and paper.mean,
        "reported_ci95": paper and paper.half_width,
        "trials": 0,
        "verdict": NOT_RUN,
        "finding": "",
        "records": "",
    }
    if result:
        last, best = result.last, result.best
        row |= {
            "reproduced": round(last.mean, 4),
            "ci95": round(last.half_width, 4),
            "best": round(best.mean, 4),
            "best_ci95": round(best.half_width, 4),
            "trials": last.trials,
            "verdict": compare(last, paper) if paper else "",
            "records": " ".join(record.id for record in result.records),
        }
    return row


def _claim(claim: Any, scale: str, data: str, recorded: Recorded) -> dict[str, Any]:
    look = Look(scale, data, lambda cell: cell_result(cell, recorded))
    finding = claim.look_up(look)
    return {
        "kind": "claim",
        "where": claim.where,
        "item": claim.says,
        "data": data,
        "scale": scale,
        "trials": finding.trials if finding else 0,
        "verdict": finding.verdict if finding else NOT_RUN,
        "finding": finding.text if finding else "",
        "records": " ".join(dict.fromkeys(look.used)) if finding else "",
    }
