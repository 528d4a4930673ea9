"""Tables with wrong labels: L2RW on a small network beside boosted trees, and these without the audit's suspects.

    python -m benchmarks.tabular --packages FOLDER --trials 5

The sets, their wrong labels and their trusted examples are those of `benchmarks.audits`. Three tenths of the rows are
kept for the test, with right labels. Each trial draws other rows, other trusted examples and other wrong labels. All
models see the same columns. Trials that are on record are not run again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tyro
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import balanced_accuracy_score

from benchmarks.audit_data import CASES, Case, build
from benchmarks.audits import best_bold, extent, in_rows, run_missing
from l2rw_core.audit import Options, Table, audit, encode
from l2rw_core.experiments import results_root
from l2rw_core.loops.sklearn import ReweightedClassifier

TEST_SHARE = 0.3
TABLES = tuple(name for name, case in CASES.items() if not isinstance(case.table, str))


@dataclass
class Arguments:
    """Train on tables with wrong labels, and append what comes out to a file."""

    cases: list[str] = field(default_factory=lambda: list(TABLES))
    trials: int = 5
    packages: Path | None = None
    results: Path = field(default_factory=lambda: results_root() / "benchmarks" / "tabular.jsonl")
    again: bool = False
    """Run trials that are on record too."""


class Sample(NamedTuple):
    """One trial's data as numbers."""

    x: np.ndarray
    """(N, features) rows whose labels are not trusted."""
    y: np.ndarray
    clean_x: np.ndarray
    clean_y: np.ndarray
    suspect: np.ndarray
    """(N,) bool: whether the audit calls the label wrong."""
    seed: int


def main(arguments: Arguments) -> None:
    """Run what is not on record."""
    for line in run_missing(arguments, compare):
        print(line["case"], line["trial"], line["accuracy"], line["seconds"], flush=True)


def table(lines: list[dict[str, Any]]) -> str:
    """Markdown: balanced accuracy of each method, mean over trials, the best of a row in bold, and the range."""

    def cells(trials: list[dict[str, Any]]) -> list[str]:
        accuracies = [[line["accuracy"][method] for line in trials] for method in METHODS]
        return [mean + extent(values) for mean, values in zip(best_bold(accuracies), accuracies, strict=True)]

    return in_rows(lines, METHODS, cells)


def compare(case: Case, packages: Path, seed: int) -> dict[str, Any]:
    """Balanced accuracy of each method on the rows kept for the test."""
    data, clean, truth = build(case, packages, seed)
    if not isinstance(data, Table):
        raise TypeError(f"{case.source} has images: choose one of {', '.join(TABLES)}")
    order = np.random.default_rng([seed, 1]).permutation(len(data))
    test, rest = np.sort(order[: round(TEST_SHARE * len(order))]), np.sort(order[round(TEST_SHARE * len(order)) :])
    problem = encode(data, clean)
    x, y, right = problem.x.numpy(), problem.y.numpy(), np.searchsorted(problem.classes, truth)
    start = time.process_time()
    called = audit(_rows(data, rest), clean, Options(seed=seed), progress=False).suspects.sort_index()["is_label_issue"]
    seconds = {"audit": time.process_time() - start}
    sample = Sample(x[rest], y[rest], problem.clean_x.numpy(), problem.clean_y.numpy(), called.to_numpy(bool), seed)
    accuracy = {}
    for name, method in METHODS.items():
        start = time.process_time()
        accuracy[name] = round(float(balanced_accuracy_score(right[test], method(sample).predict(x[test]))), 4)
        seconds[name] = time.process_time() - start
    return {
        "n": len(rest),
        "test": len(test),
        "features": x.shape[1],
        "classes": len(problem.classes),
        "trusted": len(clean),
        "wrong": int((y[rest] != right[rest]).sum()),
        "removed": int(sample.suspect.sum()),
        "accuracy": accuracy,
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
    }


def _rows(data: Table, rows: np.ndarray) -> Table:
    frames = {name: getattr(data, name).iloc[rows].reset_index(drop=True) for name in ("frame", "aside")}
    return replace(data, **frames, labels=data.labels[rows], names=[data.names[row] for row in rows])


def _trees(x: np.ndarray, y: np.ndarray, seed: int) -> Any:
    leaf = max(1, min(20, len(y) // 20))  # the default of 20 makes no split of a few dozen rows
    return HistGradientBoostingClassifier(early_stopping=False, min_samples_leaf=leaf, random_state=seed).fit(x, y)


def _network(sample: Sample, *clean: np.ndarray) -> Any:
    return ReweightedClassifier(random_state=sample.seed).fit(sample.x, sample.y, *clean)


def _with_trusted(sample: Sample, rows: np.ndarray) -> Any:
    x, y = np.concatenate([sample.x[rows], sample.clean_x]), np.concatenate([sample.y[rows], sample.clean_y])
    return _trees(x, y, sample.seed)


METHODS: dict[str, Callable[[Sample], Any]] = {
    "network": lambda s: _network(s),
    "L2RW, network": lambda s: _network(s, s.clean_x, s.clean_y),
    "trees": lambda s: _trees(s.x, s.y, s.seed),
    "trees, trusted alone": lambda s: _trees(s.clean_x, s.clean_y, s.seed),
    "trees, trusted too": lambda s: _with_trusted(s, np.ones(len(s.y), bool)),
    "trees, trusted too, suspects removed": lambda s: _with_trusted(s, ~s.suspect),
}


if __name__ == "__main__":
    main(tyro.cli(Arguments))
