"""Before training: is this clean set fit to judge that training set?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from l2rw_core.arrays import as_labels, to_array
from l2rw_core.datasets import title_of
from l2rw_core.ledger import Labels
from l2rw_core.running.progress import bar

FEW = 5
"""A class with fewer clean examples than this is named."""
_SAMPLE = 500
_LARGEST_WIDTH = 256
_AT_ONCE = 1000
_MANY, _LOOKED_AT = 16, 1000
"""Numbers of an example from which on their size says something, and examples that are looked at."""
_OTHERWISE_SCALED = 50.0


@dataclass(frozen=True)
class CleanSetCheck:
    """What was found; `findings` says it in sentences, most serious first, and is empty if nothing is wrong."""

    counts: pd.DataFrame
    """One row a class: examples in `train` and in `clean`."""
    missing: list[Any]
    """Classes of the training set without a clean example."""
    duplicates: pd.DataFrame
    """Pairs that are alike: `train_id`, `clean_id`, `distance` (0 if exactly alike, otherwise as a share of the usual
    distance of an example to its nearest neighbour), `same_label`."""
    gain: pd.DataFrame
    """What other sizes of a clean set were worth, as it was handed in; empty if nothing was."""
    findings: list[str]

    @property
    def exact(self) -> pd.DataFrame:
        """The duplicates that are exactly alike."""
        return self.duplicates[self.duplicates["distance"] == 0]

    def __str__(self) -> str:
        return "\n".join(f"- {finding}" for finding in self.findings or ["nothing was found wrong"])


def check_clean_set(
    train: tuple[Any, Labels],
    clean: tuple[Any, Labels],
    near: float = 0.1,
    gain: pd.DataFrame | None = None,
    progress: bool | None = False,
) -> CleanSetCheck:
    """Compare a clean set with the training set that it is to judge.

    Args:
        train: ``(inputs, labels)`` of the N training examples: arrays, tensors or nested lists, examples first. Inputs
            may be features, or images of shape (height, width), (channels, height, width) or (height, width, channels);
            they should be scaled as the model sees them.
        clean: the same for the M clean examples.
        near: two examples count as near duplicates if their distance is below this share of the median distance of a
            training example to its nearest neighbour.
        gain: what clean sets of other sizes were worth elsewhere, to compare with: one row a data set and size, with at
            least `data`, `clean` and `accuracy`, as `l2rw_core.report.clean_size.expected_gain` makes it of our runs.
        progress: show a bar; None asks the environment variable ``L2RW_PROGRESS``.

    Raises:
        ValueError: if a set is empty, inputs and labels differ in length, shapes differ, inputs are not finite numbers,
            the clean set has a class that the training set lacks, `near` does not lie between 0 and 1, or `gain` lacks
            a column.
    """
    if not 0 <= near < 1:
        raise ValueError(f"near must lie between 0 and 1, got {near}")
    gain = _NO_GAIN.copy() if gain is None else gain
    lacking = [name for name in _NO_GAIN if name not in gain]
    if lacking:
        raise ValueError(f"gain lacks the column {lacking[0]!r}: give one row a data set and size")
    (x, y), (clean_x, clean_y) = _as_arrays(train, "training"), _as_arrays(clean, "clean")
    if x.shape[1:] != clean_x.shape[1:]:
        raise ValueError(f"training inputs have shape {x.shape[1:]} each and clean inputs {clean_x.shape[1:]}")
    unknown = [label for label in dict.fromkeys(clean_y.tolist()) if label not in set(y.tolist())]
    if unknown:
        raise ValueError(f"the clean set has the class {unknown[0]!r}, which the training set lacks")
    counts = _counts(y, clean_y)
    missing = counts.index[counts["clean"] == 0].tolist()
    with bar("looking for duplicates", 4, progress) as ticks:
        duplicates = _duplicates(x, clean_x, near, ticks.update)
    duplicates["same_label"] = y[duplicates["train_id"]] == clean_y[duplicates["clean_id"]]
    findings = [
        *_about_counts(counts, missing),
        *_about_scale(x, clean_x),
        *_about_duplicates(duplicates),
        *_about_gain(gain, len(clean_y)),
    ]
    return CleanSetCheck(counts, missing, duplicates, gain, findings)


def _as_arrays(pair: Any, role: str) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise ValueError(f"the {role} set must be a pair (inputs, labels), got {type(pair).__name__}")
    x, y = (to_array(part.toarray() if hasattr(part, "toarray") else part) for part in pair)
    if x.ndim == 0 or len(x) == 0 or y.ndim != 1 or len(x) != len(y):
        raise ValueError(f"the {role} set needs inputs and one label for each, got {x.shape} and {y.shape}")
    if x.dtype.kind not in "biuf" or not np.isfinite(x).all():
        raise ValueError(f"the {role} inputs must be finite numbers: encode categories and fill what is missing")
    return x, as_labels(y, len(x), f"the {role} labels")


def _about_scale(x: np.ndarray, clean_x: np.ndarray) -> list[str]:
    """Inputs of many numbers that are of another size in the clean set, as pixels up to 255 and up to 1 are."""
    if x[0].size < _MANY:
        return []
    sizes = [float(np.quantile(np.abs(part[:_LOOKED_AT].astype(float)), 0.95)) for part in (x, clean_x)]
    if not min(sizes) or max(sizes) / min(sizes) < _OTHERWISE_SCALED:
        return []
    return [
        f"Most clean inputs are numbers up to {sizes[1]:.3g} in size, and most training inputs up to {sizes[0]:.3g}: "
        "scale both alike, or no training example looks like a clean one."
    ]


def _counts(y: np.ndarray, clean_y: np.ndarray) -> pd.DataFrame:
    table = pd.DataFrame({"train": pd.Series(y).value_counts(), "clean": pd.Series(clean_y).value_counts()})
    return table.fillna(0).astype(int).sort_index().rename_axis("class")


def _digests(x: np.ndarray, kind: np.dtype[Any]) -> Iterator[bytes]:
    """One for each row, of its numbers as `kind`; a few rows are copied at a time."""
    for start in range(0, len(x), _AT_ONCE):
        for row in x[start : start + _AT_ONCE].astype(kind) + 0:  # + 0 makes -0.0 a 0.0
            yield hashlib.blake2b(np.ascontiguousarray(row).tobytes(), digest_size=16).digest()


def _duplicates(x: np.ndarray, clean_x: np.ndarray, near: float, tick: Callable[[], object]) -> pd.DataFrame:
    """Pairs of a training and a clean example that are exactly or nearly alike."""
    kind = np.result_type(x, clean_x)
    places: dict[bytes, list[int]] = {}
    for position, digest in enumerate(_digests(x, kind)):
        places.setdefault(digest, []).append(position)
    exact = [(i, j) for j, digest in enumerate(_digests(clean_x, kind)) for i in places.get(digest, ())]
    distances = dict.fromkeys(exact, 0.0)
    tick()
    if near:
        distances = _near(x, clean_x, near, tick) | distances
    rows = [(i, j, distance) for (i, j), distance in sorted(distances.items(), key=lambda item: (item[1], item[0]))]
    frame = pd.DataFrame(rows, columns=["train_id", "clean_id", "distance"])
    return frame.astype({"train_id": int, "clean_id": int, "distance": float})


def _near(x: np.ndarray, clean_x: np.ndarray, near: float, tick: Callable[[], object]) -> dict[tuple[int, int], float]:
    from sklearn.neighbors import NearestNeighbors

    x, clean_x = _flat(x), _flat(clean_x)
    if len(x) < 3:
        return {}
    tick()
    search = NearestNeighbors(n_neighbors=2).fit(x)
    tick()
    sample = np.random.default_rng(0).permutation(len(x))[:_SAMPLE]
    usual = float(np.median(search.kneighbors(x[sample])[0][:, 1]))
    if usual == 0:  # most training examples have a twin: nothing is unusual about another one
        return {}
    distances, places = search.radius_neighbors(clean_x, near * usual)
    tick()
    owners = np.repeat(np.arange(len(clean_x)), [len(row) for row in places])
    pairs = zip(np.concatenate(places).tolist(), owners.tolist(), strict=True)
    shares = np.maximum(np.concatenate(distances) / usual, np.finfo(float).tiny)
    return dict(zip(pairs, shares.tolist(), strict=True))


def _flat(x: np.ndarray) -> np.ndarray:
    """(N, at most 256 or so) float32: of large images the means of their blocks, which survive compression.

    The channels of an image stay apart, whether they come first or last.
    """
    blocks = [_pooled(x[start : start + _AT_ONCE].astype(np.float32)) for start in range(0, len(x), _AT_ONCE)]
    return np.concatenate([block.reshape(len(block), -1) for block in blocks])


def _pooled(x: np.ndarray) -> np.ndarray:
    width, sides = int(np.prod(x.shape[1:])), _sides(x.shape)
    if not sides or width <= _LARGEST_WIDTH:
        return x
    shrink = (width / _LARGEST_WIDTH) ** (1 / len(sides))
    for side in sides:
        starts = np.unique(np.arange(max(round(x.shape[side] / shrink), 1)) * shrink).astype(int)
        sizes = np.diff([*starts, x.shape[side]]).astype(np.float32)
        sums = np.add.reduceat(x, starts, side)
        x = sums / sizes.reshape([-1 if axis == side else 1 for axis in range(x.ndim)])
    return x


def _sides(shape: tuple[int, ...]) -> list[int]:
    """Axes along which neighbours are alike: height and width, not the channels."""
    if len(shape) < 3:
        return []
    last = shape[-1] <= 4 < shape[1]
    if len(shape) == 3:
        return [1] if last else [2] if shape[1] <= 4 else [1, 2]
    return [len(shape) - 3, len(shape) - 2] if last else [len(shape) - 2, len(shape) - 1]


def _about_counts(counts: pd.DataFrame, missing: list[Any]) -> list[str]:
    sentences = []
    if missing:
        sentences.append(
            f"The clean set has no example of {_list(missing)}: nothing speaks for {_these(missing)}, so even right "
            "labels will look harmful. Add some, or leave the class out."
        )
    few = [c for c, size in counts["clean"].items() if 0 < size < FEW]
    if few:
        sentences.append(
            f"Fewer than {FEW} clean examples of {_list(few)}: what they say will depend on which they are."
        )
    uneven = counts["clean"].max() / max(counts["clean"].min(), 1)
    if not missing and uneven >= 5:
        sentences.append(
            f"The clean set has {uneven:.0f} times as many examples of its largest class as of its smallest: "
            "training will lean the same way."
        )
    return sentences


def _about_duplicates(pairs: pd.DataFrame) -> list[str]:
    sentences = []
    exact = pairs[pairs["distance"] == 0]
    for group, word in ((exact, "exactly"), (pairs[pairs["distance"] > 0], "almost")):
        clean, train, differ = group["clean_id"].nunique(), group["train_id"].nunique(), (~group["same_label"]).sum()
        if len(group):
            sentences.append(
                f"{_count(clean, 'clean example')} and {_count(train, 'training example')} are {word} alike; pairs "
                f"with different labels: {differ} of {len(group)}. A copy with another label is a wrong label found; "
                "one with the same label gets more weight than it should."
            )
    return sentences


def _count(n: int, name: str) -> str:
    return f"{n} {name}" if n == 1 else f"{n} {name}s"


def _about_gain(gain: pd.DataFrame, size: int) -> list[str]:
    """For each recorded data set: what the next larger recorded size was worth."""
    sentences = []
    for data, rows in gain.groupby("data", sort=False):
        below, above = rows[rows["clean"] <= size].tail(1), rows[rows["clean"] > size].head(1)
        if len(below) and len(above):
            (a,), (b,) = below.itertuples(), above.itertuples()
            sentences.append(
                f"For comparison, in our runs on {title_of(data)} (ten classes, 40% background flips) reweighting "
                f"reached {a.accuracy:.1%} with {a.clean} clean examples and {b.accuracy:.1%} with {b.clean}."
            )
    return sentences


def _list(classes: list[Any]) -> str:
    names = ", ".join(str(c) for c in classes[:8])
    return ("class " if len(classes) == 1 else "classes ") + names + (" and others" if len(classes) > 8 else "")


def _these(classes: list[Any]) -> str:
    return "it" if len(classes) == 1 else "them"


_NO_GAIN = pd.DataFrame(columns=["data", "clean", "accuracy"])
