"""What looks wrong is said once, and training goes on as if nobody had looked."""

import copy
import logging

import pytest
import torch
from torch import nn

from l2rw_core import Reweighter
from l2rw_core.health import LOOK_EVERY, Health
from l2rw_core.weights import Step

LOSS = nn.CrossEntropyLoss(reduction="none")


def a_step(weights=(0.25,) * 4 + (0.0,), clean_loss=1.0):
    w = torch.tensor(weights)
    return Step(torch.tensor(1.0), w, w, torch.ones(len(w)), torch.tensor(clean_loss))


def watched(caplog, steps, targets=None, clean_targets=None, training=True):
    health = Health()
    with caplog.at_level(logging.WARNING, "l2rw_core"):
        for step in steps:
            health.on_step(step, targets, clean_targets, training)
    return [record.getMessage() for record in caplog.records]


def test_nothing_is_said_of_a_good_training(caplog):
    y = torch.tensor([0, 1, 2, 0, 1])
    losses = torch.linspace(2, 0.1, 3 * LOOK_EVERY).tolist()
    assert watched(caplog, [a_step(clean_loss=f) for f in losses], y, y) == []


def test_batches_without_weight_in_a_row(caplog):
    idle = [a_step((0.0,) * 5)] * 25
    (said,) = watched(caplog, [*[a_step()] * 75, *idle, *[a_step()] * 75, *idle])
    assert "step 100: 25 batches in a row had no weight at all" in said
    assert "coded differently" in said


def test_single_batches_without_weight_are_no_news(caplog):
    assert watched(caplog, [a_step(), a_step((0.0,) * 5)] * LOOK_EVERY) == []


def test_one_example_with_all_the_weight(caplog):
    (said,) = watched(caplog, [a_step((0.95, 0.05, 0.0, 0.0, 0.0))] * (3 * LOOK_EVERY))
    assert "one example had over 90% of the weight" in said
    caplog.clear()
    assert watched(caplog, [a_step((1.0,))] * LOOK_EVERY) == [], "a batch of one"


def test_a_rising_clean_loss(caplog):
    losses = [2.0] * LOOK_EVERY + [1.0] * LOOK_EVERY + [3.0] * (2 * LOOK_EVERY)
    (said,) = watched(caplog, [a_step(clean_loss=f) for f in losses])
    assert "step 300: the clean loss has risen from 1 to 3" in said
    caplog.clear()
    fitted = [2.0] * LOOK_EVERY + [1e-4] * LOOK_EVERY + [1e-2] * LOOK_EVERY
    assert watched(caplog, [a_step(clean_loss=f) for f in fitted]) == [], "noise about zero"


@pytest.mark.parametrize("kind", [torch.int64, torch.float32])
def test_a_class_without_clean_examples(caplog, kind):
    y = torch.tensor([0, 1, 1, 0, 1]).to(kind)
    (said,) = watched(caplog, [a_step()] * (2 * LOOK_EVERY), y, torch.zeros(3).to(kind))
    assert "no clean batch of 100 steps had an example of class 1: " in said


def test_measurements_are_no_classes(caplog):
    assert watched(caplog, [a_step()] * LOOK_EVERY, torch.rand(5), torch.rand(3)) == []


def test_eval_mode_is_allowed_and_said(caplog):
    (said,) = watched(caplog, [a_step()] * 3, training=False)
    assert "step 1: the model is in eval mode" in said


def test_a_model_that_does_not_look_at_its_inputs(caplog):
    """Below a layer whose units are all dead, only the output's bias is left, and examples of a label are alike."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    x, y = torch.rand(12, 4), torch.arange(12) % 3
    for dies in (False, True):
        if dies:
            nn.init.constant_(model[0].bias, -100)
        reweighter = Reweighter(model, torch.optim.SGD(model.parameters(), 0.001), LOSS)
        with caplog.at_level(logging.WARNING, "l2rw_core"):
            for _ in range(2 * LOOK_EVERY):
                step = reweighter.step((x, y), (x, (y + 1) % 3))
        assert bool(caplog.records) == dies
    (record,) = caplog.records
    assert "step 100: in a batch of 12 all examples of a label have the same loss" in record.getMessage()
    assert len(step.alignment.unique()) <= 3, "weights go by label"


@pytest.mark.parametrize("losses", [torch.ones(12), torch.zeros(12), torch.linspace(1, 1.01, 12)])
@pytest.mark.parametrize("kind", ["classes", "measurements", "all different", "none"])
def test_equal_losses_mean_something_only_within_a_class(caplog, losses, kind):
    y = {
        "classes": torch.arange(12) % 2,
        "measurements": torch.rand(12),
        "all different": torch.arange(12),
        "none": None,
    }
    step = a_step()
    step = Step(step.loss, step.weights, step.alignment, losses, step.clean_loss)
    said = watched(caplog, [step] * LOOK_EVERY, y[kind], y[kind])
    assert len(said) == (kind == "classes" and torch.equal(losses, torch.ones(12)))


def trained(health):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))
    reweighter = Reweighter(model, torch.optim.SGD(model.parameters(), 0.1, momentum=0.9), LOSS)
    reweighter.health = health
    x, y = torch.rand(60, 4), torch.randint(3, (60,))
    for k in range(LOOK_EVERY + 1):
        chosen = torch.arange(6) + k % 50
        reweighter.step((x[chosen], y[chosen]), (x[:5], torch.zeros(5, dtype=torch.int64)))
    return copy.deepcopy(model.state_dict())


def test_a_reweighter_is_watched_and_trains_the_same_numbers(caplog):
    with caplog.at_level(logging.WARNING, "l2rw_core"):
        seen, unseen = trained(Health()), trained(None)
    assert all(torch.equal(seen[name], unseen[name]) for name in seen)
    assert [record.name for record in caplog.records] == ["l2rw_core"]
    assert "class 1, 2" in caplog.records[0].getMessage()


def test_a_model_in_eval_mode_keeps_its_statistics():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)).eval()
    before = copy.deepcopy(model.state_dict())
    reweighter = Reweighter(model, torch.optim.SGD(model.parameters(), 0.1), LOSS)
    x, y = torch.rand(7, 4), torch.arange(7) % 3
    step = reweighter.step((x, y), (x, y))
    assert step.weights.any()
    assert not model.training
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {name for name, _ in model.named_parameters()}
