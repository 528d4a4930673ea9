"""The engine that is chosen where "auto" is asked for, and the clean gradient that serves several steps."""

import copy
import logging
import re
import warnings

import pytest
import torch
from architectures import ARCHITECTURES, make_case
from torch import nn

from l2rw_core import Reweighter, alignment, scoring
from l2rw_core.engines import difference
from l2rw_core.models import LeNet
from l2rw_core.scoring import ENGINES, clean_gradient, score

INTERACT = {"resnet32", "gru", "lstm"}
"""Architectures whose examples interact, or whose layers keep nothing of what enters them."""


def reweighter(case, engine="auto", **options):
    return Reweighter(case.model, torch.optim.SGD(case.model.parameters(), 0.05), case.loss_fn, engine, **options)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_ghost_is_chosen_where_it_is_right_and_forward_elsewhere_without_a_word(name):
    case, other = make_case(name), make_case(name)
    r = reweighter(case)
    assert r.engine == "auto"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.manual_seed(3)
        step = r.step(case.batch, case.clean)
    assert step.engine == r.engine == ("forward" if name in INTERACT else "ghost")
    torch.manual_seed(3)
    expected = reweighter(other, "reverse").step(other.batch, other.clean)
    torch.testing.assert_close(step.weights, expected.weights, rtol=1e-9, atol=1e-12)
    for p, q in zip(case.model.parameters(), other.model.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-9, atol=1e-12)


def normalised():
    case = make_case("mlp")
    torch.manual_seed(0)
    width = case.batch[0].shape[1]
    case.model = nn.Sequential(nn.Linear(width, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)).double()
    return case


def test_the_choice_is_made_anew_when_the_mode_changes(caplog):
    case = normalised()
    r = reweighter(case)
    with caplog.at_level(logging.INFO, "l2rw_core"):
        chosen = [r.step(case.batch, case.clean).engine]
        case.model.eval()
        chosen += [r.step(case.batch, case.clean).engine for _ in range(2)]
        case.model.train()
        chosen.append(r.step(case.batch, case.clean).engine)
    assert chosen == ["forward", "ghost", "ghost", "forward"]
    said = [m for m in caplog.messages if m.endswith("computes the weights")]
    assert said == [f"engine '{engine}' computes the weights" for engine in ("forward", "ghost", "forward")]


def centred(module, inputs, output):
    return output - output.mean(0)


def test_a_hook_that_lets_examples_interact_is_seen_at_the_step_after_it_came():
    case = make_case("mlp")
    r = reweighter(case)
    assert r.step(case.batch, case.clean).engine == "ghost"
    next(iter(case.model.children())).register_forward_hook(centred)
    other = copy.deepcopy(case.model)
    step = r.step(case.batch, case.clean)
    assert step.engine == "forward"
    _, u = alignment(other, case.loss_fn, case.batch, case.clean, "loop")
    torch.testing.assert_close(step.alignment, u, rtol=1e-9, atol=1e-12)


def test_a_hook_on_a_gradient_is_seen_too():
    case = make_case("mlp")
    r = reweighter(case)
    r.step(case.batch, case.clean)
    next(case.model.parameters()).register_hook(lambda g: 2 * g)
    with pytest.warns(RuntimeWarning, match="a hook on the parameter"):
        step = r.step(case.batch, case.clean)
    assert step.engine not in ("ghost", "forward")


class Sometimes(nn.Module):
    """A loss whose examples interact where the first label is 2."""

    def forward(self, outputs, targets):
        losses = nn.functional.cross_entropy(outputs, targets, reduction="none")
        return losses if targets[0] != 2 else losses * losses.mean()


def test_the_default_sees_examples_that_begin_to_interact_for_some_data():
    case, other = make_case("mlp"), make_case("mlp")
    case.loss_fn = Sometimes()
    inputs, labels = case.batch
    apart, together = labels.clone(), labels.clone()
    apart[0], together[0] = 0, 2
    r = Reweighter(case.model, torch.optim.SGD(case.model.parameters(), 0.05), case.loss_fn)
    r.step((inputs, apart), case.clean)
    other.model.load_state_dict(case.model.state_dict())
    step = r.step((inputs, together), case.clean)
    _, u = alignment(other.model, Sometimes(), (inputs, together), case.clean, "loop")
    torch.testing.assert_close(step.alignment, u, rtol=1e-9, atol=1e-12)


def test_an_engine_that_is_asked_for_later_stays():
    case = make_case("mlp")
    r = reweighter(case)
    r.step(case.batch, case.clean)
    r.engine = "reverse"
    case.model.eval()
    assert [r.step(case.batch, case.clean).engine for _ in range(2)] == ["reverse", "reverse"]
    with pytest.raises(ValueError, match="unknown engine 'fast'; choose one of 'auto', 'forward'"):
        r.engine = "fast"
    assert r.engine == "reverse"


def test_memory_that_is_short_for_ghost_is_enough_for_forward(monkeypatch):
    def exhausted(*args):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setitem(ENGINES, "ghost", ENGINES["ghost"]._replace(run=exhausted))
    case = make_case("mlp")
    assert reweighter(case).step(case.batch, case.clean).engine == "forward"
    with pytest.raises(torch.OutOfMemoryError):
        reweighter(case, "ghost").step(case.batch, case.clean)


def test_every_engine_ends_at_the_last_resort_and_has_its_row_in_the_table():
    for name in ENGINES:
        assert re.search(rf"^{name} ", scoring.__doc__, re.MULTILINE), name
        seen = [name]
        while ENGINES[seen[-1]].then is not None:
            seen.append(ENGINES[seen[-1]].then)
            assert len(set(seen)) == len(seen)
        assert seen[-1] == "loop"


def central(passes, batch, v):
    """Slopes of somebody's own engine: losses on both sides of the parameters."""
    size, sides = 0.05 / float(torch.stack([part.square().sum() for part in v.values()]).sum().sqrt()), []
    for h in (size, -size):
        with difference.moved(passes.parameters, v, h):
            sides.append(passes.training(passes.parameters, batch, attached=False)[0].detach())
        passes.put_buffers_back()
    losses, buffers = passes.training(passes.parameters, batch)
    return losses, (sides[0] - sides[1]) / (2 * size), buffers


@pytest.mark.parametrize(("off_by", "used"), [(0.05, "central"), (0.0, "forward")])
def test_one_line_is_enough_for_an_engine_of_ones_own_with_its_successor(monkeypatch, off_by, used):
    run = scoring.along_the_clean_gradient("central", central)
    monkeypatch.setitem(ENGINES, "central", scoring.Engine(run, "forward", off_by))
    case = make_case("mlp")
    with warnings.catch_warnings():
        warnings.simplefilter("error" if off_by else "ignore")
        found = score(case.model, case.loss_fn, case.batch, case.clean, "central")
    assert found.engine == used
    expected = score(case.model, case.loss_fn, case.batch, case.clean, "forward")
    torch.testing.assert_close(found.alignment, expected.alignment, rtol=0.05, atol=1e-3)


def test_what_takes_over_from_an_approximation_is_exact_and_is_not_called_the_same():
    case = make_case("mlp")
    model = case.model.bfloat16()
    batch, clean = ((x.bfloat16(), y) for x, y in (case.batch, case.clean))
    with pytest.warns(RuntimeWarning, match="Its slopes are exact") as caught:
        assert score(model, case.loss_fn, batch, clean, "difference").engine == "forward"
    assert "same numbers" not in str(caught[0].message)


def test_half_precision_is_not_left_to_ghost():
    torch.manual_seed(0)
    model, loss_fn = LeNet(10), nn.CrossEntropyLoss(reduction="none")
    draw = lambda n: (torch.rand(n, 1, 28, 28), torch.randint(10, (n,)))  # noqa: E731
    with torch.autocast("cpu", dtype=torch.float16):
        assert score(model, loss_fn, draw(8), draw(8), "auto").engine == "forward"
    assert score(model, loss_fn, draw(8), draw(8), "auto").engine == "ghost"


def test_losses_of_ghost_that_are_differentiated_twice_say_what_to_ask_for():
    case = make_case("mlp")
    losses, _ = alignment(case.model, case.loss_fn, case.batch, case.clean, "auto")
    with pytest.raises(RuntimeError, match='ask for engine="forward"'):
        torch.autograd.grad(losses.sum(), list(case.model.parameters()), create_graph=True)
    losses, _ = alignment(case.model, case.loss_fn, case.batch, case.clean, "forward")
    first = torch.autograd.grad(losses.sum(), list(case.model.parameters()), create_graph=True)
    assert sum(g.square().sum() for g in first).requires_grad


# The clean gradient of an earlier step ----------------------------------------------------------------------------


def other_clean(case):
    inputs, labels = case.clean
    return inputs.flip(0) + 1, labels


def test_a_clean_gradient_serves_as_many_steps_as_said():
    case = make_case("mlp")
    r = reweighter(case, every=3)
    for k in range(6):
        if k % 3 == 0:
            v = clean_gradient(case.model, case.loss_fn, case.clean)
        expected = score(case.model, case.loss_fn, case.batch, v, "loop")
        step = r.step(case.batch, case.clean if k % 3 == 0 else other_clean(case))
        torch.testing.assert_close(step.alignment, expected.alignment, rtol=1e-9, atol=1e-12)


def test_it_is_made_anew_when_what_is_trained_changes():
    case = make_case("mlp")
    r = reweighter(case, every=5)
    r.step(case.batch, case.clean)
    next(case.model.parameters()).requires_grad_(False)
    expected = score(case.model, case.loss_fn, case.batch, case.clean, "loop")
    step = r.step(case.batch, case.clean)
    torch.testing.assert_close(step.alignment, expected.alignment, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("every", [0, -1, 1.5])
def test_a_number_of_steps_that_is_none_is_refused(every):
    with pytest.raises(ValueError, match="every must be a whole number of steps, at least 1"):
        reweighter(make_case("mlp"), every=every)
    with pytest.raises(ValueError, match="leave every at 1"):
        reweighter(make_case("mlp"), "lookahead", every=2)
