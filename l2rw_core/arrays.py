"""Arrays and labels in the forms in which people have them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


def to_array(values: Any) -> np.ndarray:
    """An array of anything that has the form of one, also of a tensor that lies on a GPU or wants a gradient."""
    if not isinstance(values, Tensor):
        return np.asarray(values)
    values = values.detach().cpu()
    return np.asarray(values.float() if values.dtype == torch.bfloat16 else values)


def as_labels(labels: Any, n: int, name: str) -> np.ndarray:
    """(n,) labels; ValueError if there are more or fewer, or one is missing."""
    values = to_array(labels)
    if values.shape != (n,):
        raise ValueError(f"{name} must have shape ({n},), one for each example, got {values.shape}")
    places = enumerate(values) if values.dtype.kind in "OfcmM" else ()
    empty = [place for place, value in places if value is None or value != value]
    if empty:
        raise ValueError(f"{name}[{empty[0]}] is {values[empty[0]]}: give every example a label, or leave it out")
    return values
