"""The scores are exact: three engines, finite differences, and per-example gradients all say the same."""

import warnings

import pytest
import torch
from architectures import ARCHITECTURES, BATCH_INDEPENDENT, EXACT, WITHOUT_RANDOMNESS, TwoInputs, make_case
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call, grad, vmap

from l2rw_core.models import LeNet, Mlp, resnet32
from l2rw_core.scoring import alignment

CROSS_ENTROPY = nn.CrossEntropyLoss(reduction="none")


def scores(case, engine="forward", **options):
    torch.manual_seed(99)  # the same dropout masks for every call
    return alignment(case.model, case.loss_fn, case.batch, case.clean, engine, **options)


def relative_error(found, expected):
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("seed", range(3))
def test_engines_agree(name, seed):
    case = make_case(name, seed)
    losses, u = scores(case)
    assert u.abs().max() > 0
    for engine in EXACT:
        other_losses, other = scores(case, engine)
        assert relative_error(other, u) < 1e-10
        torch.testing.assert_close(other_losses, losses, rtol=1e-12, atol=0)


@pytest.mark.parametrize("step_size", [1e-3, 1.0, 10.0])
def test_lookahead_does_not_depend_on_its_step_size(step_size):
    case = make_case("resnet32")
    assert relative_error(scores(case, "lookahead", step_size=step_size)[1], scores(case)[1]) < 1e-10


def clean_loss_after_virtual_step(case, eps, step_size):
    """Equations (5) and (7) by hand: the clean loss at theta - step_size * grad sum_i eps_i f_i."""
    parameters = {name: p.detach() for name, p in case.model.named_parameters() if p.requires_grad}
    buffers = {name: b.clone() for name, b in case.model.named_buffers()}

    def loss(parameters, batch, weights):
        inputs, targets = batch
        args, kwargs = ((), inputs) if isinstance(inputs, dict) else (inputs, {})
        copies = {name: b.clone() for name, b in buffers.items()}
        outputs = functional_call(case.model, parameters | copies, args, kwargs)
        return (weights * case.loss_fn(outputs, targets)).sum()

    gradients = grad(loss)(parameters, case.batch, eps)
    theta_hat = {name: p - step_size * gradients[name] for name, p in parameters.items()}
    m = len(case.clean[1])
    return float(loss(theta_hat, case.clean, torch.full((m,), 1 / m, dtype=torch.float64)))


@pytest.mark.parametrize("name", [n for n in WITHOUT_RANDOMNESS if "lenet" not in n])
def test_finite_differences_of_the_virtual_step(name):
    case = make_case(name, seed=5)
    u = scores(case)[1]
    alpha, h = 0.1, 1e-8  # small, so that no ReLU of a deep network switches in between
    for i, expected in enumerate((-alpha * u).tolist()):
        eps = torch.zeros(len(u), dtype=torch.float64)
        eps[i] = h
        up = clean_loss_after_virtual_step(case, eps, alpha)
        down = clean_loss_after_virtual_step(case, -eps, alpha)
        assert (up - down) / (2 * h) == pytest.approx(expected, rel=1e-4, abs=1e-5 * float(u.abs().max()))


@pytest.mark.parametrize("name", [n for n in BATCH_INDEPENDENT if n not in ("gru", "lstm") and "inputs" not in n])
def test_inner_products_of_per_example_gradients(name):
    case = make_case(name)
    parameters = {n: p.detach() for n, p in case.model.named_parameters() if p.requires_grad}

    def loss(parameters, x, y):
        return case.loss_fn(functional_call(case.model, parameters, (x[None],)), y[None])[0]

    def gradients(batch):
        per_example = vmap(grad(loss), in_dims=(None, 0, 0))(parameters, *batch)
        return torch.cat([g.flatten(1) for g in per_example.values()], dim=1)

    expected = gradients(case.batch) @ gradients(case.clean).mean(0)
    assert relative_error(scores(case)[1], expected) < 1e-10


@pytest.mark.parametrize("engine", EXACT)
def test_a_module_under_two_names_has_the_gradients_of_one(engine):
    case = make_case("two_names")

    def gradient(x, y):
        found = torch.autograd.grad(case.loss_fn(case.model(x), y).mean(), list(case.model.parameters()))
        return torch.cat([g.flatten() for g in found])

    x, y = case.batch
    clean = gradient(*case.clean)
    expected = torch.stack([gradient(x[i : i + 1], y[i : i + 1]) @ clean for i in range(len(y))])
    for _ in range(2):
        assert relative_error(scores(case, engine)[1], expected) < 1e-10


@pytest.mark.parametrize("engine", EXACT)
@pytest.mark.parametrize("name", ["resnet32", "attention", "branching", "two_names"])
def test_scoring_leaves_the_model_bit_identical(name, engine):
    case = make_case(name)
    before = {key: value.clone() for key, value in case.model.state_dict().items()}
    scores(case, engine)
    after = case.model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert all(p.grad is None for p in case.model.parameters())
    assert case.model.training


@pytest.mark.parametrize("engine", EXACT)
def test_losses_can_be_differentiated_after_scoring(engine):
    case = make_case("resnet32")
    losses, u = scores(case, engine)
    assert not u.requires_grad
    losses.mean().backward()
    expected = make_case("resnet32")
    expected.loss_fn(expected.model(expected.batch[0]), expected.batch[1]).mean().backward()
    for p, q in zip(case.model.parameters(), expected.model.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-9, atol=1e-12)


def test_training_pass_draws_the_dropout_masks_of_the_losses_it_returns():
    case = make_case("dropout")
    torch.manual_seed(3)
    losses, _ = alignment(case.model, case.loss_fn, case.batch, case.clean)
    torch.manual_seed(3)
    torch.randint(2**62, ())  # the seed of the clean pass
    outputs = case.model(case.batch[0])
    assert torch.equal(case.loss_fn(outputs, case.batch[1]), losses)


def test_clean_and_training_masks_are_independent():
    case = make_case("dropout", n=5, m=5)
    case.clean = case.batch
    own = scores(case)[1]
    torch.manual_seed(99)
    torch.randint(2**62, ())
    losses = case.loss_fn(case.model(case.batch[0]), case.batch[1])
    same_masks = torch.autograd.grad(losses.mean(), list(case.model.parameters()))
    squared = sum(g.square().sum() for g in same_masks)
    assert abs(float(own.mean() - squared)) > 1e-6 * float(squared)


@given(seed=st.integers(0, 1000), permutation=st.permutations(range(7)))
@settings(max_examples=25)
def test_permuting_the_batch_permutes_the_scores(seed, permutation):
    case = make_case("mlp", seed)
    u = scores(case)[1]
    x, y = case.batch
    case.batch = (x[permutation], y[permutation])
    torch.testing.assert_close(scores(case)[1], u[permutation], rtol=1e-10, atol=1e-14)


@given(seed=st.integers(0, 1000), factor=st.floats(1e-3, 1e3))
@settings(max_examples=25)
def test_scaling_the_loss_scales_all_scores_alike(seed, factor):
    case = make_case("mlp", seed)
    u = scores(case)[1]
    plain = case.loss_fn
    case.loss_fn = lambda outputs, targets: factor * plain(outputs, targets)
    torch.testing.assert_close(scores(case)[1], factor**2 * u, rtol=1e-9, atol=0)


@pytest.mark.parametrize("engine", EXACT)
def test_a_parameter_that_one_batch_does_not_reach_counts_as_zero(engine):
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.often, self.clean_only, self.train_only = nn.Linear(4, 3), nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, x):
            return self.often(x) + (self.clean_only(x) if len(x) == 5 else self.train_only(x))

    case = make_case("mlp")
    case.model = Gated().double()
    expected = make_case("mlp")
    u = scores(case, engine)[1]
    model, (x, y) = case.model, case.batch
    v = torch.autograd.grad(case.loss_fn(model(case.clean[0]), case.clean[1]).mean(), list(model.often.parameters()))
    for i in range(len(y)):
        gradient = torch.autograd.grad(case.loss_fn(model(x), y)[i], list(model.often.parameters()))
        inner = sum((a * b).sum() for a, b in zip(gradient, v, strict=True))
        assert float(u[i]) == pytest.approx(float(inner), rel=1e-10)
    assert expected.batch[0].shape == x.shape


@pytest.mark.parametrize("engine", EXACT)
def test_batches_that_share_no_parameter_score_zero(engine):
    class Split(nn.Module):
        def __init__(self):
            super().__init__()
            self.clean_only, self.train_only = nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, x):
            return self.clean_only(x) if len(x) == 5 else self.train_only(x)

    case = make_case("mlp")
    case.model = Split().double()
    assert torch.equal(scores(case, engine)[1], torch.zeros(7, dtype=torch.float64))


class Doubled(torch.autograd.Function):
    """Has no forward-mode rule."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, g):
        return 2 * g


class WithCustomFunction(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Mlp([4, 6, 3])

    def forward(self, x):
        return Doubled.apply(self.inner(x))


def test_falls_back_to_reverse_where_there_is_no_forward_mode_rule():
    case = make_case("mlp")
    case.model = WithCustomFunction().double()
    with pytest.warns(RuntimeWarning, match="custom autograd.Function"):
        u = scores(case)[1]
    assert relative_error(u, scores(case, "lookahead")[1]) < 1e-10


def test_the_warning_names_the_operator():
    case = make_case("lstm")
    case.model = case.model.float()
    case.batch, case.clean = ((x.float(), y) for x, y in (case.batch, case.clean))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        u = scores(case)[1]
    assert any("rnn_layer" in str(w.message) for w in caught) or not caught  # builds without mkldnn have the rule
    assert relative_error(u, scores(case, "lookahead")[1]) < 1e-4


def test_float32_and_autocast_are_close_to_float64():
    model, exact = LeNet(3), LeNet(3).double()
    exact.load_state_dict(model.state_dict())
    case = make_case("lenet", n=20, m=10)
    case.model = exact
    u = scores(case)[1]
    case.model, case.batch, case.clean = model, *((x.float(), y) for x, y in (case.batch, case.clean))
    assert relative_error(scores(case)[1], u) < 1e-4
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert relative_error(scores(case)[1], u) < 0.1


def test_works_inside_no_grad():
    case = make_case("mlp")
    u = scores(case)[1]
    with torch.no_grad():
        assert torch.equal(scores(case)[1], u)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("engine", EXACT)
def test_engines_agree_on_a_gpu(engine):
    def move(batch):
        return tuple(part.cuda() for part in batch)

    case = make_case("resnet32")
    u = scores(case)[1]
    case.model, case.batch, case.clean = case.model.cuda(), move(case.batch), move(case.clean)
    assert relative_error(scores(case, engine)[1].cpu(), u) < 1e-10


def with_(case, **changes):
    for name, value in changes.items():
        setattr(case, name, value)
    return case


X, Y = torch.rand(7, 4, dtype=torch.float64), torch.randint(3, (7,))
WRONG_CALLS = {
    "scalar loss": ({"loss_fn": nn.CrossEntropyLoss()}, ValueError, r"shape \(\d,\).*reduction=.none"),
    "empty clean batch": ({"clean": (X[:0], Y[:0])}, ValueError, "clean batch is empty"),
    "empty training batch": ({"batch": (X[:0], Y[:0])}, ValueError, "training batch is empty"),
    "label too large": ({"batch": (X, Y + 3)}, ValueError, r"training label \d is out of range.*3 outputs.*0 to 2"),
    "negative clean label": ({"clean": (X, Y - 5)}, ValueError, "clean label -"),
    "NaN input": ({"batch": (X.clone().fill_(torch.nan), Y)}, ValueError, "NaN or infinite for 7 of 7.*position 0"),
    "no pair": ({"batch": X}, TypeError, r"pair \(inputs, targets\)"),
    "inputs of a wrong kind": ({"batch": ("words", Y)}, TypeError, "training inputs must be a tensor"),
    "loss is no tensor": ({"loss_fn": lambda outputs, targets: 1.0}, TypeError, "must return a tensor, got float"),
    "detached loss": ({"loss_fn": lambda o, t: CROSS_ENTROPY(o.detach(), t)}, ValueError, "does not depend on any"),
    "nothing to train": ({"model": Mlp([4, 3]).double().requires_grad_(False)}, ValueError, "no trainable parameter"),
}


@pytest.mark.parametrize("name", WRONG_CALLS)
@pytest.mark.parametrize("engine", EXACT)
def test_wrong_calls_say_what_is_wrong(name, engine):
    changes, kind, message = WRONG_CALLS[name]
    with pytest.raises(kind, match=message):
        scores(with_(make_case("mlp"), **changes), engine)


def test_unknown_engine_lists_the_valid_ones():
    valid = "'auto', 'forward', 'two_pass', 'ghost', 'reverse', 'loop', 'difference', 'lookahead'"
    with pytest.raises(ValueError, match=valid):
        scores(make_case("mlp"), "backward")


def test_step_size_must_be_positive():
    with pytest.raises(ValueError, match="positive"):
        scores(make_case("mlp"), "lookahead", step_size=0.0)


def test_inputs_may_be_a_list_of_tensors():
    case = make_case("two_inputs_tuple")
    u = scores(case)[1]
    assert isinstance(case.model, TwoInputs)
    case.batch = (list(case.batch[0]), case.batch[1])
    assert torch.equal(scores(case)[1], u)


def test_batch_norm_statistics_of_each_batch_are_its_own():
    """The clean and the training batch are normalised apart: joining them would change the scores."""
    case = make_case("resnet32")
    u = scores(case)[1]
    model = resnet32().double()
    model.load_state_dict(case.model.state_dict())
    x = torch.cat([case.batch[0], case.clean[0]])
    y = torch.cat([case.batch[1], case.clean[1]])
    losses = case.loss_fn(model(x), y)
    parameters = list(model.parameters())
    v = torch.autograd.grad(losses[7:].mean(), parameters, retain_graph=True)
    g = torch.autograd.grad(losses[0], parameters)
    joined = sum((a * b).sum() for a, b in zip(g, v, strict=True))
    assert abs(float(joined - u[0])) > 1e-3 * float(u.abs().max())
