"""Experiments as values, the one training loop, and the records that runs leave behind."""

from l2rw_core.extras import require

require("experiments", "filelock", "joblib", "pandas", "scipy")

from l2rw_core.experiments.config import SCALES, Experiment
from l2rw_core.experiments.detection import LabelWatch, detect
from l2rw_core.experiments.intervals import Interval, holm, in_words, interval, prediction_interval
from l2rw_core.experiments.paper import (
    Cell,
    Grid,
    cell_of,
    grid,
    grid_names,
    mnist_imbalance,
)
from l2rw_core.experiments.records import (
    Curve,
    Record,
    append,
    load_records,
    results_root,
    summary,
    table,
)
from l2rw_core.experiments.results import (
    LEAST_TRIALS,
    QUANTITIES,
    BySeed,
    CellResult,
    NotRun,
    Quantity,
    Recorded,
    Results,
    quantity,
    reported_numbers,
)
from l2rw_core.experiments.rows import Row
from l2rw_core.experiments.several import Together, fit_each, needs_evaluation, where_stopped
from l2rw_core.experiments.sweep import missing, run_all, run_and_append
from l2rw_core.experiments.train import build_model, fit, loss_for, prepare

__all__ = [
    "LEAST_TRIALS",
    "QUANTITIES",
    "SCALES",
    "BySeed",
    "Cell",
    "CellResult",
    "Curve",
    "Experiment",
    "Grid",
    "Interval",
    "LabelWatch",
    "NotRun",
    "Quantity",
    "Record",
    "Recorded",
    "Results",
    "Row",
    "Together",
    "append",
    "build_model",
    "cell_of",
    "detect",
    "fit",
    "fit_each",
    "grid",
    "grid_names",
    "holm",
    "in_words",
    "interval",
    "load_records",
    "loss_for",
    "missing",
    "mnist_imbalance",
    "needs_evaluation",
    "prediction_interval",
    "prepare",
    "quantity",
    "reported_numbers",
    "results_root",
    "run_all",
    "run_and_append",
    "summary",
    "table",
    "where_stopped",
]
