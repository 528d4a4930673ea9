"""One loop for every method: it repeats itself exactly, and it learns."""

import os

import numpy as np
import pytest
import torch

from l2rw_core import methods
from l2rw_core.datasets import BackgroundFlip, PairImbalance, UniformFlip, load, to_tensors
from l2rw_core.experiments import Experiment, Record, append, build_model, fit, mnist_imbalance, prepare, train

SHORT = {"data": "digits", "steps": 9, "evaluate_every": 3, "lr": 5e-3}
PAIR = Experiment(biases=(PairImbalance(4, 9, 0.9, 120),), **SHORT)
TEN_CLASSES = Experiment(biases=(UniformFlip(0.4),), clean_size=50, **SHORT)


@pytest.mark.parametrize("method", methods.METHODS)
@pytest.mark.parametrize("experiment", [PAIR, TEN_CLASSES], ids=["pair", "ten classes"])
def test_every_method_runs_on_every_kind_of_data(method, experiment):
    record = fit(experiment.with_(method=method, optimizer="adamw" if method == "adam_ahead" else "sgd"))
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


class Half(methods.Method):
    """A rule of one's own: half the usual step."""

    def weights(self, losses, batch, step):
        return super().weights(losses, batch, step) / 2


class Plain(methods.Method):
    """Plain training under another name."""


def test_a_class_is_trained_as_a_method_with_a_name_is_and_the_registry_stays_what_it_was():
    known = dict(methods.METHODS)
    assert outcome(fit(PAIR.with_(method=Plain))) == outcome(fit(PAIR.with_(method="baseline")))
    half = fit(PAIR.with_(method=Half, lr=PAIR.lr * 2))
    assert half.curve.accuracy == fit(PAIR.with_(method="baseline")).curve.accuracy
    assert known == methods.METHODS


def test_a_class_has_no_place_on_record(tmp_path):
    record = fit(PAIR.with_(method=Half))
    assert record.experiment.method_name == "Half"
    with pytest.raises(ValueError, match="Half is a class of your own"):
        append(record, tmp_path)
    assert list(tmp_path.iterdir()) == []


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


RESIDUAL = TEN_CLASSES.with_(model="resnet14", method="baseline", steps=6, evaluate_every=3, lr=0.05)


class Statistics:
    """Looks at the running statistics and at the parameters after each evaluation of a run."""

    def __init__(self, monkeypatch):
        self.running, self.parameters = [], []
        predict = train._Run._predict

        def watched(run, x, **options):
            answer = predict(run, x, **options)
            self.running.append(run.model.norm.running_var.clone())
            self.parameters.append(run.model.stem.weight.detach().clone())
            return answer

        monkeypatch.setattr(train._Run, "_predict", watched)


def test_re_estimated_statistics_change_the_evaluation_and_nothing_of_training(monkeypatch):
    """With a decay of .999 six steps leave running statistics almost at their start."""
    looks = Statistics(monkeypatch)
    lagging = fit(RESIDUAL)
    count = len(looks.running)
    settled = fit(RESIDUAL.with_(statistics_batches=4))
    for one, other in ((looks.running, "running"), (looks.parameters, "parameters")):
        assert all(map(torch.equal, one[:count], one[count:])), other
    assert settled.curve.accuracy != lagging.curve.accuracy
    assert settled.last > lagging.last


def test_re_estimated_statistics_are_those_of_training_images(monkeypatch):
    """One batch of all images: what the network normalises by is the mean over the training set itself."""
    experiment = RESIDUAL.with_(statistics_batches=1, batch_size=5_000, steps=1)
    seen = []
    forward = torch.nn.functional.batch_norm

    def watched(x, mean, var, *rest):
        if x.shape[1] == 8 and not rest[2] and x.shape[0] <= 500:
            seen.append(mean.clone())
        return forward(x, mean, var, *rest)

    monkeypatch.setattr("torch.nn.functional.batch_norm", watched)
    fit(experiment)
    split = prepare(experiment)
    torch.manual_seed(experiment.seed)
    model = build_model(experiment, split)
    x, _ = to_tensors(split.train)
    with torch.no_grad():
        expected = model.stem(x).mean((0, 2, 3))
    assert torch.allclose(seen[0], expected, atol=1e-5)


@pytest.mark.parametrize("method", ["baseline", "l2rw"])
def test_bfloat16_trains_as_float32_does_to_its_own_precision(method):
    experiment = RESIDUAL.with_(method=method, steps=20, evaluate_every=20, statistics_batches=4)
    full, half = fit(experiment), fit(experiment.with_(precision="bfloat16"))
    assert half.curve.accuracy != full.curve.accuracy
    assert half.last == pytest.approx(full.last, abs=0.1)
    assert half.experiment.key != full.experiment.key
    assert Record.from_json(half.to_json()).experiment.precision == "bfloat16"


def test_bfloat16_on_a_processor_without_it_says_once_that_it_is_slow(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": False})
    train._warn_where_bfloat16_is_slow.cache_clear()
    experiment = PAIR.with_(steps=1, precision="bfloat16")
    with pytest.warns(RuntimeWarning, match="this processor has no bfloat16 arithmetic"):
        fit(experiment)
    fit(experiment)  # a second warning would be an error
    train._warn_where_bfloat16_is_slow.cache_clear()


def test_held_out_images_are_weighed_before_the_drop_at_half_of_the_steps():
    """Wrong labels of images that the model has never seen get less weight than right ones."""
    experiment = TEN_CLASSES.with_(
        biases=(BackgroundFlip(0.4, 3),), hold_out=600, steps=200, lr=2e-2, batch_size=50, evaluate_every=100
    )
    weighed = fit(experiment).held_out_weights
    assert weighed["step"] == 100
    split = prepare(experiment)
    wrong = int(split.held_out.flipped.sum())
    counts = {kind: sum(weighed["random"][kind]) for kind in ("right", "wrong")}
    assert counts == {"right": 600 - wrong, "wrong": wrong}
    true = split.held_out.y_true
    batches = sum((true == c).sum() // 50 for c in range(10) if c != 3)
    assert {kind: sum(n) for kind, n in weighed["one_class"].items()} == {"right": 30 * batches, "wrong": 20 * batches}
    for part in ("random", "one_class"):
        zero = {kind: weighed[part][kind][0] / sum(weighed[part][kind]) for kind in ("right", "wrong")}
        assert zero["wrong"] > zero["right"] + 0.2, part
    assert fit(experiment.with_(method="baseline", steps=4)).held_out_weights is None


def test_weighing_held_out_images_changes_nothing_of_training():
    experiment = TEN_CLASSES.with_(hold_out=200, biases=(BackgroundFlip(0.4, 3),), batch_size=50, model="resnet14")
    record = fit(experiment)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(train._Run, "_weigh_held_out", lambda run: None)
        plain = fit(experiment)
    assert record.held_out_weights
    assert plain.held_out_weights is None
    assert record.curve == plain.curve
