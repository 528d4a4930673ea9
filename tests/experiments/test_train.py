"""One loop for every method: it repeats itself exactly, and it learns."""

import os

import numpy as np
import pytest
import torch

from l2rw_core import methods
from l2rw_core.datasets import PairImbalance, UniformFlip, load
from l2rw_core.experiments import Experiment, append, build_model, fit, mnist_imbalance, prepare

SHORT = {"data": "digits", "steps": 9, "evaluate_every": 3, "lr": 5e-3}
PAIR = Experiment(biases=(PairImbalance(4, 9, 0.9, 120),), **SHORT)
TEN_CLASSES = Experiment(biases=(UniformFlip(0.4),), clean_size=50, **SHORT)


@pytest.mark.parametrize("method", methods.METHODS)
@pytest.mark.parametrize("experiment", [PAIR, TEN_CLASSES], ids=["pair", "ten classes"])
def test_every_method_runs_on_every_kind_of_data(method, experiment):
    record = fit(experiment.with_(method=method))
    assert record.curve.step == [0, 3, 6, 9]
    assert all(0 <= a <= 1 for a in record.curve.accuracy)
    assert record.last == pytest.approx(np.mean(record.accuracy_by_class), abs=1e-6)
    if method == "clean_only":
        assert record.curve.weight_by_class == [None] * 4
    else:
        for shares, idle in zip(record.curve.weight_by_class[1:], record.curve.idle_steps[1:], strict=True):
            assert sum(shares) == pytest.approx(1 - idle, abs=1e-3)
    if method == "smote":
        assert np.ptp(record.train_counts) == 0
    else:
        assert sum(record.train_counts) == len(prepare(experiment).train)


def outcome(record):
    return record.curve, record.accuracy_by_class, record.train_counts, record.data_checksum


@pytest.mark.parametrize("experiment", [PAIR, TEN_CLASSES], ids=["pair", "ten classes"])
def test_the_same_experiment_gives_the_same_numbers(experiment):
    first = fit(experiment)
    torch.manual_seed(123)  # what ran before does not matter
    assert outcome(fit(experiment)) == outcome(first)
    assert outcome(fit(experiment.with_(seed=1))) != outcome(first)


def test_training_leaves_the_callers_random_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit(PAIR.with_(steps=2))
    assert torch.equal(torch.rand(3), expected)


def test_methods_see_the_same_start():
    first, second = (fit(PAIR.with_(method=m, steps=1)) for m in ("baseline", "l2rw"))
    assert first.curve.accuracy[0] == second.curve.accuracy[0]
    assert first.train_counts == second.train_counts


def test_baseline_weights_are_as_imbalanced_as_the_data():
    record = fit(PAIR.with_(method="baseline"))
    rare = record.train_counts[0] / sum(record.train_counts)
    assert record.curve.effective_examples[-1] == pytest.approx(100, abs=1e-3)
    assert record.curve.weight_by_class[-1][0] == pytest.approx(rare, abs=0.02)


def test_the_learning_rate_drops_when_it_should():
    plain, dropped = fit(PAIR.with_(steps=6)), fit(PAIR.with_(steps=6, lr_drops=(3,)))
    assert plain.curve.accuracy[:2] == dropped.curve.accuracy[:2]
    still = fit(PAIR.with_(steps=6, lr_drops=(0, 0, 1, 2, 3), momentum=0.0, lr=1e-30))
    assert len(set(still.curve.accuracy)) == 1


def test_a_diverged_run_is_an_error_and_not_a_record():
    with pytest.raises((FloatingPointError, ValueError), match="NaN or infinite"):
        fit(PAIR.with_(lr=1e30, method="baseline"))


def test_outputs_and_channels_follow_the_data():
    split = prepare(TEN_CLASSES)
    assert build_model(TEN_CLASSES, split).output.out_features == 10
    assert build_model(TEN_CLASSES.with_(model="mlp"), split)(torch.rand(2, 1, 8, 8)).shape == (2, 10)


def test_too_many_clean_images_are_refused():
    with pytest.raises(ValueError, match="clean set wants 30 images of class 0"):
        fit(PAIR.with_(clean_size=60))


def test_reweighting_beats_plain_training_on_embedded_digits():
    """With 60% of the labels wrong and 5 clean images a class, on 1,151 images of 8 by 8 pixels."""
    experiment = TEN_CLASSES.with_(biases=(UniformFlip(0.6),), steps=200, evaluate_every=100, lr=2e-2)
    l2rw, baseline = fit(experiment), fit(experiment.with_(method="baseline"))
    assert l2rw.last > baseline.last + 0.01
    assert l2rw.curve.weight_on_flipped[-1] < 0.75 * baseline.curve.weight_on_flipped[-1]


@pytest.mark.real_data
@pytest.mark.skipif(not os.environ.get("L2RW_DATA"), reason="real MNIST: set L2RW_DATA to a folder that has it")
def test_reweighting_beats_plain_training_on_imbalanced_mnist():
    source = load("mnist", download=False)
    records = {m: fit(mnist_imbalance(m, 200, scale="quick").with_(steps=300), source) for m in ("baseline", "l2rw")}
    assert records["baseline"].train_counts == [20, 4970]
    assert records["baseline"].last < 0.6
    assert records["l2rw"].last > 0.8


def test_append_returns_the_file(tmp_path):
    assert append(fit(PAIR.with_(steps=1)), tmp_path) == tmp_path / "fig2.jsonl"
