"""How well scores find wrong labels: measured rightly, from a run that does not notice being watched."""

import sys
from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from l2rw_core.datasets import BackgroundFlip, Examples, UniformFlip, load
from l2rw_core.experiments import LabelWatch, detect, detection, fit, grid, load_records, prepare, run_all
from l2rw_core.experiments.detection import (
    auc,
    auc_within,
    judge,
    label_alone,
    label_quality,
    margins,
    wrong_among_first,
)
from l2rw_core.running.checkpoints import write_checkpoint

BY_CLEAN = ("weight", "weight_recent", "helpful", "alignment", "suspects", "influence")
"""Scores that a run without a clean set does not have."""
BY_TRAINING = ("loss", "loss_mean", "loss_recent", "margin", "confident")
"""Scores that any run on the noisy labels has."""
BY_OTHERS = ("held_out", "held_out_conf")
"""Scores by models that did not train on the label."""
DIGITS = load("digits")
CELLS = {(c.row, c.place["flip"]): c for c in grid("detection", "quick").cells}
SHORT = CELLS["l2rw", "background"].trial(0).with_(steps=40, evaluate_every=20)


def examples(given_labels, true_labels):
    y, true = np.asarray(given_labels), np.asarray(true_labels)
    return Examples(np.zeros((len(y), 2, 2, 1), np.uint8), y, true, np.arange(len(y)))


@st.composite
def scored(draw):
    n = draw(st.integers(4, 40))
    scores = draw(hnp.arrays(float, n, elements=st.integers(-3, 3).map(float)))
    wrong = draw(hnp.arrays(bool, n))
    labels = draw(hnp.arrays(int, n, elements=st.integers(0, 2)))
    wrong[:2], labels[:2] = (True, False), 0
    return scores, wrong, labels


@given(scored())
@settings(max_examples=60, deadline=None)
def test_areas_are_shares_of_pairs_in_the_right_order(case):
    """Of a wrong and a right label the wrong one should have the lower score; ties count half."""
    scores, wrong, labels = case
    pairs = [(i, j) for i in np.flatnonzero(wrong) for j in np.flatnonzero(~wrong)]
    won = {(i, j): float(scores[i] < scores[j]) + 0.5 * float(scores[i] == scores[j]) for i, j in pairs}
    assert auc(scores, wrong) == pytest.approx(np.mean(list(won.values())))
    same = [won[i, j] for i, j in pairs if labels[i] == labels[j]]
    assert auc_within(scores, wrong, labels) == pytest.approx(np.mean(same))


def test_a_score_that_knows_the_class_alone_has_half_of_the_pairs_within_classes():
    labels, wrong = np.array([0, 0, 0, 1, 1, 1]), np.array([True, True, False, True, False, False])
    by_class = np.array([0.0, 0, 0, 1, 1, 1])
    assert auc(by_class, wrong) == pytest.approx(6 / 9)
    assert auc_within(by_class, wrong, labels) == 0.5


def test_the_given_label_alone_can_tell_much():
    """Three of the labels 1 are wrong and one is right; the three labels 0 are right."""
    assert label_alone(examples([1, 1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 0, 0, 0])) == pytest.approx((3 * 3 + 3 * 0.5) / 12)


def test_the_most_suspect_tenth():
    wrong = np.zeros(100, bool)
    wrong[:10] = True
    scores = np.arange(100.0)
    assert wrong_among_first(scores, wrong) == 1
    assert wrong_among_first(scores, wrong, share=0.4) == 0.25
    assert wrong_among_first(-scores, wrong) == 0


@pytest.mark.parametrize("wrong", [np.zeros(5, bool), np.ones(5, bool)])
def test_labels_of_one_kind_have_no_area(wrong):
    with pytest.raises(ValueError, match="both kinds, right and wrong"):
        auc(np.arange(5.0), wrong)
    with pytest.raises(ValueError, match="no given class has labels of both kinds"):
        auc_within(np.arange(5.0), wrong, np.zeros(5, int))


def test_margins_of_log_probabilities_are_those_of_logits():
    logits = 5 * torch.randn(20, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(20) % 7
    by_hand = [z[y] - max(v for k, v in enumerate(z) if k != y) for z, y in zip(logits, labels, strict=True)]
    torch.testing.assert_close(margins(logits, labels), torch.stack(by_hand))
    torch.testing.assert_close(margins(logits.log_softmax(1), labels), torch.stack(by_hand))


def test_label_quality_is_the_probability_of_the_given_label_beside_its_class():
    rng = np.random.default_rng(0)
    p, y = rng.dirichlet(np.ones(4), 200), rng.integers(0, 4, 200)
    mine = p[np.arange(200), y]
    np.testing.assert_allclose(label_quality(y, p), mine)
    usual = np.array([mine[y == k].mean() for k in range(4)])
    adjusted = label_quality(y, p, adjusted=True)
    np.testing.assert_array_equal(np.argsort(adjusted[y == 2]), np.argsort(mine[y == 2]))
    assert np.corrcoef(adjusted, mine - usual[y])[0, 1] > 0.999


class Notebook(LabelWatch):
    """Keeps every step and every look, to add them up in another way."""

    def __init__(self, labels):
        super().__init__(labels)
        self.steps, self.seen_log_p = [], []

    def on_step(self, positions, update):
        super().on_step(positions, update)
        self.steps.append((positions.clone(), update))

    def on_evaluation(self, log_p):
        super().on_evaluation(log_p)
        self.seen_log_p.append(log_p.double())


def test_watching_changes_nothing_and_scores_are_what_they_are_called():
    train = prepare(SHORT, DIGITS).train
    watch = Notebook(train.y)
    seen = fit(SHORT, DIGITS, progress=False, watch=watch)
    plain = fit(SHORT, DIGITS, progress=False)
    assert asdict(seen.curve) == asdict(plain.curve)
    assert seen.confusion == plain.confusion

    scores = watch.scores()
    assert len(watch.steps) == SHORT.steps
    assert len(watch.seen_log_p) == SHORT.steps // SHORT.evaluate_every
    y = torch.from_numpy(train.y)
    for name, of_step in {
        "weight": lambda u: len(u.weights) * u.weights,
        "influence": lambda u: u.alignment,
        "helpful": lambda u: (u.alignment > 0).double(),
        "loss_mean": lambda u: -u.losses,
    }.items():
        total, visits = torch.zeros(len(y), dtype=torch.float64), torch.zeros(len(y))
        for positions, update in watch.steps:
            for position, value in zip(positions, of_step(update), strict=True):
                total[position] += float(value)
                visits[position] += 1
        np.testing.assert_allclose(scores[name], (total / visits).numpy(), rtol=1e-6, atol=1e-12, err_msg=name)
    np.testing.assert_allclose(scores["loss"], watch.seen_log_p[-1][torch.arange(len(y)), y].numpy())
    np.testing.assert_allclose(scores["margin"], sum(margins(p, y) for p in watch.seen_log_p).numpy() / 2)


def test_beside_its_class_a_label_keeps_its_rank_among_those_of_its_class():
    train = prepare(SHORT, DIGITS).train
    watch = LabelWatch(train.y)
    fit(SHORT, DIGITS, progress=False, watch=watch)
    scores = watch.scores()
    within = judge(scores, train)["within"]
    assert within["suspects"] == pytest.approx(within["alignment"], abs=1e-4)
    assert not np.array_equal(np.argsort(scores["suspects"]), np.argsort(scores["alignment"]))


def test_a_watch_without_a_look_has_no_scores():
    with pytest.raises(ValueError, match="not evaluated yet"):
        LabelWatch(np.zeros(3, int)).scores()


class Interrupted(Exception):
    pass


def test_an_interrupted_run_has_the_same_scores(tmp_path, monkeypatch):
    expected = detect(SHORT, DIGITS, progress=False)
    assert expected.detection["suspects"]
    path, writes = tmp_path / "run.pt", []

    def stop_halfway(state, at):
        write_checkpoint(state, at)
        writes.append(at)
        if len(writes) == 25:
            raise Interrupted

    monkeypatch.setattr("l2rw_core.experiments.train.write_checkpoint", stop_halfway)
    monkeypatch.setattr("l2rw_core.experiments.train.time.monotonic", iter(range(0, 10**7, 100)).__next__)
    with pytest.raises(Interrupted):
        detect(SHORT, DIGITS, progress=False, checkpoint=path)
    assert path.exists()
    resumed = detect(SHORT, DIGITS, progress=False, checkpoint=path)
    assert resumed.detection == expected.detection
    assert path.exists()  # whoever puts the record on disk deletes it


def test_held_out_scores_come_from_models_that_did_not_train_on_the_label(monkeypatch):
    experiment = CELLS["baseline+held-out", "uniform"].trial(0).with_(steps=6, evaluate_every=6)
    split, folds = prepare(experiment, DIGITS), []
    really = detection.predict_after

    def spied(e, fold, left_out, device):
        folds.append((set(fold.train.index), set(left_out.index), e.steps))
        return really(e, fold, left_out, device)

    monkeypatch.setattr(detection, "predict_after", spied)
    found = detect(experiment, DIGITS, progress=False)
    assert set(found.detection["auc"]) == set(BY_OTHERS)
    assert len(folds) == detection.FOLDS
    assert all(not trained & left_out for trained, left_out, _ in folds)
    assert sorted(i for _, left_out, _ in folds for i in left_out) == sorted(split.train.index)
    assert {steps for *_, steps in folds} == {4}  # as many passes over two thirds of the data


@pytest.mark.parametrize(("row", "names"), [("l2rw", BY_CLEAN + BY_TRAINING), ("baseline", BY_TRAINING)])
def test_a_record_says_how_every_score_ranks(row, names, tmp_path):
    experiment = CELLS[row, "uniform"].trial(0).with_(steps=30, evaluate_every=15)
    assert run_all([experiment], folder=tmp_path, jobs=1, progress=False) == []
    (record,) = load_records("detection", tmp_path)
    assert record.experiment == experiment
    for measure in detection.MEASURES:
        assert set(record.detection[measure]) == set(names)
    assert ("suspects" in record.detection) == (row == "l2rw")


def test_suspects_on_record_carry_the_truth():
    found = detect(SHORT, DIGITS, progress=False).detection["suspects"]
    train = prepare(SHORT, DIGITS).train
    at = {int(i): k for k, i in enumerate(train.index)}
    assert len(found) == detection._SUSPECTS_KEPT
    for position, label, true, _ in found:
        assert train.y[at[position]] == label
        assert DIGITS.y_train[position] == train.y_true[at[position]] == true
    assert [row[3] for row in found] == sorted(row[3] for row in found)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label_scores": ""}, "does not ask for label_scores"),
        ({"biases": (UniformFlip(0.0),)}, "both kinds, right and wrong"),
        ({"biases": (UniformFlip(1.0),)}, "both kinds, right and wrong"),
        ({"method": "smote"}, "'smote' adds examples of its own"),
    ],
)
def test_what_cannot_be_judged_is_refused_before_training(changes, message, monkeypatch):
    monkeypatch.setattr(detection, "fit", None)
    with pytest.raises(ValueError, match=message):
        detect(SHORT.with_(**changes), DIGITS, progress=False)


def test_without_cleanlab_nothing_is_trained(monkeypatch):
    monkeypatch.setitem(sys.modules, "cleanlab", None)
    monkeypatch.setattr(detection, "fit", None)
    with pytest.raises(ValueError, match=r"l2rw-core\[cleanlab\]"):
        detect(SHORT, DIGITS, progress=False)


def test_a_background_flip_hides_from_plain_losses_and_not_from_alignments():
    """The wrong labels all say the same, so plain training believes them: its losses rank worse than by chance."""
    found = {}
    for row in ("l2rw", "baseline"):
        experiment = CELLS[row, "background"].trial(0)
        assert isinstance(experiment.biases[-1], BackgroundFlip)
        found[row] = detect(experiment, DIGITS, progress=False).detection
    assert found["l2rw"]["auc"]["alignment"] > 0.95
    assert found["baseline"]["auc"]["loss_mean"] < 0.5
    assert found["baseline"]["within"]["loss_mean"] > 0.9
