"""Experiments as values, the one training loop, and the records that runs leave behind."""

from l2rw_core.experiments.config import Experiment
from l2rw_core.experiments.paper import MAJORITY_SHARES, mnist_imbalance
from l2rw_core.experiments.records import (
    Curve,
    Interval,
    Record,
    append,
    interval,
    load_records,
    results_root,
    summary,
    table,
)
from l2rw_core.experiments.train import build_model, fit, loss_for, prepare

__all__ = [
    "MAJORITY_SHARES",
    "Curve",
    "Experiment",
    "Interval",
    "Record",
    "append",
    "build_model",
    "fit",
    "interval",
    "load_records",
    "loss_for",
    "mnist_imbalance",
    "prepare",
    "results_root",
    "summary",
    "table",
]
