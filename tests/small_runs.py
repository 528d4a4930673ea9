"""A run that takes a second, on the digits that come with scikit-learn."""

from l2rw_core.datasets import UniformFlip
from l2rw_core.experiments import Experiment

SMALL = Experiment(
    name="small",
    scale="quick",
    method="baseline",
    data="digits",
    biases=(UniformFlip(0.4),),
    clean_size=20,
    batch_size=20,
    steps=6,
    lr=0.01,
    evaluate_every=3,
)
OF_ONE_RUN = ("id", "started", "duration", "training_seconds", "sha256")
"""Fields of a record that differ from run to run."""
