"""Data: published sets as arrays, biases that keep the truth, splits, and batches."""

from l2rw_core.datasets.batches import BatchStream, RandomStream, pad_crop_flip, to_tensors
from l2rw_core.datasets.biases import (
    BackgroundFlip,
    Examples,
    InstanceFlip,
    LongTail,
    PairImbalance,
    Subset,
    UniformFlip,
    official_background_class,
    realised_noise,
)
from l2rw_core.datasets.points import Points, rings, two_classes
from l2rw_core.datasets.sources import (
    DataCorrupt,
    DataUnavailable,
    Source,
    data_root,
    load,
    names,
    reference_of,
    title_of,
)
from l2rw_core.datasets.split import CleanSet, Split, carve_clean, make_split

__all__ = [
    "BackgroundFlip",
    "BatchStream",
    "CleanSet",
    "DataCorrupt",
    "DataUnavailable",
    "Examples",
    "InstanceFlip",
    "LongTail",
    "PairImbalance",
    "Points",
    "RandomStream",
    "Source",
    "Split",
    "Subset",
    "UniformFlip",
    "carve_clean",
    "data_root",
    "load",
    "make_split",
    "names",
    "official_background_class",
    "pad_crop_flip",
    "realised_noise",
    "reference_of",
    "rings",
    "title_of",
    "to_tensors",
    "two_classes",
]
