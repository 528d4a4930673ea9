"""The check of every step: it sees what an engine has missed, takes it back, and does not cry wolf."""

import copy
import logging
import random
import warnings

import pytest
import torch
from architectures import ARCHITECTURES, EXACT, make_case
from torch import nn

from l2rw_core import Reweighter
from l2rw_core.engines.identity import agree, inner_product, size, uneven
from l2rw_core.models import LeNet, Mlp, resnet32
from l2rw_core.scoring import ENGINES, Scoring, score

EACH = nn.CrossEntropyLoss(reduction="none")


@pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")
def test_the_inner_product_is_real_and_knows_sparse_and_half_precision():
    g = {"a": torch.tensor([1.0 + 2j, 0]), "b": torch.tensor([[0.0, 2.0], [3.0, 0.0]]), "c": torch.ones(2).half()}
    v = {
        "a": torch.tensor([3.0 - 1j, 5]),
        "b": torch.tensor([[7.0, 1.0], [1.0, 7.0]]),
        "c": torch.full((2,), 3e4).half(),
    }
    sparse = g | {"b": torch.sparse_coo_tensor([[0, 1]], g["b"], check_invariants=True)}
    for gradient in (g, sparse):
        assert inner_product(gradient, v) == (3 - 2) + (2 + 3) + 6e4
    assert size(g, v) >= inner_product(g, v)
    assert inner_product({}, v) == 0


def test_random_weights_are_positive_uneven_and_nobodys():
    before = torch.get_rng_state()
    r = uneven(50, 3)
    assert r.min() > 0.4
    assert len(set(r.tolist())) == 50
    assert torch.equal(r, uneven(50, 3))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_never_agree(value):
    assert not agree(torch.tensor(value), torch.tensor(1.0), torch.tensor(1.0), torch.float32)
    assert not agree(torch.tensor(1.0), torch.tensor(value), torch.tensor(1.0), torch.float32)


@pytest.mark.parametrize("engine", EXACT)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_identity_holds_to_rounding(name, engine):
    case = make_case(name)
    scoring = Scoring(case.model, case.loss_fn, case.batch, case.clean, engine)
    scores = scoring.scores(check=False)
    r = uneven(len(scores.losses), 1)
    g = scoring.passes.gradient((r * scores.losses).sum())
    left, right = r @ scores.alignment, inner_product(g, scoring.clean.gradient)
    assert abs(left - right) <= 1e-12 * float(r @ scores.alignment.abs())


# An engine that is wrong ------------------------------------------------------------------------------------------


def faulty(monkeypatch, change):
    """Put `change` between the engine forward and those who use it."""
    right = ENGINES["forward"]
    monkeypatch.setitem(ENGINES, "forward", right._replace(run=lambda *args: change(right.run(*args))))


FAULTS = {
    "one slope is off": lambda s: s._replace(alignment=s.alignment * torch.tensor([1.0] * 6 + [1.02]).double()),
    "two are exchanged": lambda s: s._replace(alignment=s.alignment[[1, 0, 2, 3, 4, 5, 6]]),
    "all are 0": lambda s: s._replace(alignment=torch.zeros_like(s.alignment)),
    "one is NaN": lambda s: s._replace(alignment=s.alignment.where(torch.arange(7) > 0, torch.nan)),
    "losses of another pass": lambda s: s._replace(losses=s.losses * 1.001),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_engine_is_left_before_anything_has_changed(monkeypatch, fault):
    faulty(monkeypatch, FAULTS[fault])
    case, other = make_case("mlp"), make_case("mlp")
    reweighter = Reweighter(case.model, torch.optim.SGD(case.model.parameters(), 0.1), case.loss_fn)
    with pytest.warns(RuntimeWarning, match='engine "two_pass" is used instead of "forward"'):
        reweighter.step(case.batch, case.clean)
    right = Reweighter(other.model, torch.optim.SGD(other.model.parameters(), 0.1), other.loss_fn, "two_pass")
    right.step(other.batch, other.clean)
    assert reweighter.engine == "two_pass"
    for p, q in zip(case.model.parameters(), other.model.parameters(), strict=True):
        torch.testing.assert_close(p, q)


@pytest.mark.parametrize("check", ["every", "first"])
def test_an_engine_that_goes_wrong_later_is_seen_by_the_check_of_every_step(monkeypatch, check):
    case = make_case("mlp")
    reweighter = Reweighter(case.model, torch.optim.SGD(case.model.parameters(), 0.01), case.loss_fn, check=check)
    reweighter.step(case.batch, case.clean)
    faulty(monkeypatch, lambda s: s._replace(alignment=s.alignment + s.alignment.abs().max()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reweighter.step(case.batch, case.clean)
    assert reweighter.engine == ("two_pass" if check == "every" else "forward")


@pytest.mark.parametrize("check", ["every", "first"])
def test_an_engine_that_takes_all_weight_later_is_seen(monkeypatch, check):
    """Such a batch makes no update, whose gradient would say it."""
    case = make_case("mlp")
    reweighter = Reweighter(case.model, torch.optim.SGD(case.model.parameters(), 0.01), case.loss_fn, check=check)
    reweighter.step(case.batch, case.clean)
    faulty(monkeypatch, lambda s: s._replace(alignment=torch.zeros_like(s.alignment)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        step = reweighter.step(case.batch, case.clean)
    assert bool(step.effective_examples) == (check == "every")


def test_a_batch_that_has_no_weight_is_no_fault():
    case = make_case("mlp")
    x, y = case.clean
    reweighter = Reweighter(
        case.model, torch.optim.SGD(case.model.parameters(), 0.01), lambda o, t: t.sign() * EACH(o, t.abs())
    )
    y = y.clamp(min=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            step = reweighter.step((x, -y), (x, y))
    assert step.effective_examples == 0
    assert reweighter.engine == "forward"


class Drifting(nn.Module):
    """Its frozen part follows the trained one in every pass, which no second pass repeats."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.student, self.teacher = (nn.Linear(4, 3).double() for _ in range(2))
        self.teacher.requires_grad_(False)

    def forward(self, x):
        with torch.no_grad():
            for p, q in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
                p.lerp_(q, 0.1)
        return self.student(x), self.teacher(x)


def test_passes_that_drift_apart_are_no_rounding():
    model = Drifting()
    x, y = torch.randn(8, 4).double(), torch.arange(8) % 3
    optimizer = torch.optim.SGD(model.student.parameters(), 0.1)
    reweighter = Reweighter(model, optimizer, lambda o, t: EACH(o[0], t) + (o[0] - o[1]).square().sum(1), "two_pass")
    with pytest.warns(RuntimeWarning, match='the slopes are off by .* engine "reverse"'):
        reweighter.step((x, y), (x[:5], y[:5]))


@pytest.mark.parametrize("inside", [False, True], ids=["around the model", "in the model"])
def test_reverse_knows_how_many_digits_half_precision_has(inside):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    whole = HalfInside(model) if inside else model
    batches = [(torch.randn(n, 4), torch.randint(3, (n,))) for n in (7, 5)]
    with warnings.catch_warnings(), torch.autocast("cpu", torch.bfloat16, enabled=not inside):
        warnings.simplefilter("error")
        assert all(score(whole, EACH, *batches, "reverse").engine == "reverse" for _ in range(10))


class HalfInside(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            return self.inner(x).float()


CHANGES = {
    "mode": lambda r: r.model.eval(),
    "frozen": lambda r: r.model[0].weight.requires_grad_(False),
    "loss": lambda r: setattr(r, "loss_fn", nn.CrossEntropyLoss(reduction="none", label_smoothing=0.1)),
    "model": lambda r: setattr(r, "model", copy.deepcopy(r.model)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_brings_the_thorough_check_back(monkeypatch, change):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.Linear(8, 3))
    batch, clean = ((torch.randn(n, 4), torch.randint(3, (n,))) for n in (7, 5))
    reweighter = Reweighter(model, None, EACH)
    passes = []
    monkeypatch.setattr(Scoring, "_ordinary_pass", counted(Scoring._ordinary_pass, passes))
    for expected in (1, 1, 2, 2):
        if expected == 2 and len(passes) == 1:
            CHANGES[change](reweighter)
        reweighter.loss(batch, clean)
        assert len(passes) == expected


def counted(function, calls):
    def call(*args):
        calls.append(1)
        return function(*args)

    return call


@pytest.mark.parametrize("later", [False, True], ids=["first step", "second step"])
def test_nothing_has_changed_where_no_engine_agrees(later):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 3))
    batch, clean = ((torch.randn(n, 4), torch.randint(3, (n,))) for n in (7, 5))
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    reweighter = Reweighter(model, optimizer, EACH)
    if later:  # then it is the gradient of the update that does not fit
        reweighter.step(batch, clean)
    model[3].weight.register_hook(lambda g: g.clamp(min=0))
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    before, inputs, momenta = copy.deepcopy(model.state_dict()), batch[0].clone(), str(optimizer.state_dict())
    with pytest.raises(ValueError, match="no engine finds weights that fit"):
        reweighter.step(batch, clean)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(p.grad, torch.ones_like(p)) for p in model.parameters())
    assert torch.equal(inputs, batch[0])
    assert str(optimizer.state_dict()) == momenta
    assert reweighter.steps == later


# No false alarm ---------------------------------------------------------------------------------------------------


def trained(model, batch, clean, dtype=torch.float32, steps=12, factor=1.0, lr=1e-3):
    reweighter = Reweighter(model, torch.optim.Adam(model.parameters(), lr), lambda o, y: factor * EACH(o.float(), y))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(steps):
            with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
                reweighter.step(batch, clean)
    return reweighter


def images(n, channels=3, side=16):
    return torch.randn(n, channels, side, side), torch.randint(3, (n,))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["mlp", "lenet", "resnet32"])
def test_sound_models_are_left_alone_in_every_precision(name, dtype):
    torch.manual_seed(0)
    build, shape = {
        "mlp": (lambda: Mlp([48, 64, 3]), (3, 4)),
        "lenet": (lambda: LeNet(3), (1, 28)),
        "resnet32": (resnet32, (3, 16)),
    }[name]
    (x, y), (cx, cy) = images(12, *shape), images(6, *shape)
    if name == "mlp":
        x, cx = x.flatten(1), cx.flatten(1)
    assert trained(build(), (x, y), (cx, cy), dtype, steps=4).engine == "forward"


@pytest.mark.parametrize("factor", [1e-20, 1e-6, 1e6, 1e12])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tiny_and_huge_losses_are_no_fault(dtype, factor):
    torch.manual_seed(0)
    batch, clean = ((torch.randn(n, 4), torch.randint(3, (n,))) for n in (20, 9))
    assert trained(Mlp([4, 16, 3]), batch, clean, dtype, factor=factor).engine == "forward"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_examples_that_are_fitted_are_no_fault(dtype, caplog):
    """Where losses are as small as rounding, slopes are too."""
    caplog.set_level(logging.ERROR, "l2rw_core")
    torch.manual_seed(0)
    x = torch.randn(60, 4)
    y = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    run = trained(Mlp([4, 64, 3]), (x[:40], y[:40]), (x[20:], y[20:]), dtype, steps=600, lr=0.03)
    assert float(run.last.losses.median()) < (1e-4 if dtype == torch.float32 else 1e-1)
    assert run.engine == "forward"


def test_half_precision_inside_a_model_is_seen():
    class Inside(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = Mlp([4, 32, 3])

        def forward(self, x):
            with torch.autocast("cpu", torch.bfloat16):
                return self.net(x)

    torch.manual_seed(0)
    batch, clean = ((torch.randn(n, 4), torch.randint(3, (n,))) for n in (20, 9))
    assert trained(Inside(), batch, clean).engine == "forward"


def test_float16_is_no_farther_from_the_weights_than_bfloat16_when_the_clean_set_is_fitted():
    torch.manual_seed(0)
    x, truth = torch.randn(64, 32), torch.randn(32, 4)
    y = (x @ truth).argmax(1)
    wrong = torch.cat([(y[:16] + 1) % 4, y[16:]])
    clean_x = torch.randn(40, 32)
    clean = clean_x, (clean_x @ truth).argmax(1)
    model = Mlp([32, 256, 256, 4])
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(100):
        optimizer.zero_grad()
        EACH(model(clean_x), clean[1]).mean().backward()
        optimizer.step()
    assert EACH(model(clean_x), clean[1]).mean().item() < 1e-5

    def weights(dtype):
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            u = score(model, EACH, (x, wrong), clean).alignment.float().clamp(min=0)
        return u / u.sum()

    exact = weights(torch.float32)
    off = {dtype: float((exact - weights(dtype)).abs().sum()) for dtype in (torch.float16, torch.bfloat16)}
    assert off[torch.float16] <= off[torch.bfloat16]
    assert off[torch.float16] < 0.1


class DepthByPython(nn.Module):
    """Leaves layers out by random numbers that PyTorch does not know, and counts its calls."""

    def __init__(self):
        super().__init__()
        self.first, self.blocks, self.last = (
            nn.Linear(4, 8),
            nn.ModuleList([nn.Linear(8, 8) for _ in range(4)]),
            nn.Linear(8, 3),
        )
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        h = torch.tanh(self.first(x))
        for block in self.blocks:
            if random.random() < 0.5:
                h = h + torch.tanh(block(h)) / self.calls
        return self.last(h)


def test_a_model_that_no_pass_repeats_is_checked_by_its_own_graph():
    torch.manual_seed(0)
    random.seed(0)
    batch, clean = ((torch.randn(n, 4), torch.randint(3, (n,))) for n in (20, 9))
    assert trained(DepthByPython(), batch, clean).engine == "forward"
