"""The approximate engine: near, for whatever runs, and as if nothing had been moved."""

import copy
import warnings

import pytest
import torch
from architectures import ARCHITECTURES, make_case
from torch import nn

from l2rw_core import Reweighter
from l2rw_core.models import LeNet
from l2rw_core.scoring import score


def scored(case, engine, **options):
    torch.manual_seed(5)
    return score(case.model, case.loss_fn, case.batch, case.clean, engine, **options)


def assert_near(found, expected, rtol):
    off = (found.alignment - expected.alignment).norm() / expected.alignment.norm()
    assert off < rtol, f"{float(off):.1e}"


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_it_is_near_the_exact_alignments(name):
    case = make_case(name)
    found, expected = scored(case, "difference"), scored(case, "forward")
    assert found.engine == "difference"
    torch.testing.assert_close(found.losses, expected.losses, rtol=1e-12, atol=0)
    assert_near(found, expected, 1e-5)
    for name, buffer in expected.buffers.items():
        torch.testing.assert_close(found.buffers[name], buffer)


@pytest.mark.parametrize("name", ["mlp", "resnet32", "attention"])
def test_parameters_and_buffers_are_left_bit_identical(name):
    case = make_case(name)
    before = copy.deepcopy(case.model.state_dict())
    scored(case, "difference")
    for key, value in case.model.state_dict().items():
        assert torch.equal(value, before[key])


def test_the_parameters_are_put_back_where_the_pass_fails():
    case = make_case("mlp")
    before = copy.deepcopy(case.model.state_dict())
    calls = []

    def loss_fn(outputs, targets):
        calls.append(None)
        if len(calls) > 1:  # the clean pass was the first
            raise KeyError("lost")
        return nn.functional.cross_entropy(outputs, targets, reduction="none")

    with pytest.raises(ValueError, match="lost"):
        score(case.model, loss_fn, case.batch, case.clean, "difference", check=False)
    for key, value in case.model.state_dict().items():
        assert torch.equal(value, before[key])


def images(n):
    return torch.rand(n, 1, 28, 28), torch.randint(10, (n,))


@pytest.mark.parametrize("autocast", [False, True])
def test_single_precision_gives_about_three_digits_under_autocast_too(autocast):
    torch.manual_seed(0)
    model, loss_fn, batch, clean = LeNet(10), nn.CrossEntropyLoss(reduction="none"), images(40), images(20)
    expected = score(model, loss_fn, batch, clean, "forward")
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        found = score(model, loss_fn, batch, clean, "difference")
    assert found.engine == "difference"
    weights = [scores.alignment.clamp(min=0) for scores in (found, expected)]
    distance = (weights[0] / weights[0].sum() - weights[1] / weights[1].sum()).abs().sum()
    assert distance < (0.1 if autocast else 0.03)


class Doubled(torch.autograd.Function):
    """A function without a rule for forward mode."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.tanh(2 * x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * g * (1 - torch.tanh(2 * x) ** 2)


class Custom(nn.Linear):
    def forward(self, x):
        return Doubled.apply(super().forward(x))


class Penalised(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.weight = model[0].weight

    def forward(self, outputs, targets):
        return nn.functional.cross_entropy(outputs, targets, reduction="none") + self.weight.square().sum()


def own(model, loss_fn=None):
    torch.manual_seed(1)
    case = make_case("mlp")
    case.model = model(*case.batch[0].shape[1:]).double()
    case.loss_fn = loss_fn(case.model) if loss_fn else case.loss_fn
    return case


@pytest.mark.parametrize(
    "case",
    [
        own(lambda width: nn.Sequential(Custom(width, 4), nn.Linear(4, 3))),
        own(lambda width: nn.Sequential(nn.Linear(width, 4), nn.Linear(4, 3)), Penalised),
    ],
    ids=["a custom function", "a penalty in the loss"],
)
def test_it_sees_what_other_engines_do_not(case):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = scored(case, "difference")
    assert_near(found, scored(case, "loop"), 1e-5)


def test_parameters_of_few_digits_are_left_to_the_exact_engine():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3)).bfloat16()
    draw = lambda n: (torch.randn(n, 4).bfloat16(), torch.randint(3, (n,)))  # noqa: E731
    with pytest.warns(RuntimeWarning, match='fewer digits than float32.*; engine "forward" is used'):
        scores = score(model, nn.CrossEntropyLoss(reduction="none"), draw(7), draw(5), "difference")
    assert scores.engine == "forward"


def test_steps_train_and_are_checked():
    case = make_case("mlp")
    reweighter = Reweighter(case.model, torch.optim.SGD(case.model.parameters(), 0.1), case.loss_fn, "difference")
    steps = [reweighter.step(case.batch, case.clean) for _ in range(3)]
    assert {step.engine for step in steps} == {"difference"}
    assert steps[-1].clean_loss < steps[0].clean_loss


def test_a_difference_that_is_far_off_is_left(monkeypatch):
    monkeypatch.setattr("l2rw_core.engines.difference.STEP", 1e8)
    case = make_case("mlp")
    with pytest.warns(RuntimeWarning, match='the slopes are off by .* engine "forward" is used instead'):
        assert scored(case, "difference").engine == "forward"
