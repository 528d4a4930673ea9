"""A step does what it says and nothing else."""

import copy

import pytest
import torch
from architectures import ARCHITECTURES, EXACT, make_case
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.checkpoint import checkpoint

from l2rw_core.models import LeNet, Mlp
from l2rw_core.reweight import Reweighter
from l2rw_core.scoring import alignment
from l2rw_core.weights import to_weights


def sgd(model, momentum=0.9, weight_decay=1e-2):
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=momentum, weight_decay=weight_decay)


def opposed(case):
    """The same case with a loss whose training gradient always opposes the clean gradient: all weights are 0."""
    inputs, labels = case.clean
    case.batch = inputs, labels + TURNED
    case.loss_fn = Opposed(case.loss_fn)
    return case


TURNED = 1000


class Opposed(nn.Module):
    """Labels from TURNED on get the loss with its sign turned."""

    def __init__(self, loss_fn):
        super().__init__()
        self.loss_fn = loss_fn

    def forward(self, outputs, targets):
        losses = self.loss_fn(outputs, targets % TURNED)
        return losses if targets[0] < TURNED else -losses.mean() + 0 * losses


@pytest.mark.parametrize("name", ["mlp", "lenet", "tied", "two_inputs_dict"])
def test_duplicating_an_example_keeps_the_ratios_of_weights(name):
    case = make_case(name)
    _, u = alignment(case.model, case.loss_fn, case.batch, case.clean)
    assume_index = int(u.argmax())
    twice = [*range(7), assume_index]
    inputs, y = case.batch
    inputs = {k: v[twice] for k, v in inputs.items()} if isinstance(inputs, dict) else inputs[twice]
    w = to_weights(u)
    again = to_weights(alignment(case.model, case.loss_fn, (inputs, y[twice]), case.clean)[1])
    assert float(again[7]) == pytest.approx(float(again[assume_index]), rel=1e-12)
    torch.testing.assert_close(again[:7] / again[:7].sum(), w, rtol=1e-9, atol=1e-12)


@given(seed=st.integers(0, 500), factor=st.floats(1e-3, 1e3))
@settings(max_examples=20)
def test_scaling_the_loss_leaves_the_weights_unchanged(seed, factor):
    case = make_case("mlp", seed)
    w = to_weights(alignment(case.model, case.loss_fn, case.batch, case.clean)[1])
    scaled = alignment(case.model, lambda o, t: factor * case.loss_fn(o, t), case.batch, case.clean)[1]
    torch.testing.assert_close(to_weights(scaled), w, rtol=1e-8, atol=1e-10)


@given(seed=st.integers(0, 500), name=st.sampled_from(["mlp", "group_norm", "tied", "branching", "two_inputs_tuple"]))
@settings(max_examples=25)
def test_a_clean_batch_equal_to_the_training_batch_never_gives_all_zero_weights(seed, name):
    case = make_case(name, seed)
    _, u = alignment(case.model, case.loss_fn, case.batch, case.batch)
    assume(u.abs().max() > 1e-20)  # a network whose units are all switched off has no gradient at all
    assert float(to_weights(u).sum()) == pytest.approx(1.0)
    assert float(u.sum()) > 0


@pytest.mark.parametrize("engine", EXACT)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_loss_in_ones_own_loop_gives_the_parameters_of_step(name, engine):
    case, other = make_case(name), make_case(name)
    first, second = sgd(case.model), sgd(other.model)
    stepper, trainer = (
        Reweighter(c.model, o, c.loss_fn, engine, warmup=1) for c, o in ((case, first), (other, second))
    )
    ids = range(7)
    for k in range(3):
        torch.manual_seed(k)
        stepper.step(case.batch, case.clean, ids)
        torch.manual_seed(k)
        second.zero_grad()
        trainer.loss(other.batch, other.clean, ids).backward()
        second.step()
    for key, value in case.model.state_dict().items():
        assert torch.equal(value, other.model.state_dict()[key]), key


def test_step_follows_the_weighted_gradient_and_updates_statistics_once():
    case, expected = make_case("resnet32"), make_case("resnet32")
    step = Reweighter(case.model, sgd(case.model), case.loss_fn).step(case.batch, case.clean)
    optimizer = sgd(expected.model)
    losses = expected.loss_fn(expected.model(expected.batch[0]), expected.batch[1])
    (step.weights * losses).sum().backward()
    optimizer.step()
    for key, value in expected.model.state_dict().items():
        torch.testing.assert_close(case.model.state_dict()[key], value, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(step.losses, losses.detach())
    assert float(step.loss) == pytest.approx(float(step.weights @ losses.detach()))
    assert all(p.grad is None for p in case.model.parameters()), "gradients are released"


@pytest.mark.parametrize("engine", EXACT)
def test_modules_under_two_names_are_one_module(engine):
    act, norm = nn.PReLU(), nn.BatchNorm1d(8)
    model = nn.Sequential(nn.Linear(4, 8), norm, act, nn.Linear(8, 8), norm, act, nn.Linear(8, 3)).double()
    case, other = make_case("mlp"), copy.deepcopy(model)
    held = {name: id(t) for name, t in model.named_parameters(remove_duplicate=False)}
    reweighter = Reweighter(model, sgd(model), case.loss_fn, engine)
    with torch.random.fork_rng():
        steps = [reweighter.step(case.batch, case.clean) for _ in range(2)]
    other(case.batch[0])
    assert norm.num_batches_tracked == 2 * other[1].num_batches_tracked == 4, "one training pass a step"
    assert {name: id(t) for name, t in model.named_parameters(remove_duplicate=False)} == held
    assert all(type(p) is nn.Parameter for p in model.parameters())
    copy.deepcopy(model).load_state_dict(model.state_dict())
    expected = Reweighter(other, sgd(other), case.loss_fn, "reverse").step(case.batch, case.clean)
    torch.testing.assert_close(steps[0].alignment, expected.alignment, rtol=1e-10, atol=1e-12)


class Averaging(nn.Module):
    """Puts a new tensor in the place of a buffer, and a longer one in the place of another."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("history", torch.zeros(0))

    def forward(self, x):
        out = self.layer(x)
        self.mean = 0.9 * self.mean + 0.1 * out.mean(0)
        self.history = torch.cat([self.history, self.mean.detach()[:1]])
        return out


@pytest.mark.parametrize("engine", EXACT)
def test_a_buffer_that_is_replaced_is_kept_as_in_plain_training(engine):
    case = make_case("mlp")
    model = Averaging().double()
    plain = copy.deepcopy(model)
    plain(case.batch[0])
    Reweighter(model, sgd(model), case.loss_fn, engine).step(case.batch, case.clean)
    for mine, other in zip(model.buffers(), plain.buffers(), strict=True):
        assert type(mine) is torch.Tensor
        assert not mine.requires_grad
        torch.testing.assert_close(mine, other.detach())


def test_what_the_optimizer_does_not_hold_keeps_its_gradient_field_and_is_named_once(caplog):
    case = make_case("mlp")
    head, rest = list(case.model.parameters())[-2:], list(case.model.parameters())[:-2]
    reweighter = Reweighter(case.model, torch.optim.SGD(head, 0.1), case.loss_fn)
    before = {name: p.detach().clone() for name, p in case.model.named_parameters()}
    for _ in range(2):
        reweighter.step(case.batch, case.clean)
    assert all(p.grad is None for p in case.model.parameters())
    moved = [name for name, p in case.model.named_parameters() if not torch.equal(p, before[name])]
    assert len(moved) == len(head)
    (said,) = [record.getMessage() for record in caplog.records if "does not hold" in record.getMessage()]
    assert f"({len(rest)} parameters, " in said
    assert "Freeze them with requires_grad_(False)" in said
    caplog.clear()
    for p in rest:
        p.requires_grad_(False)
    Reweighter(case.model, torch.optim.SGD(head, 0.1), case.loss_fn).step(case.batch, case.clean)
    assert "does not hold" not in caplog.text


def test_a_step_that_fails_is_not_counted():
    case = make_case("mlp")
    optimizer = sgd(case.model)
    reweighter = Reweighter(case.model, optimizer, case.loss_fn)
    reweighter.step(case.batch, case.clean)
    optimizer.step = lambda: (_ for _ in ()).throw(RuntimeError("the disk is full"))
    with pytest.raises(RuntimeError, match="full"):
        reweighter.step(case.batch, case.clean)
    assert reweighter.steps == 1


def test_a_step_is_the_same_where_gradients_are_switched_off():
    models = [make_case("mlp").model for _ in range(2)]
    case = make_case("mlp")
    for model, graph in zip(models, (True, False), strict=True):
        with torch.set_grad_enabled(graph):
            Reweighter(model, sgd(model), case.loss_fn).step(case.batch, case.clean)
    for mine, other in zip(*(model.parameters() for model in models), strict=True):
        assert torch.equal(mine, other)


def test_everything_in_a_step_is_detached_and_consistent():
    case = make_case("mlp")
    reweighter = Reweighter(case.model, sgd(case.model), case.loss_fn)
    clean_loss = float(case.loss_fn(case.model(case.clean[0]), case.clean[1]).mean().detach())
    step = reweighter.step(case.batch, case.clean)
    assert not any(t.requires_grad for t in (step.loss, step.weights, step.alignment, step.losses, step.clean_loss))
    assert torch.equal(step.weights, to_weights(step.alignment))
    assert float(step.clean_loss) == pytest.approx(clean_loss)
    assert 1 <= step.effective_examples <= 7
    assert reweighter.last is step


@pytest.mark.parametrize("optimizer", [sgd, torch.optim.AdamW, torch.optim.Adagrad, torch.optim.RMSprop])
def test_an_all_zero_batch_moves_nothing(optimizer):
    case = make_case("resnet32")
    made = optimizer(case.model.parameters()) if optimizer is not sgd else sgd(case.model)
    reweighter = Reweighter(case.model, made, case.loss_fn)
    reweighter.step(case.batch, case.clean)  # fills momentum
    opposed(case)
    reweighter.loss_fn = case.loss_fn
    before = copy.deepcopy(case.model.state_dict())
    state = copy.deepcopy(made.state_dict())
    step = reweighter.step(case.batch, case.clean)
    assert step.weights.tolist() == [0.0] * 5
    assert step.effective_examples == 0
    assert all(torch.equal(before[k], v) for k, v in case.model.state_dict().items())
    assert str(state) == str(made.state_dict())


def test_an_all_zero_batch_moves_nothing_in_ones_own_loop_either():
    case = make_case("resnet32")
    optimizer = sgd(case.model)
    reweighter = Reweighter(case.model, None, case.loss_fn)
    reweighter.loss(case.batch, case.clean).backward()
    optimizer.step()
    opposed(case)
    reweighter.loss_fn = case.loss_fn
    before = copy.deepcopy(case.model.state_dict())
    optimizer.zero_grad()
    loss = reweighter.loss(case.batch, case.clean)
    loss.backward()
    optimizer.step()
    assert float(loss.detach()) == 0
    assert all(torch.equal(before[k], v) for k, v in case.model.state_dict().items())


def test_the_engine_changes_once_where_it_must():
    case = make_case("lstm")
    x, y = case.batch
    reweighter = Reweighter(case.model, sgd(case.model), case.loss_fn)
    reweighter.step(case.batch, case.clean)
    assert reweighter.engine == "forward"
    from test_scoring import WithCustomFunction

    model = WithCustomFunction().double()
    reweighter = Reweighter(model, sgd(model), nn.CrossEntropyLoss(reduction="none"))
    case = make_case("mlp")
    with pytest.warns(RuntimeWarning, match="reverse"):
        reweighter.step(case.batch, case.clean)
    assert reweighter.engine == "reverse"
    reweighter.step(case.batch, case.clean)  # warnings are errors in these tests: a second one would fail
    assert len(x) == len(y)


def test_warm_up_steps_are_plain_training_and_then_the_weights_come():
    case, plain = make_case("resnet32"), make_case("resnet32")
    optimizer = sgd(plain.model)
    reweighter = Reweighter(case.model, sgd(case.model), case.loss_fn, warmup=3)
    for _ in range(3):
        step = reweighter.step(case.batch, case.clean)
        assert step.weights.tolist() == [1 / 7] * 7
        assert step.effective_examples == pytest.approx(7)
        optimizer.zero_grad()
        plain.loss_fn(plain.model(plain.batch[0]), plain.batch[1]).mean().backward()
        optimizer.step()
    for key, value in plain.model.state_dict().items():
        torch.testing.assert_close(case.model.state_dict()[key], value, rtol=1e-9, atol=1e-12)
    expected = alignment(case.model, case.loss_fn, case.batch, case.clean)[1]
    step = reweighter.step(case.batch, case.clean)
    torch.testing.assert_close(step.alignment, expected)
    assert torch.equal(step.weights, to_weights(step.alignment))


def test_alignments_are_known_during_the_warm_up():
    case = make_case("mlp")
    expected = alignment(case.model, case.loss_fn, case.batch, case.clean)[1]
    step = Reweighter(case.model, sgd(case.model), case.loss_fn, warmup=1).step(case.batch, case.clean)
    torch.testing.assert_close(step.alignment, expected)


def test_a_resumed_warm_up_ends_where_it_would_have():
    whole, cut = make_case("mlp"), make_case("mlp")
    through = Reweighter(whole.model, sgd(whole.model), whole.loss_fn, warmup=2)
    for _ in range(4):
        through.step(whole.batch, whole.clean)
    optimizer = sgd(cut.model)
    first = Reweighter(cut.model, optimizer, cut.loss_fn, warmup=2)
    first.step(cut.batch, cut.clean)
    second = Reweighter(cut.model, optimizer, cut.loss_fn, warmup=2)
    second.load_state_dict(first.state_dict())
    for _ in range(3):
        second.step(cut.batch, cut.clean)
    assert second.steps == through.steps == 4
    assert all(torch.equal(p, q) for p, q in zip(whole.model.parameters(), cut.model.parameters(), strict=True))


def test_a_state_holds_the_engine_in_use_and_loads_without_unpickling(tmp_path):
    case = make_case("mlp")
    first = Reweighter(case.model, sgd(case.model), case.loss_fn)
    first.step(case.batch, case.clean)
    first.engine = "reverse"
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second = Reweighter(case.model, sgd(case.model), case.loss_fn)
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert (second.steps, second.engine) == (1, "reverse")


@pytest.mark.parametrize(
    "state", [{}, {"steps": 1}, {"steps": -1, "engine": "loop"}, {"steps": 1, "engine": "steam"}, {"weight": 3}]
)
def test_another_state_is_refused_and_changes_nothing(state):
    case = make_case("mlp")
    reweighter = Reweighter(case.model, sgd(case.model), case.loss_fn)
    with pytest.raises(ValueError, match=r"no state of a Reweighter|unknown engine"):
        reweighter.load_state_dict(state)
    assert (reweighter.steps, reweighter.engine) == (0, "forward")


@pytest.mark.parametrize("warmup", [-1, 0.1, float("nan"), float("inf")])
def test_a_warm_up_that_is_no_number_of_steps_is_refused(warmup):
    case = make_case("mlp")
    with pytest.raises(ValueError, match="warmup must be a whole number of steps"):
        Reweighter(case.model, None, case.loss_fn, warmup=warmup)


@pytest.mark.parametrize("ids", [range(100, 107), torch.arange(7), [3, 3, 3, 1, 1, 1, 0]])
def test_ids_are_handed_on_by_step_and_loss(ids):
    case = make_case("mlp")
    reweighter = Reweighter(case.model, sgd(case.model), case.loss_fn)
    assert reweighter.step(case.batch, case.clean).ids is None
    assert reweighter.step(case.batch, case.clean, ids).ids.tolist() == list(ids)
    reweighter.loss(case.batch, case.clean, ids)
    assert reweighter.last.ids.tolist() == list(ids)


@pytest.mark.parametrize("ids", [range(6), 3, [[1] * 7]])
def test_a_wrong_number_of_ids_is_refused_before_anything_changes(ids):
    case = make_case("resnet32")
    reweighter = Reweighter(case.model, sgd(case.model), case.loss_fn)
    before = copy.deepcopy(case.model.state_dict())
    with pytest.raises(ValueError, match="one for each example of the batch"):
        reweighter.step(case.batch, case.clean, ids)
    assert all(torch.equal(before[k], v) for k, v in case.model.state_dict().items())
    assert reweighter.steps == 0
    assert reweighter.last is None


def test_autocast_steps_train():
    torch.manual_seed(0)
    model = LeNet(2)
    reweighter = Reweighter(model, sgd(model), nn.CrossEntropyLoss(reduction="none"))
    x, y = torch.rand(16, 1, 28, 28), torch.randint(2, (16,))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        steps = [reweighter.step((x, y), (x[:6], y[:6])) for _ in range(3)]
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in model.parameters())
    assert all(float(s.weights.sum()) == pytest.approx(1, abs=1e-3) for s in steps if s.weights.any())


def test_flipped_labels_lose_their_weight_in_training():
    """End to end: two Gaussian classes, 40% of the labels wrong, 20 clean points."""
    generator = torch.Generator().manual_seed(0)
    y_true = torch.randint(2, (600,), generator=generator).double()
    x = torch.randn(600, 2, generator=generator, dtype=torch.float64) + 2.5 * (2 * y_true[:, None] - 1)
    y = torch.where(torch.rand(600, generator=generator) < 0.4, 1 - y_true, y_true)
    torch.manual_seed(0)
    model = Mlp([2, 16, 1]).double()
    reweighter = Reweighter(model, sgd(model, weight_decay=0), nn.BCEWithLogitsLoss(reduction="none"))
    clean = (x[:20], y_true[:20])
    share = [0.0, 0.0]
    for k in range(150):
        chosen = torch.randint(20, 600, (50,), generator=generator)
        step = reweighter.step((x[chosen], y[chosen]), clean)
        wrong = y[chosen] != y_true[chosen]
        share[k >= 100] += float(step.weights[wrong].sum())
    assert share[1] / 50 < 0.05
    assert float((model(x).detach() > 0).eq(y_true == 1).double().mean()) > 0.97


def test_a_later_step_without_an_engine_leaves_the_count_of_batches():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 2)).double()
    loss_fn = nn.CrossEntropyLoss(reduction="none")
    x, y = torch.randn(8, 3).double(), torch.arange(8) % 2
    reweighter = Reweighter(model, torch.optim.SGD(model.parameters(), lr=0.1), loss_fn)
    reweighter.step((x, y), (x, y))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model[0].weight.register_hook(lambda g: g.clamp(-1e-3, 1e-3))
    with pytest.raises(ValueError, match="no engine finds weights"):
        reweighter.step((x, y), (x, y))
    assert int(before["1.num_batches_tracked"]) == 1
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class Attentive(nn.Module):
    """Attention whose activations are computed once more in the backward pass."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.parts, self.head = nn.Linear(4, 12).double(), nn.Linear(4, 2).double()

    def attend(self, x):
        q, k, v = self.parts(x).chunk(3, dim=-1)
        return nn.functional.scaled_dot_product_attention(q, k, v)

    def forward(self, x):
        return self.head(checkpoint(self.attend, x, use_reentrant=False).mean(1).mean(1))


def test_attention_that_is_repeated_in_the_backward_pass_keeps_its_engine():
    loss_fn, x, y = nn.CrossEntropyLoss(reduction="none"), torch.randn(8, 2, 5, 4).double(), torch.arange(8) % 2
    states = []
    for engine in ("reverse", "loop"):
        model = Attentive()
        reweighter = Reweighter(model, torch.optim.SGD(model.parameters(), lr=0.1), loss_fn, engine)
        reweighter.step((x, y), (x[:4], y[:4]))
        assert reweighter.engine == engine
        states.append(model.state_dict())
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name], rtol=0, atol=1e-10)
