"""What a clean set lacks, and what it shares with the training set, is found before training."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
import torch
from samples import sample
from scipy.sparse import csr_matrix

from l2rw_core.audit import check_clean_set, clean_set
from l2rw_core.audit.clean_set import FEW, _about_gain

RNG = np.random.default_rng(0)


def points(n=60, m=12, d=5, classes=3):
    rng = np.random.default_rng(1)
    return (rng.normal(size=(n, d)), np.arange(n) % classes), (rng.normal(size=(m, d)), np.arange(m) % classes)


def test_counts_by_class_and_nothing_to_say_about_a_good_set():
    train, clean = points(m=3 * FEW)
    check = check_clean_set(train, clean)
    assert check.counts["train"].tolist() == [20, 20, 20]
    assert check.counts["clean"].tolist() == [FEW] * 3
    assert check.findings == check.missing == []
    assert len(check.duplicates) == 0
    assert "nothing was found wrong" in str(check)


def test_missing_few_and_uneven_classes_are_named():
    train, (x, y) = points(m=2 * FEW)
    check = check_clean_set(train, (x, np.where(y == 2, 1, y)))
    assert check.missing == [2]
    assert check.counts.loc[2].tolist() == [20, 0]
    assert "no example of class 2: nothing speaks for it" in check.findings[0]
    labels = np.array([0] * (2 * FEW - 2) + [1, 2])
    said = str(check_clean_set(train, (x, labels)))
    assert f"Fewer than {FEW} clean examples of classes 1, 2" in said
    assert "8 times as many" in said


def test_exact_twins_are_found_whatever_their_label():
    (x, y), (clean_x, clean_y) = points()
    clean_x[3], clean_x[5] = x[10], x[20]
    clean_y[3], clean_y[5] = y[10], (y[20] + 1) % 3
    x[30] = x[10]
    check = check_clean_set((x, y), (clean_x, clean_y))
    pairs = {(row.train_id, row.clean_id): row.same_label for row in check.exact.itertuples()}
    assert pairs == {(10, 3): True, (30, 3): bool(y[30] == y[10]), (20, 5): False}
    assert "2 clean examples and 3 training examples are exactly alike; pairs with different labels: " in str(check)


def test_zero_has_one_sign_and_a_twin_may_have_another_type():
    x = np.array([[0.0, 1.0], [5.0, 9.0], [2.0, 2.0]])
    twin = np.array([[-0.0, 1.0], [7.0, 7.0]], dtype=np.float32)
    check = check_clean_set((x, [0, 1, 0]), (torch.tensor(twin), torch.tensor([0, 1])), near=0)
    assert check.exact[["train_id", "clean_id"]].to_numpy().tolist() == [[0, 0]]


def test_near_twins_are_measured_by_the_usual_distance():
    (x, y), (clean_x, clean_y) = points(n=300)
    nudge = RNG.normal(size=(2, 5))
    nudge /= np.linalg.norm(nudge, axis=1, keepdims=True)
    clean_x[0], clean_x[1] = x[7] + 0.01 * nudge[0], x[8] + 5 * nudge[1]
    for scale in (1.0, 1e-3):
        found = check_clean_set((scale * x, y), (scale * clean_x, clean_y)).duplicates
        assert found[["train_id", "clean_id"]].to_numpy().tolist() == [[7, 0]]
        assert 0 < found["distance"][0] < 0.1
    strict = check_clean_set((x, y), (clean_x, clean_y), near=float(found["distance"][0]) / 2)
    assert len(strict.duplicates) == 0


def test_a_large_image_that_was_compressed_again_is_a_near_twin():
    rng = np.random.default_rng(0)
    smooth = rng.random((40, 6, 6, 3)).repeat(8, 1).repeat(8, 2)
    x = smooth + 0.02 * rng.normal(size=smooth.shape)
    clean = rng.random((4, 6, 6, 3)).repeat(8, 1).repeat(8, 2)
    clean[2] = smooth[11]
    found = check_clean_set((x, np.arange(40) % 2), (clean, np.arange(4) % 2)).duplicates
    assert found[["train_id", "clean_id"]].to_numpy().tolist() == [[11, 2]]


def test_where_most_examples_have_a_twin_only_exact_ones_are_named():
    x = np.repeat(RNG.integers(0, 2, (20, 4)), 3, 0).astype(float)
    check = check_clean_set((x, np.arange(60) % 2), (x[:1] + 0.01, [0]))
    assert len(check.duplicates) == 0


def test_images_of_a_real_set_have_no_twins_but_the_one_put_there():
    s = sample("digits")
    clean_x = s.clean_x.copy()
    clean_x[4] = s.x[50]
    check = check_clean_set((s.x, s.y), (clean_x, s.clean_y))
    assert check.exact[["train_id", "clean_id"]].to_numpy().tolist() == [[50, 4]]
    assert len(check.duplicates) == 1


def test_what_the_next_larger_size_was_worth_is_said():
    sizes, accuracies = [10, 50, 200], [0.6, 0.8, 0.9]
    gain = pd.DataFrame({"data": "somewhere", "clean": sizes, "accuracy": accuracies})
    (said,) = _about_gain(gain, 60)
    assert "on somewhere" in said
    assert "80.0% with 50 clean examples and 90.0% with 200." in said
    assert _about_gain(gain, 9) == _about_gain(gain, 200) == []


def test_gains_that_are_handed_in_are_compared_with_and_none_are_looked_up():
    train, clean = points()
    gain = pd.DataFrame({"data": "mine", "clean": [1, 10_000], "accuracy": [0.25, 0.75]})
    check = check_clean_set(train, clean, gain=gain)
    assert check.gain is gain
    assert any("on mine" in finding and "25.0% with 1" in finding for finding in check.findings)
    assert len(check_clean_set(train, clean).gain) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"near": 1.0}, "near must lie between 0 and 1, got 1.0"),
        ({"clean": ([[1.0, 2.0]], [0])}, r"training inputs have shape \(5,\) each and clean inputs \(2,\)"),
        ({"clean": ([[1.0] * 5], [7])}, "the clean set has the class 7, which the training set lacks"),
        ({"clean": ([[1.0] * 5], [0, 1])}, r"the clean set needs inputs and one label for each, got \(1, 5\)"),
        ({"clean": (np.zeros((0, 5)), [])}, "the clean set needs inputs and one label for each"),
        ({"clean": ([[np.nan] * 5], [0])}, "the clean inputs must be finite numbers"),
        ({"clean": ([["a"] * 5], [0])}, "the clean inputs must be finite numbers: encode categories"),
        ({"clean": (np.zeros((2, 5)), [0, None])}, r"the clean labels\[1\] is None: give every example a label"),
        ({"train": (np.zeros((2, 5)), [0, np.nan])}, r"the training labels\[1\] is nan: give every example a label"),
        ({"gain": pd.DataFrame({"data": ["mine"], "clean": [10]})}, "gain lacks the column 'accuracy'"),
    ],
)
def test_wrong_calls_are_refused(change, message):
    train, clean = points()
    with pytest.raises(ValueError, match=message):
        check_clean_set(**{"train": train, "clean": clean} | change)


def test_sparse_inputs_and_tensors_that_want_a_gradient_are_taken():
    (x, y), (clean_x, clean_y) = points()
    expected = check_clean_set((x, y), (clean_x, clean_y))
    tensors = torch.tensor(clean_x, requires_grad=True), torch.tensor(clean_y)
    found = check_clean_set((csr_matrix(x), y), tensors)
    assert found.findings == expected.findings
    assert found.counts.equals(expected.counts)


@pytest.mark.parametrize(("times", "said"), [(1 / 255, True), (255.0, True), (2.0, False)])
def test_clean_inputs_that_are_scaled_otherwise_are_named(times, said):
    x, y = RNG.random((60, 8, 8)), np.arange(60) % 3
    findings = check_clean_set((x, y), (times * RNG.random((15, 8, 8)), np.arange(15) % 3)).findings
    assert any("scale both alike" in finding for finding in findings) == said


@pytest.mark.parametrize("shape", [(1, 28, 28), (28, 28), (28, 28, 1), (3, 32, 32), (32, 32, 3), (4, 20, 50)])
def test_images_are_pooled_by_height_and_width_wherever_channels_stand(shape):
    rng = np.random.default_rng(0)
    x, clean = rng.random((50, *shape), dtype=np.float32), rng.random((6, *shape), dtype=np.float32)
    clean[2] = x[7] + 1e-3 * rng.random(shape, dtype=np.float32)
    found = check_clean_set((x, np.arange(50) % 2), (clean, np.arange(6) % 2)).duplicates
    assert found[["train_id", "clean_id"]].to_numpy().tolist() == [[7, 2]]


@pytest.mark.parametrize("first", [True, False])
def test_no_channel_is_mixed_with_another_or_lost(first):
    """Grey levels that agree, and one colour that does not, are no twins."""
    rng = np.random.default_rng(0)
    x = rng.random((50, 3, 24, 24), dtype=np.float32)
    clean = x[:6].copy()
    clean[:, 2] = rng.random((6, 24, 24))
    clean[:, 1] += x[:6, 2] - clean[:, 2]
    sets = [(part if first else np.moveaxis(part, 1, -1), np.arange(len(part)) % 2) for part in (x, clean)]
    assert len(check_clean_set(*sets).duplicates) == 0


def test_twins_are_looked_for_without_a_copy_of_all_images(monkeypatch):
    monkeypatch.setattr(clean_set, "_AT_ONCE", 100)
    x = np.random.default_rng(0).random((2_000, 32, 32, 3), dtype=np.float32).transpose(0, 3, 1, 2)
    check_clean_set((x[:50], np.zeros(50, int)), (x[:5], np.zeros(5, int)))  # what it imports is there from now on
    tracemalloc.start()
    twins = clean_set._duplicates(x, x[7:8], 0.1, bool)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert twins["train_id"].tolist() == [7]
    assert peak < x.nbytes / 2
