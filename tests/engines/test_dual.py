"""The engine's own dual numbers: against PyTorch's, and what they keep in memory."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from architectures import ARCHITECTURES, make_case
from torch import Tensor, nn
from torch.utils import checkpoint as checkpointing
from torch.utils.checkpoint import checkpoint

from l2rw_core.engines.dual import Dual, Untracked, following, unpack
from l2rw_core.engines.passes import Unfollowed
from l2rw_core.models import resnet32
from l2rw_core.scoring import directional_derivative, score


class Function(nn.Module):
    """A network with one function in its middle, on images of 3 channels."""

    def __init__(self, function, channels: int = 6) -> None:
        super().__init__()
        self.function = function
        self.conv, self.norm = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(channels)
        self.scale = nn.Parameter(torch.linspace(0.5, 2, 6))
        self.output = nn.LazyLinear(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.function(self, self.conv(x)).flatten(1))


def in_place_arithmetic(_, x):
    y = x * 2
    y += x.sigmoid()
    y.mul_(x)
    y[:, 0] = x[:, 1].exp()
    return y


class Cube(torch.autograd.Function):
    """Hides its work from `Dual`, and has a forward-mode rule for PyTorch."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        return 3 * ctx.saved_tensors[0] ** 2 * g

    @staticmethod
    def jvp(ctx, dx):
        return 3 * ctx.saved_tensors[0] ** 2 * dx


def changed_through_a_view(_, x):
    y = x * 2
    y[:, 1].zero_()
    return y + x


def eval_norm(self, x):
    return F.batch_norm(x, self.norm.running_mean, self.norm.running_var + 0.5, self.norm.weight, self.norm.bias)


FOLLOWED = {
    "relu in place": lambda _, x: F.relu(x, inplace=True),
    "arithmetic in place": in_place_arithmetic,
    "batch norm": lambda self, x: self.norm(x),
    "batch norm without a scale": lambda _, x: F.batch_norm(x, None, None, training=True),
    "batch norm with a fixed scale": lambda self, x: F.batch_norm(x, None, None, self.scale.detach(), self.scale, True),
    "batch norm with a fixed shift": lambda self, x: F.batch_norm(x, None, None, self.scale, self.scale.detach(), True),
    "batch norm by running statistics": eval_norm,
    "instance norm": lambda self, x: F.instance_norm(x, weight=self.norm.weight, bias=self.norm.bias),
    "max pooling": lambda _, x: F.max_pool2d(x, 3, stride=2, padding=1),
    "max pooling in another layout": lambda _, x: F.max_pool2d(x.contiguous(memory_format=torch.channels_last), 2),
    "max pooling with places": lambda _, x: F.max_pool2d(x, 2, return_indices=True)[0],
    "padding with a number": lambda _, x: F.pad(x, (1, 1, 0, 2), value=0.5).square(),
    "padding by reflection": lambda _, x: F.pad(x, (1, 1, 2, 2), mode="reflect").square(),
    "average pooling and padding": lambda _, x: F.avg_pool2d(F.pad(x, (1, 1, 0, 0)), 2),
    "dropout": lambda _, x: F.dropout(x, 0.5),
    "dropout in place": lambda _, x: F.dropout(x * 2, 0.5, inplace=True),
    "lists and several outputs": lambda _, x: torch.cat([part.tanh() for part in x.chunk(2, 1)], 1),
    "a constant part": lambda _, x: x * (x > 0) + x.detach() * x,
    "a maximum with its place": lambda _, x: x.max(1).values,
    "indexing": lambda _, x: x[:, [0, 2, 2], 1:],
    "layer norm": lambda self, x: F.layer_norm(x, (6,), self.scale, self.scale),
    "layer norm without a scale": lambda _, x: F.layer_norm(x, (6,)),
    "layer norm with a fixed scale": lambda self, x: F.layer_norm(x, (6,), self.scale.detach(), None),
    "softmax": lambda _, x: F.softmax(x, 1) + x.softmax(-1) + F.softmax(x, dim=2, dtype=torch.float64),
    "elementwise": lambda _, x: F.gelu(x) + F.gelu(x, approximate="tanh") + F.silu(x) + x.tanh() * torch.sigmoid(x) / 3,
    "products": lambda self, x: (
        torch.matmul(x, x.transpose(2, 3)) @ x + x.matmul(self.scale.diag()) @ torch.ones(6, 6).double()
    ),
    "products of three dimensions": lambda _, x: torch.bmm(x[:, 0], x[:, 1]).unsqueeze(1) + x,
    "embedding": lambda self, x: x + F.embedding(torch.tensor([0, 5, 2, 2, 1, 0]), self.scale.diag(), padding_idx=2),
    "attention": lambda _, x: F.scaled_dot_product_attention(x, x.tanh(), x, scale=0.3),
    "attention with a mask": lambda _, x: F.scaled_dot_product_attention(x, x, x, torch.eye(6).bool(), dropout_p=0.2),
    "attention to the past": lambda _, x: F.scaled_dot_product_attention(x, x, x, is_causal=True),
    "no gradient inside": lambda _, x: x / (1e-3 + torch.no_grad()(torch.Tensor.norm)(x)),
}
HIDDEN = {"a function of its own": lambda _, x: Cube.apply(x), "changed through a view": changed_through_a_view}


def scores_of(function, engine):
    torch.manual_seed(0)
    model = Function(function).double()
    batch = torch.randn(5, 3, 6, 6).double(), torch.randint(4, (5,))
    model(batch[0])
    model.zero_grad()
    clean = torch.randn(4, 3, 6, 6).double(), torch.randint(4, (4,))
    torch.manual_seed(1)
    return score(model, nn.CrossEntropyLoss(reduction="none"), batch, clean, engine)


@pytest.mark.parametrize("name", FOLLOWED)
def test_follows(name):
    ours, theirs = scores_of(FOLLOWED[name], "forward"), scores_of(FOLLOWED[name], "reverse")
    assert ours.engine == "forward"
    torch.testing.assert_close(ours.losses, theirs.losses, rtol=1e-14, atol=0)
    assert theirs.alignment.abs().max() > 0
    torch.testing.assert_close(ours.alignment, theirs.alignment, rtol=1e-11, atol=1e-12)
    for buffer, other in zip(ours.buffers.values(), theirs.buffers.values(), strict=True):
        torch.testing.assert_close(buffer, other, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", HIDDEN)
def test_what_cannot_be_followed_is_seen_and_left_to_torch(name):
    with pytest.warns(RuntimeWarning, match="not seen|another view"):
        ours = scores_of(HIDDEN[name], "forward")
    theirs = scores_of(HIDDEN[name], "two_pass")
    assert ours.engine == "two_pass"
    assert torch.equal(ours.alignment, theirs.alignment)


@pytest.mark.parametrize("rule", [torch.tanh, F.gelu, torch.relu, lambda x: x.softmax(-1)])
def test_a_function_of_ones_own_finds_the_graph_of_what_came_before(rule):
    """Its output has to lead back to the parameters, or nothing would tell that its slope is missing."""
    p = torch.rand(3, requires_grad=True)
    with following({"p": p}):
        out = Cube.apply(rule(Dual(p, torch.ones(3))))
        with pytest.raises(Unfollowed, match="was not seen"):
            unpack(out)
    (g,) = torch.autograd.grad(out.sum(), p)
    assert g.count_nonzero()


@pytest.mark.parametrize("engine", ["forward", "two_pass"])
def test_checkpointed_activations_are_left_to_reverse(engine):
    plain = lambda y: y.tanh() * y  # noqa: E731
    own_function = hasattr(checkpointing, "_NoopSaveInputs")  # of torch 2.11: it comes first in PyTorch's duals
    named = "a custom autograd.Function" if own_function and engine == "two_pass" else "activation checkpointing"
    with pytest.warns(RuntimeWarning, match=rf"{named} has no forward-mode .* \"reverse\""):
        ours = scores_of(lambda _, x: checkpoint(plain, x, use_reentrant=False), engine)
    theirs = scores_of(lambda _, x: plain(x), "reverse")
    assert ours.engine == "reverse"
    torch.testing.assert_close(ours.alignment, theirs.alignment, rtol=1e-11, atol=1e-12)
    ours.losses.sum().backward()


def test_a_direction_that_no_rule_follows_takes_ordinary_backward_passes():
    model = nn.Sequential(nn.EmbeddingBag(9, 8), nn.Linear(8, 3)).double()
    direction = {name: torch.ones_like(p) for name, p in model.named_parameters()}
    batch = torch.randint(9, (7, 4)), torch.randint(3, (7,))
    loss_fn = nn.CrossEntropyLoss(reduction="none")
    losses, u, _ = directional_derivative(model, loss_fn, batch, direction)
    for loss, slope in zip(losses, u, strict=True):
        gradient = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)
        torch.testing.assert_close(sum(g.sum() for g in gradient), slope)


def test_hooks_of_ones_own_are_no_checkpointing():
    with torch.autograd.graph.save_on_cpu():
        assert scores_of(FOLLOWED["batch norm"], "forward").engine == "forward"


class TiedWithPadding(nn.Module):
    """An embedding that is the last layer too, so that the row of the padding has a gradient of its own."""

    def __init__(self, hidden: bool) -> None:
        super().__init__()
        self.embedding, self.hidden = nn.Embedding(11, 6, padding_idx=0), hidden

    def forward(self, tokens: Tensor) -> Tensor:
        z = self.embedding(tokens).mean(1)
        if self.hidden:
            h = torch.zeros_like(z.detach())
            h[:] = z
            z = h
        return z @ self.embedding.weight.T


@pytest.mark.parametrize("hidden", [False, True])
def test_the_padding_of_a_tied_embedding_has_no_slope(hidden):
    torch.manual_seed(0)
    model = TiedWithPadding(hidden).double()
    torch.nn.init.normal_(model.embedding.weight)
    batch, clean = ((torch.randint(3, (n, 5)), torch.randint(11, (n,))) for n in (8, 6))
    loss_fn = nn.CrossEntropyLoss(reduction="none")
    exact = score(model, loss_fn, batch, clean, "reverse")
    for engine in ("forward", "two_pass", "ghost", "lookahead"):
        found = score(model, loss_fn, batch, clean, engine)
        torch.testing.assert_close(found.alignment, exact.alignment, rtol=1e-10, atol=1e-12)
    assert score(model, loss_fn, batch, clean, "forward").engine == "forward"


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name != "lstm"])
def test_every_architecture_is_followed(name):
    case = make_case(name)
    assert score(case.model, case.loss_fn, case.batch, case.clean).engine == "forward"


def test_a_constant_result_has_no_slope():
    primal, tangent = unpack(torch.ones(3))
    assert torch.equal(primal, torch.ones(3))
    assert torch.equal(tangent, torch.zeros(3))


def test_a_result_that_was_not_followed_is_refused():
    p = torch.ones(3, requires_grad=True)
    with following({"p": p}), pytest.raises(Untracked, match="not seen"):
        unpack(p * 2)


def test_what_is_trained_beside_the_model_is_a_constant_of_it():
    p = torch.ones(3, requires_grad=True)
    with following({"p": p}):
        _, tangent = unpack(torch.full((3,), 2.0, requires_grad=True).exp())
    assert torch.equal(tangent, torch.zeros(3))


def test_the_slope_has_no_graph_and_the_value_has_its_own():
    p = torch.ones(3, requires_grad=True)
    primal, tangent = unpack((Dual(p, torch.full((3,), 2.0)) ** 2).sum())
    assert tangent == 12
    assert not tangent.requires_grad
    primal.backward()
    assert torch.equal(p.grad, torch.full((3,), 2.0))


def saved_bytes(run) -> int:
    """Bytes kept for the backward pass while `run` runs; memory that several operators share counts once."""
    kept = {}

    def pack(value):
        value = value.primal if isinstance(value, Dual) else value
        kept[value.data_ptr()] = value.numel() * value.element_size()
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        graph = run()
    del graph
    return sum(kept.values())


@pytest.mark.parametrize("engine", ["forward", "two_pass"])
def test_keeps_no_more_for_the_backward_pass_than_plain_training(engine):
    torch.manual_seed(0)
    model, loss_fn = resnet32(), nn.CrossEntropyLoss(reduction="none")
    batch = torch.randn(16, 3, 16, 16), torch.randint(10, (16,))
    clean = torch.randn(2, 3, 16, 16), torch.randint(10, (2,))
    plain = saved_bytes(lambda: loss_fn(model(batch[0]), batch[1]))
    assert saved_bytes(lambda: score(model, loss_fn, batch, clean, engine, check=False)) < 1.3 * plain
