"""Experiments as values, the one training loop, and the records that runs leave behind."""

from l2rw_core.extras import require

require("experiments", "filelock", "joblib", "pandas", "scipy")

from l2rw_core.experiments.config import SCALES, Experiment, by_profile
from l2rw_core.experiments.detection import LabelWatch, detect
from l2rw_core.experiments.paper import (
    MAJORITY_SHARES,
    Cell,
    Grid,
    cell_of,
    grid,
    grid_names,
    mnist_imbalance,
    sees_clean,
    uses_clean,
)
from l2rw_core.experiments.records import (
    Curve,
    Interval,
    Record,
    append,
    interval,
    load_records,
    prediction_interval,
    results_root,
    summary,
    table,
)
from l2rw_core.experiments.report import CellResult, cell_result, grid_table, reported_numbers, reproduction
from l2rw_core.experiments.sweep import Recorded, missing, run_all, run_and_append
from l2rw_core.experiments.train import build_model, fit, loss_for, prepare
from l2rw_core.progress import progress_wanted

__all__ = [
    "MAJORITY_SHARES",
    "SCALES",
    "Cell",
    "CellResult",
    "Curve",
    "Experiment",
    "Grid",
    "Interval",
    "LabelWatch",
    "Record",
    "Recorded",
    "append",
    "build_model",
    "by_profile",
    "cell_of",
    "cell_result",
    "detect",
    "fit",
    "grid",
    "grid_names",
    "grid_table",
    "interval",
    "load_records",
    "loss_for",
    "missing",
    "mnist_imbalance",
    "prediction_interval",
    "prepare",
    "progress_wanted",
    "reported_numbers",
    "reproduction",
    "results_root",
    "run_all",
    "run_and_append",
    "sees_clean",
    "summary",
    "table",
    "uses_clean",
]
