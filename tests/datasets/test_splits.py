"""The clean set is clean and apart; the test set is untouched; random choices do not interfere with each other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2rw_core.datasets import (
    BackgroundFlip,
    CleanSet,
    Examples,
    LongTail,
    PairImbalance,
    Source,
    Subset,
    UniformFlip,
    carve_clean,
    load,
    make_split,
)

DIGITS = load("digits")
PAIR = PairImbalance(4, 9, 0.9, 120)


def test_pair_of_the_paper_after_the_clean_set_was_taken():
    """At 0.995 of 5,000 images: 25 - 5 and 4,975 - 5."""
    from test_biases import examples, rng

    pair = PairImbalance().apply(examples(60_000), rng(), 10)
    rest, clean = carve_clean(pair, CleanSet(10), rng(), 2)
    assert rest.class_counts(2).tolist() == [20, 4970]
    assert clean.class_counts(2).tolist() == [5, 5]


@given(size=st.integers(1, 200), seed=st.integers(0, 100), balanced=st.booleans())
def test_clean_set_is_right_apart_and_of_its_size(size, seed, balanced):
    split = make_split(DIGITS, (UniformFlip(0.5),), CleanSet(size, balanced), seed)
    assert len(split.clean) == size
    assert not split.clean.flipped.any()
    assert not np.intersect1d(split.clean.index, split.train.index).size
    assert len(split.clean) + len(split.train) == len(DIGITS.y_train)
    assert np.array_equal(DIGITS.y_train[split.clean.index], split.clean.y)
    assert np.array_equal(split.truth, DIGITS.y_train[split.train.index])
    if balanced:
        assert np.ptp(split.clean.class_counts(10)) <= 1


def test_a_random_clean_set_is_not_forced_to_be_balanced():
    counts = [make_split(DIGITS, (), CleanSet(50, balanced=False), seed).clean.class_counts(10) for seed in range(5)]
    assert max(np.ptp(c) for c in counts) > 1


def test_the_noise_rate_changes_neither_the_images_nor_the_clean_set():
    mild, strong = (make_split(DIGITS, (PAIR, UniformFlip(rate)), seed=3) for rate in (0.1, 0.4))
    assert np.array_equal(mild.train.index, strong.train.index)
    assert np.array_equal(mild.clean.index, strong.clean.index)
    assert not (mild.train.flipped & ~strong.train.flipped).any()


def test_seeds_differ():
    first, second = (make_split(DIGITS, (PAIR,), seed=seed) for seed in (0, 1))
    assert not np.array_equal(first.train.index, second.train.index)


def test_test_set_of_a_pair_is_balanced_relabelled_and_right():
    split = make_split(DIGITS, (PAIR, UniformFlip(0.4)))
    assert np.ptp(split.test.class_counts(2)) == 0
    assert not split.test.flipped.any()
    assert np.array_equal(DIGITS.y_test[split.test.index] == 9, split.test.y == 1)
    fours, nines = ((DIGITS.y_test == c).sum() for c in (4, 9))
    assert split.test.class_counts(2)[0] == min(fours, nines)
    assert split.num_classes == 2


def test_otherwise_the_test_set_is_the_sources_own():
    split = make_split(DIGITS, (LongTail(10), BackgroundFlip(0.4, 1)), CleanSet(20))
    assert np.array_equal(split.test.x, DIGITS.x_test)
    assert (split.num_classes, split.source, split.checksum) == (10, "digits", DIGITS.checksum)


@pytest.mark.parametrize(
    ("biases", "size", "message"),
    [
        ((PAIR,), 60, "wants 30 images of class 0 and the training set has 12"),
        ((), 0, "size must be at least 1, got 0"),
        ((), 5000, "clean set of 5000 cannot be taken out of 1201"),
    ],
)
def test_impossible_clean_sets_are_refused(biases, size, message):
    with pytest.raises(ValueError, match=message):
        make_split(DIGITS, biases, CleanSet(size))


@pytest.mark.parametrize("origin", ["clean", "noisy"])
@pytest.mark.parametrize(
    ("biases", "flip"),
    [
        ((UniformFlip(0.3), PAIR), "UniformFlip"),
        ((UniformFlip(0.0), PAIR), "UniformFlip"),
        ((BackgroundFlip(0.3, 1), PAIR), "BackgroundFlip"),
        ((Subset(900), UniformFlip(0.3), LongTail(2), PAIR), "UniformFlip"),
        ((PAIR, UniformFlip(0.3), PairImbalance(0, 1, 0.5, 40)), "UniformFlip"),
    ],
)
def test_a_pair_after_flipped_labels_is_refused_before_anything_is_drawn(biases, flip, origin, monkeypatch):
    monkeypatch.setattr("l2rw_core.datasets.split._stream", lambda *_: pytest.fail("something was drawn"))
    with pytest.raises(ValueError, match=f"comes after {flip}, .*: put PairImbalance first"):
        make_split(DIGITS, biases, CleanSet(4, origin=origin))


@pytest.mark.parametrize(
    "biases",
    [
        (PAIR, UniformFlip(0.3)),
        (Subset(1100), LongTail(2), PairImbalance(4, 9, 0.8, 50)),
        (PAIR, LongTail(2)),
        (PAIR, PairImbalance(1, 0, 0.5, 20)),
    ],
)
def test_training_clean_and_test_set_have_the_same_two_classes_after_a_pair(biases):
    split = make_split(DIGITS, biases, CleanSet(4))
    for part in (split.train, split.clean, split.test):
        assert set(part.y.tolist()) == set(part.y_true.tolist()) == {0, 1}
    assert split.num_classes == 2


def test_a_long_tail_of_a_label_that_nobody_has_is_refused():
    with pytest.raises(ValueError, match=r"no image has the label 0, .* put LongTail before"):
        make_split(DIGITS, (BackgroundFlip(1.0, 3), LongTail(10)))


def test_held_out_images_are_in_no_other_set_and_as_noisy():
    """As in the paper: they go before the clean set is taken, and are flipped as the training set is."""
    split = make_split(DIGITS, (UniformFlip(0.4),), CleanSet(50), seed=4, hold_out=300)
    sets = [set(part.index.tolist()) for part in (split.train, split.clean, split.held_out)]
    assert [len(s) for s in sets] == [len(DIGITS.y_train) - 350, 50, 300]
    assert len(set.union(*sets)) == len(DIGITS.y_train)
    assert np.array_equal(split.held_out.y_true, DIGITS.y_train[split.held_out.index])
    assert (split.held_out.flipped.sum(), split.train.flipped.sum()) == (120, round(0.4 * len(split.train)))
    assert make_split(DIGITS, (UniformFlip(0.4),), CleanSet(50), seed=4).held_out is None


def test_held_out_images_are_biased_as_the_training_set_is():
    split = make_split(DIGITS, (PAIR, UniformFlip(0.5)), CleanSet(4), hold_out=40)
    assert set(DIGITS.y_train[split.held_out.index].tolist()) == {4, 9}
    assert split.held_out.flipped.sum() == 20


@pytest.mark.parametrize("size", [-1, 1201, 10_000])
def test_more_than_there_is_cannot_be_held_out(size):
    with pytest.raises(ValueError, match=rf"{size} images cannot be held out of 1201 training images: hold out fewer"):
        make_split(DIGITS, hold_out=size)


def test_the_test_set_of_a_pair_has_as_many_of_each_class_as_the_smaller_one_has():
    y_test = np.repeat(np.arange(10), np.arange(10) + 3)  # 7 fours, 12 nines
    x_test = np.zeros((len(y_test), 8, 8, 1), np.uint8)
    source = Source("unequal", DIGITS.x_train, DIGITS.y_train, x_test, y_test, DIGITS.classes)
    split = make_split(source, (PAIR,), CleanSet(4))
    assert split.test.class_counts(2).tolist() == [7, 7]
    assert set(y_test[split.test.index].tolist()) == {4, 9}


def test_no_class_vanishes_in_a_long_tail():
    """At 100,000:1 the last class would keep a thousandth of an image."""
    tail = LongTail(100_000).apply(as_examples(DIGITS), np.random.default_rng(0), 10)
    assert tail.class_counts(10).max() > 100
    assert tail.class_counts(10).min() == 1


def as_examples(source):
    return Examples(source.x_train, source.y_train, source.y_train, np.arange(len(source.y_train)))
