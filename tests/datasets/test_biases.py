"""Biases do to the labels what they say, keep the truth, and repeat themselves from a seed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2rw_core.datasets import (
    BackgroundFlip,
    Examples,
    InstanceFlip,
    LongTail,
    PairImbalance,
    UniformFlip,
    load,
    official_background_class,
    realised_noise,
)

FLIPS = (UniformFlip, lambda rate: UniformFlip(rate, always_changes=False), lambda rate: BackgroundFlip(rate, 2))


def examples(n=1000, classes=10, seed=0):
    y = np.random.default_rng(seed).integers(0, classes, n)
    x = np.arange(n, dtype=np.uint32).view(np.uint8).reshape(n, 2, 2, 1)  # every image says who it is
    return Examples(x, y, y, np.arange(n))


def identity(part):
    return part.x.reshape(-1, 4).copy().view(np.uint32)[:, 0]


def rng(seed=0):
    return np.random.default_rng(seed)


@given(rate=st.floats(0, 1), seed=st.integers(0, 50), flip=st.sampled_from(FLIPS))
def test_flips_keep_images_and_truth_and_repeat_themselves(rate, seed, flip):
    before = examples(200)
    after = flip(rate).apply(before, rng(seed), 10)
    assert np.array_equal(after.x, before.x)
    assert np.array_equal(after.y_true, before.y_true)
    assert np.array_equal(after.index, before.index)
    assert after.y.min() >= 0
    assert after.y.max() < 10
    assert np.array_equal(after.y, flip(rate).apply(before, rng(seed), 10).y)
    assert after.flipped.sum() <= round(rate * 200)


@given(rate=st.floats(0, 1), seed=st.integers(0, 50))
def test_uniform_flip_changes_exactly_its_share(rate, seed):
    assert UniformFlip(rate).apply(examples(200), rng(seed), 10).flipped.sum() == round(rate * 200)


def test_uniform_flip_reaches_every_other_class_alike():
    after = UniformFlip(1.0).apply(examples(60_000), rng(), 10)
    table = np.zeros((10, 10))
    np.add.at(table, (after.y_true, after.y), 1)
    assert not table.diagonal().any()
    shares = table / table.sum(1, keepdims=True)
    np.testing.assert_allclose(shares[~np.eye(10, dtype=bool)], 1 / 9, atol=0.015)


@pytest.mark.parametrize(("classes", "expected"), [(10, 0.36), (100, 0.396)])
@pytest.mark.parametrize("kind", ["uniform", "background"])
def test_realised_noise_where_the_own_class_is_possible(classes, expected, kind):
    """The released code asks for 40% and really gets this many wrong labels."""
    flip = UniformFlip(0.4, always_changes=False) if kind == "uniform" else BackgroundFlip(0.4, 3)
    after = flip.apply(examples(50_000, classes), rng(), classes)
    assert realised_noise(after) == pytest.approx(expected, abs=0.005)


def test_background_flip_only_makes_background():
    after = BackgroundFlip(0.4, 7).apply(examples(), rng(), 10)
    assert set(after.y[after.flipped]) == {7}
    assert (after.y == 7).mean() == pytest.approx(0.4 + 0.6 / 10, abs=0.03)


def test_flips_in_sequence_still_know_the_truth():
    before = examples(5000)
    after = BackgroundFlip(0.2, 1).apply(UniformFlip(0.3).apply(before, rng(1), 10), rng(2), 10)
    assert np.array_equal(after.y_true, before.y)
    assert realised_noise(after) == pytest.approx(0.3 * 0.8 + 0.2 * 0.9, abs=0.02)


def test_pair_imbalance_at_the_scale_of_the_paper():
    source = examples(60_000)
    after = PairImbalance(4, 9, 0.995, 5000).apply(source, rng(), 10)
    assert after.class_counts(2).tolist() == [25, 4975]
    assert np.array_equal(source.y[after.index] == 9, after.y == 1)
    assert np.array_equal(identity(after), after.index)
    assert len(np.unique(after.index)) == 5000


def test_long_tail_decays_geometrically():
    after = LongTail(100).apply(examples(60_000), rng(), 10)
    counts = after.class_counts(10)
    assert counts[0] / counts[9] == pytest.approx(100, rel=0.02)
    np.testing.assert_allclose(counts[1:] / counts[:-1], 100 ** (-1 / 9), rtol=0.02)
    assert len(np.unique(after.index)) == len(after)


def test_long_tail_of_factor_one_is_balanced():
    assert np.ptp(LongTail(1).apply(examples(), rng(), 10).class_counts(10)) == 0


@pytest.mark.parametrize(("classes", "expected"), [(10, [3, 0, 5, 7, 1]), (100, [41, 7, 62, 85, 12])])
def test_official_seeds_give_the_background_classes_of_the_paper(classes, expected):
    assert [official_background_class(seed, classes) for seed in (0, 1111, 2222, 3333, 4444)] == expected


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: UniformFlip(1.5), "between 0 and 1"),
        (lambda: InstanceFlip(-0.1), "between 0 and 1"),
        (lambda: InstanceFlip(0.1, blur=-1.0), "blur must be finite"),
        (lambda: UniformFlip(float("nan")), "between 0 and 1"),
        (lambda: BackgroundFlip(-0.1), "between 0 and 1"),
        (lambda: LongTail(0.5), "at least 1"),
        (lambda: PairImbalance(4, 4), "two different classes"),
        (lambda: PairImbalance(4, 9, 1.0), "below 1"),
        (lambda: PairImbalance(4, 9, 0.995, 10), "no image of the rare class"),
        (lambda: BackgroundFlip(0.4, 12).apply(examples(), rng(), 10), "no class 12"),
        (lambda: PairImbalance(4, 19).apply(examples(), rng(), 10), "no class 19"),
        (lambda: PairImbalance(4, 9).apply(examples(1000), rng(), 10), r"4975 images of class 9 are wanted and \d+"),
    ],
)
def test_impossible_biases_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def wrong_by_class(blur, seed):
    source = load("fashion_small")
    before = Examples(source.x_train, source.y_train, source.y_train, np.arange(len(source.y_train)))
    after = InstanceFlip(0.3, blur).apply(before, rng(seed), 10)
    assert after.flipped.sum() == round(0.3 * len(before))
    wrong = np.zeros((10, 10))
    np.add.at(wrong, (after.y_true[after.flipped], after.y[after.flipped]), 1)
    return after.flipped, wrong


def test_noise_by_image_mislabels_what_is_hard_to_tell_apart_as_what_it_resembles():
    _, wrong = wrong_by_class(1.0, 3)
    shirt, trouser, tops = 6, 1, [0, 2, 3, 4]
    assert wrong[shirt].sum() > 2 * wrong[trouser].sum()
    assert wrong[shirt, tops].sum() > 0.6 * wrong[shirt].sum(), "4 in 9 by chance"


def test_blur_is_the_dial_between_the_image_and_chance():
    """Share of the mislabelled images that another draw mislabels too: 30% by chance."""
    common = {}
    for blur in (0.0, 1.0, 8.0):
        (one, _), (other, _) = wrong_by_class(blur, 3), wrong_by_class(blur, 4)
        common[blur] = (one & other).sum() / one.sum()
    assert common[0.0] > 0.85
    assert common[0.0] > common[1.0] + 0.1 > common[8.0] + 0.2 > 0.4


def test_noise_by_image_of_none_is_none():
    before = examples(100)
    assert InstanceFlip(0.0).apply(before, rng(), 10) is before
    assert InstanceFlip(1.0).apply(before, rng(), 10).flipped.all()
