"""The paper's experiments as values: which runs make up a figure or a table."""

from __future__ import annotations

from l2rw_core.datasets import PairImbalance
from l2rw_core.experiments.config import SCALES, Experiment

MAJORITY_SHARES = {10: 0.9, 20: 0.95, 50: 0.98, 100: 0.99, 200: 0.995}
"""Nominal ratio -> share of the majority class among the 5,000 images. 0.995 is what the paper calls 200:1."""


def mnist_imbalance(
    method: str = "l2rw",
    ratio: int = 200,
    pair: tuple[int, int] = (4, 9),
    seed: int = 0,
    scale: str = "paper",
    data: str = "mnist",
) -> Experiment:
    """Section 4.1, Figure 2: two digits, one of them rare, ten balanced clean images.

    Args:
        method: name of a method.
        ratio: nominal imbalance, one of `MAJORITY_SHARES`.
        pair: (rare digit, frequent digit).
        seed: split, initial parameters and data order.
        scale: ``paper`` is 5,000 images and 8,000 steps; ``quick`` is a tenth of the steps at five times the rate.
        data: ``mnist``, ``fashion_mnist`` or ``digits``. The embedded digits have about a hundred images a class, so
            there the training set is smaller, and a ratio above 20 leaves too few rare images for a clean set.

    Raises:
        ValueError: for a ratio, scale, method or data set that there is none of.
    """
    if ratio not in MAJORITY_SHARES:
        raise ValueError(f"no imbalance of {ratio}:1; choose one of {', '.join(map(str, MAJORITY_SHARES))}")
    if scale not in ("paper", "quick"):
        raise ValueError(f"this experiment has no scale {scale!r} of {', '.join(SCALES)}; choose paper or quick")
    size = 120 if data == "digits" else 5000
    rare, frequent = pair
    paper = scale == "paper"
    return Experiment(
        name="fig2",
        scale=scale,
        method=method,
        data=data,
        biases=(PairImbalance(rare, frequent, MAJORITY_SHARES[ratio], size),),
        steps=8000 if paper else 800,
        lr=1e-3 if paper else 5e-3,
        evaluate_every=200 if paper else 40,
        seed=seed,
    )
