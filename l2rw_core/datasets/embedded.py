"""Parts of published data sets that come with the package: real images as lossless sheets, with checksums.

A sheet is one grey picture with the images side by side, row by row, in the order of the published file. `PARTS` says
which images a part has, and ``data/embedded/parts.json`` what the sheets must be: sha256 and labels. What made them is
``tools/embed_images.py``.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from l2rw_core.datasets.errors import DataCorrupt
from l2rw_core.extras import require
from l2rw_core.places import embedded_root

SIDE = 28
"""Pixels of an image, both ways."""
COLUMNS = 80
"""Images side by side in a sheet."""
MANIFEST = "parts.json"


@dataclass(frozen=True)
class Part:
    """Some images of a published data set."""

    of: str
    """Name of the whole set."""
    title: str
    """What it is called in a figure or a table."""
    holds: str
    """In words."""
    classes: tuple[int, ...]
    """Labels that it has images of."""
    most: tuple[int | None, int | None]
    """Images of each class, the first ones of the published training and test file; None for all."""

    def choose(self, labels: np.ndarray, train: bool) -> np.ndarray:
        """Positions of its images in the published file, in their order there."""
        most = self.most[0] if train else self.most[1]
        return np.sort(np.concatenate([np.flatnonzero(labels == c)[:most] for c in self.classes]))


PARTS = {
    "mnist_4982": Part("mnist", "MNIST, four digits", "the digits 4, 9, 8 and 2 of MNIST", (4, 9, 8, 2), (None, None)),
    "fashion_small": Part(
        "fashion_mnist", "Fashion-MNIST, small", "600 + 200 images of each garment", tuple(range(10)), (600, 200)
    ),
}


def read_part(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training images (N, 28, 28, 1) uint8 and their labels (N,) int64, then test images and labels.

    Raises:
        DataCorrupt: a sheet or the manifest is missing or damaged.
    """
    require("experiments", "PIL")
    root = embedded_root()
    sheets = _checked(root / MANIFEST, lambda path: _wanted(path, name))
    (train, y_train), (test, y_test) = ((_checked(root / sheet.name, sheet.read), sheet.labels) for sheet in sheets)
    return train, y_train, test, y_test


@dataclass(frozen=True)
class _Sheet:
    """What a sheet must be."""

    name: str
    sha256: str
    labels: np.ndarray

    def read(self, path: Path) -> np.ndarray:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise ValueError("its checksum is another")
        return unpacked(content, len(self.labels))


def _wanted(path: Path, name: str) -> list[_Sheet]:
    """The two sheets of a part, by the manifest."""
    entry = json.loads(path.read_text(encoding="utf-8"))[name]
    return [
        _Sheet(one["sheet"], one["sha256"], np.array([int(label) for label in one["labels"]], dtype=np.int64))
        for one in (entry["train"], entry["test"])
    ]


def _checked(path: Path, read: Callable[[Path], Any]) -> Any:
    try:
        return read(path)
    except (OSError, ValueError, LookupError, TypeError) as error:
        cause = "it is missing" if isinstance(error, FileNotFoundError) else str(error)
        raise DataCorrupt(
            f"{path} is damaged ({cause}): install the package again, or, in a checkout, run git checkout {path.parent}"
        ) from error


def packed(images: np.ndarray) -> np.ndarray:
    """(N, 28, 28) images as one sheet; what is left of its last row is black."""
    rows = -(-len(images) // COLUMNS)
    places = np.zeros((rows * COLUMNS, SIDE, SIDE), np.uint8)
    places[: len(images)] = images
    return places.reshape(rows, COLUMNS, SIDE, SIDE).swapaxes(1, 2).reshape(rows * SIDE, COLUMNS * SIDE)


def unpacked(content: bytes, count: int) -> np.ndarray:
    """The first `count` images, (count, 28, 28, 1), of a sheet as it is on disk.

    Raises:
        OSError: it is no picture, or breaks off.
        ValueError: it is too small.
    """
    from PIL import Image  # only when asked for

    with Image.open(io.BytesIO(content)) as picture:
        sheet = np.asarray(picture)[..., 0]
    rows = -(-count // COLUMNS)
    if sheet.shape != (rows * SIDE, COLUMNS * SIDE):
        raise ValueError(f"a sheet of {count} images has {rows * SIDE} x {COLUMNS * SIDE} pixels, not {sheet.shape}")
    images = sheet.reshape(rows, SIDE, COLUMNS, SIDE).swapaxes(1, 2).reshape(-1, SIDE, SIDE, 1)
    return np.ascontiguousarray(images[:count])
