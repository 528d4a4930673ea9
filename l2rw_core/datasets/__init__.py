"""Data: published sets as arrays, biases that keep the truth, splits, and batches."""

from l2rw_core.datasets.batches import BatchStream, to_tensors
from l2rw_core.datasets.biases import (
    BackgroundFlip,
    Examples,
    LongTail,
    PairImbalance,
    UniformFlip,
    official_background_class,
    realised_noise,
)
from l2rw_core.datasets.points import Points, two_classes
from l2rw_core.datasets.sources import DataCorrupt, DataUnavailable, Source, data_root, load, names
from l2rw_core.datasets.split import Split, carve_clean, make_split

__all__ = [
    "BackgroundFlip",
    "BatchStream",
    "DataCorrupt",
    "DataUnavailable",
    "Examples",
    "LongTail",
    "PairImbalance",
    "Points",
    "Source",
    "Split",
    "UniformFlip",
    "carve_clean",
    "data_root",
    "load",
    "make_split",
    "names",
    "official_background_class",
    "realised_noise",
    "to_tensors",
    "two_classes",
]
