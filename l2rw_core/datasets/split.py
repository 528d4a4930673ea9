"""From a source to the three sets of an experiment: biased training set, clean set, test set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from l2rw_core.datasets.biases import BackgroundFlip, Examples, LongTail, PairImbalance, UniformFlip, as_pair
from l2rw_core.datasets.sources import Source

Bias = PairImbalance | LongTail | UniformFlip | BackgroundFlip


@dataclass(frozen=True)
class Split:
    """The data of one experiment."""

    train: Examples
    clean: Examples
    test: Examples
    num_classes: int
    source: str
    """Name of the data set."""
    checksum: str
    """sha256 of the data set."""

    @property
    def truth(self) -> np.ndarray:
        """(N,) int64: the right labels of the training set."""
        return self.train.y_true


def carve_clean(
    examples: Examples, size: int, rng: np.random.Generator, num_classes: int, balanced: bool = True
) -> tuple[Examples, Examples]:
    """Take the clean set out of a training set, without replacement.

    Args:
        examples: the training set so far, its labels still right.
        size: clean images in all.
        rng: where the draw comes from.
        num_classes: K.
        balanced: ``size / K`` of each class, the remainder spread over the first classes; otherwise a plain draw,
            which is what the released code does for CIFAR.

    Returns:
        ``(rest, clean)``.

    Raises:
        ValueError: if a class has too few images, or nothing would be left to train on.
    """
    if not 0 < size < len(examples):
        raise ValueError(f"a clean set of {size} cannot be taken out of {len(examples)} training examples")
    order = rng.permutation(len(examples))
    if balanced:
        quota = np.full(num_classes, size // num_classes) + (np.arange(num_classes) < size % num_classes)
        _check_quota(quota, examples.class_counts(num_classes))
        chosen = np.concatenate([order[examples.y[order] == c][: quota[c]] for c in range(num_classes)])
    else:
        chosen = order[:size]
    rest = np.setdiff1d(np.arange(len(examples)), chosen)
    return examples.take(rest), examples.take(chosen)


def _check_quota(quota: np.ndarray, counts: np.ndarray) -> None:
    short = np.flatnonzero(counts < quota)
    if len(short):
        c = int(short[0])
        raise ValueError(
            f"the clean set wants {quota[c]} images of class {c} and the training set has {counts[c]}: "
            "ask for a smaller clean set or a milder imbalance"
        )


def make_split(
    source: Source,
    biases: Sequence[Bias] = (),
    clean_size: int = 10,
    clean_balanced: bool = True,
    seed: int = 0,
) -> Split:
    """Bias a source's training set and carve the clean set out of it.

    Biases are applied in order, and the clean set is taken just before the first one that changes labels, or at the
    end: its labels are right, and its images are not trained on. Each bias and the clean set draw from a random stream
    of their own, so changing the noise rate changes neither the images that are drawn nor the clean set.

    The test set is the source's own. After a `PairImbalance` it has only the two classes, as many of each: all that
    the smaller one has. Its labels are always right.

    Args:
        source: a data set.
        biases: what to do to its training set.
        clean_size: clean images in all.
        clean_balanced: as many of each class, or a plain draw.
        seed: of all random choices.

    Raises:
        ValueError: if there are too few images for a bias or for the clean set.
    """
    train, num_classes = _as_examples(source.x_train, source.y_train), source.num_classes
    clean = None
    for position, bias in enumerate(biases):
        if bias.flips_labels and clean is None:
            train, clean = carve_clean(train, clean_size, _stream(seed, 0), num_classes, clean_balanced)
        train = bias.apply(train, _stream(seed, 1 + position), num_classes)
        num_classes = bias.classes_after(num_classes)
    if clean is None:
        train, clean = carve_clean(train, clean_size, _stream(seed, 0), num_classes, clean_balanced)
    test = _test_set(source, biases)
    return Split(train, clean, test, num_classes, source.name, source.checksum)


def _stream(seed: int, number: int) -> np.random.Generator:
    return np.random.default_rng([seed, number])


def _as_examples(x: np.ndarray, y: np.ndarray) -> Examples:
    return Examples(x, y, y, np.arange(len(y)))


def _test_set(source: Source, biases: Sequence[Bias]) -> Examples:
    test = _as_examples(source.x_test, source.y_test)
    for bias in biases:
        if isinstance(bias, PairImbalance):
            test = as_pair(test, bias.minority, bias.majority)
            size = test.class_counts(2).min()
            test = test.take(np.concatenate([np.flatnonzero(test.y == c)[:size] for c in (0, 1)]))
    return test
