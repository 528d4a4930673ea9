"""Ways in which a training set is biased. Each keeps the truth beside what it does to the labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np


@dataclass(frozen=True)
class Examples:
    """N labelled images, with the truth about their labels."""

    x: np.ndarray
    """(N, height, width, channels) uint8."""
    y: np.ndarray
    """(N,) int64, the labels that training is given."""
    y_true: np.ndarray
    """(N,) int64, the right labels."""
    index: np.ndarray
    """(N,) int64, the position of each example in its source's split."""

    @property
    def flipped(self) -> np.ndarray:
        """(N,) bool: whether the given label is wrong."""
        return self.y != self.y_true

    def __len__(self) -> int:
        return len(self.y)

    def take(self, chosen: np.ndarray) -> Examples:
        """The examples at the given positions, or under the given mask, in that order."""
        return Examples(self.x[chosen], self.y[chosen], self.y_true[chosen], self.index[chosen])

    def relabelled(self, y: np.ndarray) -> Examples:
        """The same examples with other given labels; the truth stays."""
        return Examples(self.x, y.astype(np.int64), self.y_true, self.index)

    def extended(self, x: np.ndarray, y: np.ndarray) -> Examples:
        """These examples, then others that no source holds: with labels taken as right, and -1 as position."""
        places = np.full(len(y), -1)
        return Examples(
            np.concatenate([self.x, x]),
            np.concatenate([self.y, y]),
            np.concatenate([self.y_true, y]),
            np.concatenate([self.index, places]),
        )

    def class_counts(self, num_classes: int) -> np.ndarray:
        """(num_classes,) examples of each given label."""
        return np.bincount(self.y, minlength=num_classes)


def realised_noise(examples: Examples) -> float:
    """Share of examples whose given label is wrong, which can differ from the rate that was asked for."""
    return float(examples.flipped.mean()) if len(examples) else 0.0


@dataclass(frozen=True)
class PairImbalance:
    """Two classes of the source, one of them rare, drawn without replacement (Section 4.1).

    The rare class becomes label 0 and the frequent one label 1, given and true labels alike. 0.995 of 5,000 images is
    the paper's 200:1: 4,975 and 25 images, of which the clean set then takes its share.
    """

    minority: int = 4
    majority: int = 9
    majority_share: float = 0.995
    size: int = 5000

    flips_labels: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.minority == self.majority:
            raise ValueError(f"minority and majority must be two different classes, got {self.minority} twice")
        if not 0.5 <= self.majority_share < 1:
            raise ValueError(f"majority_share must be at least 0.5 and below 1, got {self.majority_share}")
        if self.size < 2 or self.counts[0] < 1:
            raise ValueError(f"size {self.size} leaves no image of the rare class")

    @property
    def counts(self) -> tuple[int, int]:
        """Images of the rare and of the frequent class."""
        frequent = round(self.size * self.majority_share)
        return self.size - frequent, frequent

    def classes_after(self, num_classes: int) -> int:
        """Always 2."""
        return 2

    def apply(self, examples: Examples, rng: np.random.Generator, num_classes: int) -> Examples:
        """Draw the two classes and shuffle them; ValueError if the source has too few of one."""
        _check_class(self.minority, num_classes)
        _check_class(self.majority, num_classes)
        parts = []
        for digit, wanted in zip((self.minority, self.majority), self.counts, strict=True):
            members = np.flatnonzero(examples.y == digit)
            if len(members) < wanted:
                raise ValueError(
                    f"{wanted} images of class {digit} are wanted and {len(members)} are there: "
                    "lower size or majority_share, or use a larger data set"
                )
            parts.append(rng.permutation(members)[:wanted])
        chosen = rng.permutation(np.concatenate(parts))
        return as_pair(examples.take(chosen), self.minority, self.majority)


def as_pair(examples: Examples, minority: int, majority: int) -> Examples:
    """Only two classes, with the labels 0 (`minority`) and 1 (`majority`)."""
    examples = examples.take(np.isin(examples.y_true, (minority, majority)))
    y, y_true = ((labels == majority).astype(np.int64) for labels in (examples.y, examples.y_true))
    return Examples(examples.x, y, y_true, examples.index)


@dataclass(frozen=True)
class Subset:
    """A plain random draw of the source's training images, so that a small run repeats each of them often enough."""

    size: int = 5000

    flips_labels: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size must be at least 1, got {self.size}")

    def classes_after(self, num_classes: int) -> int:
        """As many as before."""
        return num_classes

    def apply(self, examples: Examples, rng: np.random.Generator, num_classes: int) -> Examples:
        """Draw `size` images without replacement; ValueError if there are fewer."""
        if len(examples) < self.size:
            raise ValueError(f"{self.size} images are wanted and {len(examples)} are there: lower size")
        return examples.take(rng.permutation(len(examples))[: self.size])


@dataclass(frozen=True)
class LongTail:
    """Class c keeps ``factor ** (-c / (K - 1))`` of what the first class keeps.

    With `factor` 100 the first class has a hundred times the examples of the last. The first class keeps as many as the
    source allows, or, with `size`, so many that this is the number of all examples.
    """

    factor: float = 100.0
    size: int | None = None

    flips_labels: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not self.factor >= 1:
            raise ValueError(f"factor must be at least 1, got {self.factor}")
        if self.size is not None and self.size < 1:
            raise ValueError(f"size must be at least 1, got {self.size}")

    def classes_after(self, num_classes: int) -> int:
        """As many as before."""
        return num_classes

    def apply(self, examples: Examples, rng: np.random.Generator, num_classes: int) -> Examples:
        """Draw from each class its share, in a new order; ValueError if a class has none, or too few for `size`."""
        counts = examples.class_counts(num_classes)
        if not counts.all():
            raise ValueError(
                f"no image has the label {int(counts.argmin())}, so a long tail would keep next to nothing: "
                "put LongTail before the bias that took them away"
            )
        shares = long_tail_shares(self.factor, num_classes)
        largest = float((counts / shares).min())
        if self.size is not None:
            if self.size / shares.sum() > largest:
                raise ValueError(
                    f"{self.size} images with a long tail of {self.factor} are more than the source has: "
                    "lower size or choose a milder tail"
                )
            largest = self.size / shares.sum()
        parts = [
            rng.permutation(np.flatnonzero(examples.y == c))[: max(1, round(largest * shares[c]))]
            for c in range(num_classes)
        ]
        return examples.take(rng.permutation(np.concatenate(parts)))


def long_tail_shares(factor: float, num_classes: int) -> np.ndarray:
    """(K,) size of each class relative to the first, falling geometrically to ``1 / factor``."""
    return factor ** (-np.arange(num_classes) / max(num_classes - 1, 1))


@dataclass(frozen=True)
class UniformFlip:
    """A share of the labels, drawn at random, becomes another class drawn uniformly (Section 4.2).

    With `always_changes` the new label is one of the K - 1 others. Without it all K are possible, as in the released
    code, and the realised share of wrong labels is ``rate * (K - 1) / K`` on average.
    """

    rate: float = 0.4
    always_changes: bool = True

    flips_labels: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_rate(self.rate)

    def classes_after(self, num_classes: int) -> int:
        """As many as before."""
        return num_classes

    def apply(self, examples: Examples, rng: np.random.Generator, num_classes: int) -> Examples:
        """Change exactly ``round(rate * N)`` labels."""
        chosen = _drawn_share(examples, self.rate, rng)
        y = examples.y.copy()
        if self.always_changes:
            y[chosen] = (y[chosen] + rng.integers(1, num_classes, len(chosen))) % num_classes
        else:
            y[chosen] = rng.integers(0, num_classes, len(chosen))
        return examples.relabelled(y)


@dataclass(frozen=True)
class BackgroundFlip:
    """A share of all labels, drawn at random, becomes one and the same class (Section 4.2).

    Examples of the background class that are drawn keep their label, so on average ``rate * (K - 1) / K`` are wrong.
    """

    rate: float = 0.4
    background: int = 3

    flips_labels: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_rate(self.rate)

    def classes_after(self, num_classes: int) -> int:
        """As many as before."""
        return num_classes

    def apply(self, examples: Examples, rng: np.random.Generator, num_classes: int) -> Examples:
        """Give ``round(rate * N)`` examples the background label."""
        _check_class(self.background, num_classes)
        y = examples.y.copy()
        y[_drawn_share(examples, self.rate, rng)] = self.background
        return examples.relabelled(y)


@dataclass(frozen=True)
class InstanceFlip:
    """A share of the labels becomes the class that small models find likeliest beside the right one.

    Noise that depends on the image: those are mislabelled that are hard to tell apart, and as what they resemble. Five
    ridge regressions, each fitted to 2,000 of the examples with their right labels, score the image with normal noise
    of standard deviation `blur` added to its pixels (of 0 to 1), each on noise of its own. The images on which the best
    wrong class is furthest ahead of the right one, or least behind it, get its label. Without blur the images alone
    decide; the more of it there is, the more does chance.
    """

    rate: float = 0.4
    blur: float = 1.0

    flips_labels: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_rate(self.rate)
        if not 0 <= self.blur < np.inf:
            raise ValueError(f"blur must be finite and must not be negative, got {self.blur}")

    def classes_after(self, num_classes: int) -> int:
        """As many as before."""
        return num_classes

    def apply(self, examples: Examples, rng: np.random.Generator, num_classes: int) -> Examples:
        """Change exactly ``round(rate * N)`` labels."""
        wanted, truth, rows = round(self.rate * len(examples)), examples.y_true, np.arange(len(examples))
        if not wanted:
            return examples
        x = examples.x.reshape(len(examples), -1).astype(np.float32) / 255
        scores = np.zeros((len(x), num_classes))
        for _ in range(5):
            judge = _ridge(x, truth, rng, num_classes)
            scores += _scores(judge, x + self.blur * rng.standard_normal(x.shape, dtype=np.float32))
        right = scores[rows, truth].copy()
        scores[rows, truth] = -np.inf
        likest = scores.argmax(1)
        y, chosen = examples.y.copy(), np.argsort(right - scores[rows, likest], kind="stable")[:wanted]
        y[chosen] = likest[chosen]
        return examples.relabelled(y)


def _ridge(x: np.ndarray, y: np.ndarray, rng: np.random.Generator, num_classes: int, most: int = 2_000) -> np.ndarray:
    """(features + 1, K) of a ridge regression of the classes on some rows, the last row its constant."""
    some = rng.permutation(len(x))[:most]
    part = np.column_stack([x[some], np.ones(len(some))])  # in double precision, so that any machine finds the same
    gram = part.T @ part + 0.01 * len(some) * np.eye(part.shape[1])
    return np.linalg.solve(gram, part.T @ np.eye(num_classes)[y[some]])


def _scores(judge: np.ndarray, x: np.ndarray) -> np.ndarray:
    return (
        np.concatenate([part.astype(np.float64) @ judge[:-1] for part in np.array_split(x, 1 + len(x) // 5_000)])
        + judge[-1]
    )


def official_background_class(seed: int, num_classes: int) -> int:
    """The background class that the released code draws for a split seed.

    Its seeds 0, 1111, 2222, 3333 and 4444 give the classes that the paper lists, for 10 and for 100 classes.
    """
    legacy = np.random.RandomState((seed + 1) % 2**32)
    return int(legacy.uniform(0, num_classes - 1))


def _drawn_share(examples: Examples, rate: float, rng: np.random.Generator) -> np.ndarray:
    return rng.permutation(len(examples))[: round(rate * len(examples))]


def _check_rate(rate: float) -> None:
    if not 0 <= rate <= 1:
        raise ValueError(f"rate must lie between 0 and 1, got {rate}")


def _check_class(label: int, num_classes: int) -> None:
    if not 0 <= label < num_classes:
        raise ValueError(f"there is no class {label}: the data has the classes 0 to {num_classes - 1}")
