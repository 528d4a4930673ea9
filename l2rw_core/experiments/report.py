"""The paper's numbers and claims beside what the records say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from l2rw_core.experiments.paper import Cell
from l2rw_core.experiments.records import Record, interval
from l2rw_core.experiments.sweep import answers


def cell_records(cell: Cell, records: Iterable[Record]) -> dict[int, Record]:
    """For each seed the record that answers for a trial of this cell."""
    found: dict[int, Record] = {}
    for record in records:
        seed = record.experiment.seed
        trial = cell.trial(seed)
        if answers(record, trial) and (seed not in found or record.experiment == trial):
            found[seed] = record
    return dict(sorted(found.items()))


def cell_values(cell: Cell, records: Iterable[Record]) -> dict[str, Any]:
    """Last and best accuracy of a cell's trials in percent, with intervals, and the ids of the records."""
    found = cell_records(cell, records)
    if not found:
        return {"trials": 0}
    steps = cell.experiment.all_steps
    last = interval([100 * record.at(steps) for record in found.values()])
    best = interval([100 * record.best_until(steps) for record in found.values()])
    return {
        "trials": last.trials,
        "last": last.mean,
        "last ±": last.half_width,
        "best": best.mean,
        "best ±": best.half_width,
        "realised noise": sum(r.realised_noise for r in found.values()) / len(found),
        "records": [record.id for record in found.values()],
    }


def grid_table(cells: Sequence[Cell], records: Iterable[Record]) -> pd.DataFrame:
    """One row a cell: where it stands, trials, test accuracy in percent last and best, realised noise."""
    records = list(records)
    rows = []
    for cell in cells:
        values = cell_values(cell, records)
        row: dict[str, Any] = {"method": cell.row, **dict(cell.column), "trials": values["trials"]}
        if values["trials"]:
            for name in ("last", "best"):
                row[name] = f"{values[name]:.2f} ± {values[f'{name} ±']:.2f}"
            row["wrong labels"] = f"{values['realised noise']:.1%}"
        rows.append(row)
    return pd.DataFrame(rows).fillna("")
