"""The paper's numbers beside what the records say: `data/reproduction.csv`, and the tables that show it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from l2rw_core.experiments import (
    Cell,
    Interval,
    Record,
    Recorded,
    grid,
    grid_names,
    in_words,
    reported_numbers,
)
from l2rw_core.experiments.paper import grid_scales
from l2rw_core.report.claims import AGREES, CLAIMS, DISAGREES, NOT_RUN, UNDECIDED, Claim, Evidence

WIDEST = 3.0
"""Points: intervals that together are wider than this can contradict a number, and are no support for it."""


def grid_table(cells: Sequence[Cell], records: Iterable[Record]) -> pd.DataFrame:
    """One row a cell: where it stands, trials, test accuracy in percent last and best, wrong labels, the paper's."""
    recorded, reported = Recorded(records), reported_numbers()
    rows = []
    for cell in cells:
        result = recorded.result(cell)
        row: dict[str, Any] = {"method": cell.row, **cell.place, "trials": 0}
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
    result = recorded.result(cell)
    place = ", ".join(f"{key} {value}" for key, value in cell.place.items() if key != "data")
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


def _claim(claim: Claim, scale: str, data: str, recorded: Recorded) -> dict[str, Any]:
    evidence = Evidence(scale, data, recorded)
    finding = claim.finding(evidence)
    return {
        "kind": "claim",
        "where": claim.where,
        "item": claim.says,
        "data": data,
        "scale": scale,
        "trials": finding.trials if finding else 0,
        "verdict": finding.verdict if finding else NOT_RUN,
        "finding": finding.text if finding else "",
        "records": " ".join(dict.fromkeys(evidence.used)) if finding else "",
    }
