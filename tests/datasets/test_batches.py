"""Batches are a pure function of seed and step, full, and fair."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from l2rw_core.datasets import (
    BatchStream,
    CleanSet,
    RandomStream,
    load,
    make_split,
    rings,
    to_tensors,
    two_classes,
)


@given(n=st.integers(2, 50), size=st.integers(1, 50), seed=st.integers(0, 9))
def test_every_example_comes_equally_often(n, size, seed):
    stream = BatchStream(n, size, seed)
    steps = n  # n batches are size whole epochs
    seen = torch.cat([stream.indices(step) for step in range(steps)])
    expected = n if size >= n else size
    assert torch.bincount(seen, minlength=n).tolist() == [expected] * n
    assert all(len(stream.indices(step)) == min(size, n) for step in (0, 1, 5))


def test_a_stream_can_be_entered_anywhere():
    through = BatchStream(23, 7, 1)
    walked = [through.indices(step) for step in range(20)]
    assert all(torch.equal(BatchStream(23, 7, 1).indices(step), walked[step]) for step in (19, 3, 11))


def test_seeds_and_epochs_are_shuffled_differently():
    epochs = [BatchStream(40, 20, seed).indices(step) for seed in (0, 1) for step in (0, 2)]
    assert len({tuple(e.tolist()) for e in epochs}) == 4


def test_a_small_set_is_used_whole():
    assert BatchStream(10, 100, 0).indices(7).tolist() == list(range(10))


@pytest.mark.parametrize("arguments", [(0, 1, 0), (1, 0, 0)])
def test_impossible_streams_are_refused(arguments):
    with pytest.raises(ValueError, match="at least 1"):
        BatchStream(*arguments)


def test_negative_steps_are_refused():
    with pytest.raises(ValueError, match="negative"):
        BatchStream(5, 2, 0).indices(-1)


def test_tensors_hold_the_images():
    part = make_split(load("digits"), (), CleanSet(20)).clean
    x, y = to_tensors(part)
    assert x.shape == (20, 1, 8, 8)
    assert x.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(x[:, 0].numpy() * 255, part.x[..., 0], rtol=1e-6)
    assert y.dtype == torch.int64
    assert to_tensors(part, binary=True)[1].dtype == torch.float32


def test_points_have_the_noise_and_imbalance_asked_for():
    points = two_classes(300, imbalance=9, noise=0.2)
    assert int((points.y_true == 0).sum()) == 30
    assert int(points.flipped.sum()) == 60
    more = two_classes(300, imbalance=9, noise=0.4)
    assert torch.equal(more.x, points.x)
    assert bool((more.flipped | ~points.flipped).all())
    with pytest.raises(ValueError, match="imbalance >= 1"):
        two_classes(10, imbalance=0.5)


def test_drawing_with_replacement_repeats_some_and_is_a_function_of_the_step():
    stream = RandomStream(10, 100, seed=1)
    assert len(stream.indices(0)) == 100, "more than there are"
    assert torch.equal(stream.indices(5), RandomStream(10, 100, seed=1).indices(5))
    assert not torch.equal(stream.indices(5), stream.indices(6))
    draws = torch.cat([RandomStream(10, 10, seed=1).indices(step) for step in range(300)]).view(300, 10)
    distinct = sum(len(row.unique()) for row in draws) / 300
    assert distinct == pytest.approx(10 * (1 - 0.9**10), abs=0.3)
    assert torch.bincount(draws.flatten(), minlength=10).float().std() < 0.1 * 300


def test_rings_flip_labels_of_the_disc_alone_and_move_no_point():
    points = rings(300, imbalance=3, noise=0.4, seed=1)
    assert int((points.y_true == 0).sum()) == 75
    assert int(points.flipped.sum()) == 30
    assert bool((points.y_true[points.flipped] == 0).all())
    more = rings(300, imbalance=3, noise=0.8, seed=1)
    assert torch.equal(more.x, points.x)
    assert bool((more.flipped | ~points.flipped).all())
    radius = points.x.norm(dim=1)
    assert float(radius[points.y_true == 0].median()) < 1 < float(radius[points.y_true == 1].median())
    with pytest.raises(ValueError, match=r"noise in \[0, 1\]"):
        rings(10, noise=1.5)
