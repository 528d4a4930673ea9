"""A step that is recorded and replayed is the step that it stands for, and looks at no value on the way."""

import pytest
import torch
from architectures import WITHOUT_RANDOMNESS, make_case
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from l2rw_core import Reweighter
from l2rw_core.health import LOOK_EVERY
from l2rw_core.loops.capture import CapturedStep, steady_step
from l2rw_core.scoring import ENGINES

EACH = nn.CrossEntropyLoss(reduction="none")
READS = {torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default}


class Reading(Exception):
    """A value was looked at."""


class NoReading(TorchDispatchMode):
    """Where a GPU would be waited for."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in READS:
            raise Reading(func)
        return func(*args, **kwargs or {})


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3, nesterov=True)


def reweighter_of(name, engine="forward"):
    case = make_case(name)
    return case, Reweighter(case.model, sgd(case.model), case.loss_fn, engine)


def same(first, second):
    states = (first.model.state_dict(), second.model.state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize("engine", ["forward", "two_pass", "reverse", "ghost"])
@pytest.mark.parametrize("name", WITHOUT_RANDOMNESS)
def test_it_makes_the_steps_of_its_reweighter(name, engine):
    case, plain = reweighter_of(name, engine)
    _, captured = reweighter_of(name, engine)
    step = CapturedStep(captured, eager=2)
    for _ in range(5):
        expected, got = plain.step(case.batch, case.clean), step(case.batch, case.clean)
        for part in ("loss", "weights", "alignment", "losses", "clean_loss"):
            assert torch.equal(getattr(got, part), getattr(expected, part)), part
    same(plain, captured)
    assert captured.steps == 5
    assert captured.last is got


@pytest.mark.parametrize("engine", ["forward", "two_pass", "reverse", "ghost"])
@pytest.mark.parametrize("name", WITHOUT_RANDOMNESS)
def test_the_recorded_step_looks_at_no_value_and_the_usual_one_does(name, engine):
    case, r = reweighter_of(name, engine)
    r.step(case.batch, case.clean)
    with pytest.raises(Reading), NoReading():
        r.step(case.batch, case.clean)
    with NoReading():
        _, sound = steady_step(r, case.batch, case.clean)
    assert bool(sound)


def started(name="resnet32", eager=1):
    case, r = reweighter_of(name)
    step = CapturedStep(r, eager=eager)
    for _ in range(eager + 1):
        step(case.batch, case.clean)
    return case, r, step


def everything(r):
    tensors = [*r.model.state_dict().values(), *(s["momentum_buffer"] for s in r.optimizer.state.values())]
    return [t.clone() for t in tensors]


def test_a_batch_without_weight_changes_nothing():
    torch.manual_seed(0)
    model, x = nn.Linear(4, 3), torch.rand(2, 4)
    r = Reweighter(model, sgd(model), nn.CrossEntropyLoss(reduction="none"))
    right, wrong = (x, torch.tensor([0, 0])), (x, torch.tensor([1, 1]))
    step = CapturedStep(r, eager=1)
    for _ in range(2):
        step(right, right)
    before = everything(r)
    seen = step(wrong, right)
    assert (seen.alignment < 0).all()
    assert not seen.weights.any()
    assert all(torch.equal(a, b) for a, b in zip(before, everything(r), strict=True))
    step.check()


class Learned(nn.Module):
    """A loss with a parameter and a buffer of its own."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, outputs, labels):
        self.passes += 1
        return nn.functional.cross_entropy(outputs * self.scale, labels, reduction="none")


def test_a_loss_of_its_own_goes_the_way_of_the_model():
    torch.manual_seed(0)
    model, loss, x = nn.Linear(4, 3), Learned(), torch.rand(2, 4)
    optimizer = torch.optim.SGD([*model.parameters(), *loss.parameters()], 0.1, momentum=0.9)
    right, wrong = (x, torch.tensor([0, 0])), (x, torch.tensor([1, 1]))
    step = CapturedStep(Reweighter(model, optimizer, loss), eager=1)
    for _ in range(3):
        step(right, right)
    before = loss.scale.item()
    assert before != 1
    assert loss.passes == 3
    assert not step(wrong, right).weights.any()
    assert loss.scale.item() == before
    assert loss.passes == 3


def test_a_batch_that_is_not_finite_changes_nothing_and_is_reported():
    case, r, step = started()
    before = everything(r)
    broken = (case.batch[0].clone(), case.batch[1])
    broken[0][1] = torch.inf
    step(broken, case.clean)
    assert all(torch.equal(a, b) for a, b in zip(before, everything(r), strict=True))
    step(case.batch, case.clean)
    assert not torch.equal(before[0], everything(r)[0])
    with pytest.raises(ValueError, match=r"in 1 of the last 3 steps, which changed nothing: look for bad inputs"):
        step.check()
    step.check()


def test_it_looks_by_itself():
    case, _, step = started("mlp")
    broken = (torch.full_like(case.batch[0], torch.nan), case.batch[1])
    for _ in range(LOOK_EVERY - 2):  # one was made before
        step(broken, case.clean)
    with pytest.raises(ValueError, match=f"in {LOOK_EVERY - 1} of the last {LOOK_EVERY} steps"):
        step(broken, case.clean)


def test_a_smaller_batch_runs_as_ever_and_with_every_check():
    case, r, step = started()
    step((case.batch[0][:3], case.batch[1][:3]), case.clean)
    assert r.steps == 3
    with pytest.raises(ValueError, match="out of range"):
        step((case.batch[0][:3], case.batch[1][:3] + 100), case.clean)


def test_another_rate_or_mode_is_recorded_anew():
    case, r, step = started()
    first = step._replay
    step(case.batch, case.clean)
    assert step._replay is first
    r.optimizer.param_groups[0]["lr"] /= 10
    step(case.batch, case.clean)
    second = step._replay
    assert second is not first
    r.model.eval()
    step(case.batch, case.clean)
    assert step._replay is not second


def test_nothing_is_recorded_before_the_optimizer_has_its_state_and_the_warmup_is_over():
    case = make_case("mlp")
    r = Reweighter(case.model, sgd(case.model), case.loss_fn, warmup=4)
    step = CapturedStep(r, eager=1)
    for _ in range(4):
        seen = step(case.batch, case.clean, ids=range(len(case.batch[1])))
        assert len(set(seen.weights.tolist())) == 1
        assert step._replay is None
    seen = step(case.batch, case.clean, ids=range(len(case.batch[1])))
    assert step._replay is not None
    assert len(set(seen.weights.tolist())) > 1
    assert seen.ids.tolist() == list(range(len(case.batch[1])))


def test_ids_that_do_not_fit_are_refused_before_anything_changes():
    case, r, step = started("mlp")
    before = everything(r)
    with pytest.raises(ValueError, match=r"ids must have shape \(7,\)"):
        step(case.batch, case.clean, ids=range(3))
    assert all(torch.equal(a, b) for a, b in zip(before, everything(r), strict=True))


def test_what_cannot_be_recorded_is_refused():
    case, r = reweighter_of("mlp")
    with pytest.raises(ValueError, match="needs an optimizer"):
        CapturedStep(Reweighter(case.model, None, case.loss_fn))
    with pytest.raises(ValueError, match="looks at values; choose"):
        CapturedStep(Reweighter(case.model, r.optimizer, case.loss_fn, "lookahead"))
    with pytest.raises(ValueError, match="eager must be at least 1, got 0"):
        CapturedStep(r, eager=0)
    with pytest.raises(TypeError, match="must be a Reweighter, and no other kind, got SGD"):
        CapturedStep(r.optimizer)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ["mlp", "resnet32"])
def test_on_a_gpu_a_replay_is_the_step(name):
    case, plain = reweighter_of(name)
    _, captured = reweighter_of(name)
    for r in (plain, captured):
        r.model.cuda()
    batch, clean = (tuple(part.cuda() for part in b) for b in (case.batch, case.clean))
    step = CapturedStep(captured)
    for _ in range(8):
        expected, got = plain.step(batch, clean), step(batch, clean)
        torch.testing.assert_close(got.weights, expected.weights, rtol=1e-9, atol=1e-12)
    for key, value in plain.model.state_dict().items():
        torch.testing.assert_close(captured.model.state_dict()[key], value, rtol=1e-9, atol=1e-12)
    case, dropping = reweighter_of("dropout")
    dropping.model.cuda()
    batch, clean = (tuple(part.cuda() for part in b) for b in (case.batch, case.clean))
    with pytest.raises(ValueError, match="draws random numbers"):
        CapturedStep(dropping)(batch, clean)


def test_a_model_that_draws_random_numbers_is_refused_before_anything_moves():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Dropout(0.5), nn.Linear(16, 3)).double()
    batch, clean = ((torch.randn(n, 4).double(), torch.randint(3, (n,))) for n in (16, 9))
    step = CapturedStep(Reweighter(model, torch.optim.SGD(model.parameters(), 0.1), EACH), eager=1)
    before, state = [p.detach().clone() for p in model.parameters()], torch.get_rng_state()
    with pytest.raises(ValueError, match="draws random numbers"):
        step(batch, clean)
    assert all(torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True))
    assert torch.equal(state, torch.get_rng_state())


def test_a_recorded_step_whose_slopes_do_not_fit_changes_nothing_and_is_reported(monkeypatch):
    case = make_case("mlp")
    reweighter = Reweighter(case.model, torch.optim.SGD(case.model.parameters(), 0.1), case.loss_fn)
    step = CapturedStep(reweighter, eager=1)
    step(case.batch, case.clean)
    right = ENGINES["forward"]
    wrong = lambda *args: (s := right.run(*args))._replace(alignment=s.alignment + s.alignment.abs().max())  # noqa: E731
    monkeypatch.setitem(ENGINES, "forward", right._replace(run=wrong))
    before = [p.detach().clone() for p in case.model.parameters()]
    step(case.batch, case.clean)
    assert all(torch.equal(p, old) for p, old in zip(case.model.parameters(), before, strict=True))
    with pytest.raises(ValueError, match="did not fit the gradient"):
        step.check()
