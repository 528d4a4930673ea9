"""From a source to the three sets of an experiment: biased training set, clean set, test set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from l2rw_core.datasets.biases import (
    BackgroundFlip,
    Examples,
    InstanceFlip,
    LongTail,
    PairImbalance,
    Subset,
    UniformFlip,
    as_pair,
    long_tail_shares,
)
from l2rw_core.datasets.embedded import PARTS
from l2rw_core.datasets.sources import Source

Bias = PairImbalance | LongTail | Subset | UniformFlip | BackgroundFlip | InstanceFlip


@dataclass(frozen=True)
class CleanSet:
    """How the clean set is made.

    Raises:
        ValueError: for an impossible number or an unknown origin.
    """

    size: int = 10
    """Images in all."""
    balanced: bool = True
    """``size / K`` of each class, the remainder spread over the first classes; otherwise a plain draw, which is what
    the released code does for CIFAR."""
    imbalance: float = 1.0
    """With `balanced`: how many times as many images the first class has as the last, in a long tail."""
    noise: float = 0.0
    """Share of its labels that are flipped uniformly: how clean the clean set is not."""
    origin: str = "clean"
    """``clean``: taken before labels are flipped; ``noisy``: taken after, so its labels are as wrong as any."""

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"the clean set's size must be at least 1, got {self.size}")
        if not self.imbalance >= 1 or (self.imbalance > 1 and not self.balanced):
            raise ValueError(f"the clean set's imbalance must be at least 1, and goes with balanced, not {self}")
        if not 0 <= self.noise <= 1:
            raise ValueError(f"the clean set's noise must lie between 0 and 1, got {self.noise}")
        if self.origin not in ("clean", "noisy"):
            raise ValueError(f"unknown origin {self.origin!r} of a clean set; choose clean or noisy")


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
    held_out: Examples | None = None
    """Corrupted as `train` is, and in none of the other sets; None if none were held out."""

    @property
    def truth(self) -> np.ndarray:
        """(N,) int64: the right labels of the training set."""
        return self.train.y_true


def carve_clean(
    examples: Examples, how: CleanSet, rng: np.random.Generator, num_classes: int
) -> tuple[Examples, Examples]:
    """Take the clean set out of a training set, without replacement.

    Args:
        examples: the training set so far.
        how: size and composition; its noise is not applied here.
        rng: where the draw comes from.
        num_classes: K.

    Returns:
        ``(rest, clean)``.

    Raises:
        ValueError: if a class has too few images, or nothing would be left to train on.
    """
    if not how.size < len(examples):
        raise ValueError(f"a clean set of {how.size} cannot be taken out of {len(examples)} training examples")
    order = rng.permutation(len(examples))
    if how.balanced:
        quota = _quota(how, num_classes)
        _check_quota(quota, examples.class_counts(num_classes))
        chosen = np.concatenate([order[examples.y[order] == c][: quota[c]] for c in range(num_classes)])
    else:
        chosen = order[: how.size]
    rest = np.setdiff1d(np.arange(len(examples)), chosen)
    return examples.take(rest), examples.take(chosen)


def _quota(how: CleanSet, num_classes: int) -> np.ndarray:
    """(K,) images of each class; what whole numbers leave over goes to the first classes."""
    shares = long_tail_shares(how.imbalance, num_classes)
    quota = np.floor(how.size * shares / shares.sum() + 1e-9).astype(int)
    return quota + (np.arange(num_classes) < how.size - quota.sum())


def _check_quota(quota: np.ndarray, counts: np.ndarray) -> None:
    short = np.flatnonzero(counts < quota)
    if len(short):
        c = int(short[0])
        raise ValueError(
            f"the clean set wants {quota[c]} images of class {c} and the training set has {counts[c]}: "
            "ask for a smaller clean set or a milder imbalance"
        )


def make_split(
    source: Source, biases: Sequence[Bias] = (), clean: CleanSet | None = None, seed: int = 0, hold_out: int = 0
) -> Split:
    """Bias a source's training set and carve the clean set out of it.

    Biases are applied in order; a `PairImbalance` has to come before what flips labels. The clean set is taken just
    before the first bias that changes labels, or at the end: its labels are right, and its images are not trained on.
    `CleanSet` has the ways in which it can be worse than that. Each bias and the clean set draw from a random stream of
    their own, so changing the noise rate changes neither the images that are drawn nor the clean set.

    Images that are held out go just before that, as the paper's hyper-validation set does: a plain draw, whose labels
    are then flipped as those of the training set are, by a stream of their own.

    The test set is the source's own. After a `PairImbalance` it has only the two classes, as many of each: all that
    the smaller one has. Its labels are always right.

    Args:
        source: a data set.
        biases: what to do to its training set.
        clean: the clean set, by default ten images, balanced.
        seed: of all random choices.
        hold_out: images to hold out.

    Raises:
        ValueError: if a `PairImbalance` comes after a bias that flips labels, an embedded part lacks a class that is
            wanted, or there are too few images for a bias, for what is held out, or for the clean set.
    """
    _check_order(biases)
    _check_held(source, biases)
    how = clean or CleanSet()
    train, num_classes = _as_examples(source.x_train, source.y_train), source.num_classes
    first = next((k for k, bias in enumerate(biases) if bias.flips_labels), len(biases))
    for position, bias in enumerate(biases[:first]):
        train = bias.apply(train, _stream(seed, 1 + position), num_classes)
        num_classes = bias.classes_after(num_classes)
    train, held_out = _hold_out(train, hold_out, _stream(seed, _HELD_OUT))
    if how.origin == "clean":
        train, carved = carve_clean(train, how, _stream(seed, 0), num_classes)
    for position, bias in enumerate(biases[first:], start=first):
        train = bias.apply(train, _stream(seed, 1 + position), num_classes)
        if held_out is not None and bias.flips_labels:
            held_out = bias.apply(held_out, _stream(seed, _HELD_OUT + 1 + position), num_classes)
    if how.origin == "noisy":
        train, carved = carve_clean(train, how, _stream(seed, 0), num_classes)
    if how.noise:
        carved = UniformFlip(how.noise).apply(carved, _stream(seed, 1_000), num_classes)
    return Split(train, carved, _test_set(source, biases), num_classes, source.name, source.checksum, held_out)


_HELD_OUT = 2_000
"""Number of the first random stream of what is held out."""


def _hold_out(train: Examples, size: int, rng: np.random.Generator) -> tuple[Examples, Examples | None]:
    if not 0 <= size < len(train):
        raise ValueError(f"{size} images cannot be held out of {len(train)} training images: hold out fewer")
    if not size:
        return train, None
    order = rng.permutation(len(train))
    return train.take(np.sort(order[size:])), train.take(order[:size])


def _check_order(biases: Sequence[Bias]) -> None:
    """After a flip, a pair would be drawn by wrong labels, and a clean set taken before it would have other classes."""
    flip = None
    for bias in biases:
        if isinstance(bias, PairImbalance) and flip is not None:
            raise ValueError(
                f"PairImbalance changes the classes and comes after {type(flip).__name__}, which flips labels of the "
                "old ones: put PairImbalance first"
            )
        flip = bias if bias.flips_labels else flip


def _check_held(source: Source, biases: Sequence[Bias]) -> None:
    """An embedded part has not every class of its set."""
    part = PARTS.get(source.name)
    pair = next((bias for bias in biases if isinstance(bias, PairImbalance)), None)
    wanted = (pair.minority, pair.majority) if pair else range(source.num_classes)
    if part is not None and (absent := [str(c) for c in wanted if c not in part.classes]):
        raise ValueError(
            f"{source.name} holds {part.holds} and none of class {', '.join(absent)}: name two that it holds in a "
            f"PairImbalance, or load {part.of}"
        )


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
