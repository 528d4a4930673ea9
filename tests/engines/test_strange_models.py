"""Whole steps of models, losses and layers as people have them: all that a step leaves is what plain autograd leaves.

A step by autograd alone, one row of the Jacobian for each example in double precision, is the reference for alignments,
losses, parameters, buffers of model and loss, and for where the random numbers stand afterwards.
"""

import copy
import functools
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from test_off_the_path import EACH, Net, between, drawn
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.utils.checkpoint import checkpoint_sequential

from l2rw_core import Reweighter

ENGINES = ("forward", "ghost", "two_pass", "reverse")
CASES: dict[str, tuple[Callable, Callable | None, Callable | None]] = {}
"""Name -> what makes the model, what makes its loss from the model, and what draws (n, seed) a batch."""


def case(name: str, loss: Callable | None = None, data: Callable | None = None) -> Callable:
    def register(make: Callable) -> Callable:
        CASES[name] = make, loss, data
        return make

    return register


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sequences(n: int, seed: int):
    return torch.randn(n, 5, 4, generator=generator(seed)).double(), drawn(n, seed)[1]


def words(n: int, seed: int):
    return torch.randint(9, (n, 4), generator=generator(seed)), drawn(n, seed)[1]


def images(n: int, seed: int):
    return torch.randn(n, 2, 6, 6, generator=generator(seed)).double(), drawn(n, seed)[1]


def measured(n: int, seed: int):
    x, _ = drawn(n, seed)
    return x, x[:, 1].abs()


def tanh_of(first: nn.Module, width: int = 6) -> Net:
    return Net(lambda m, x: m.b(torch.tanh(m.a(x))), a=first, b=(width, 3))


def two(f: Callable, **parts) -> Net:
    """`f(self, x)` of a network with two layers, `a` and `b`."""
    return Net(f, **{"a": (4, 6), "b": (6, 3)} | parts)


def normed(norm: nn.Module) -> Net:
    return tanh_of(nn.Sequential(nn.Linear(4, 6), norm).double())


def double(module: nn.Module) -> nn.Module:
    return module.double()


# Weights that are made from others ---------------------------------------------------------------------------------


class Symmetric(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.triu() + x.triu(1).mT


def symmetric() -> nn.Module:
    model = Net(lambda m, x: m.b(torch.tanh(m.a(x))), a=(4, 4), b=(4, 3))
    parametrize.register_parametrization(model.a, "weight", Symmetric())
    return model


def cached(m, x):
    with parametrize.cached():
        return m.layer(x) + m.layer(x.flip(1))


def tied() -> nn.Module:
    model = Net(lambda m, x: m.c(torch.tanh(m.b(torch.tanh(m.a(x))))), a=(4, 4), b=(4, 4), c=(4, 3))
    model.b.weight, model.b.bias = model.a.weight, model.a.bias
    return model


def pruned() -> nn.Module:
    model = between(torch.tanh)
    prune.random_unstructured(model.a, "weight", 0.5)
    return model


def shared_statistics() -> nn.Module:
    layers = nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Linear(6, 3)
    layers[3].running_mean = layers[1].running_mean
    return nn.Sequential(*layers).double()


case("weight norm")(lambda: tanh_of(parametrizations.weight_norm(nn.Linear(4, 6).double())))
case("spectral norm")(lambda: tanh_of(parametrizations.spectral_norm(nn.Linear(4, 6).double())))
case("orthogonal")(lambda: tanh_of(parametrizations.orthogonal(nn.Linear(4, 6).double())))
case("Cayley map")(lambda: tanh_of(parametrizations.orthogonal(nn.Linear(4, 4).double(), orthogonal_map="cayley"), 4))
case("a parametrization of one's own")(symmetric)
case("cached parametrizations")(lambda: Net(cached, layer=parametrizations.weight_norm(nn.Linear(4, 3).double())))
case("pruned")(pruned)
case("tied layers")(tied)
case("shared statistics")(shared_statistics)
case("a hypernetwork")(lambda: Net(lambda m, x: torch.bmm(m.h(x).view(-1, 3, 4), x[:, :, None]).squeeze(2), h=(4, 12)))
case("detached scale of a weight")(
    lambda: two(lambda m, x: m.b(torch.tanh(F.linear(x, m.a.weight / m.a.weight.norm().detach()))))
)


# Buffers that change ------------------------------------------------------------------------------------------------


class Moving(nn.Module):
    def __init__(self, f: Callable, **buffers: Tensor | None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.f = nn.Linear(4, 6).double(), nn.Linear(6, 3).double(), f
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer)

    def forward(self, x: Tensor) -> Tensor:
        return self.f(self, torch.tanh(self.a(x)))


def replaced(m, h):
    m.mean = m.mean * 0.9 + 0.1 * h.detach().mean(0)
    return m.b(h - m.mean)


def moved_in_place(m, h):
    m.mean.mul_(0.9).add_(0.1 * h.detach().mean(0))
    return m.b(h * m.mean)


def grown(m, h):
    m.mean = torch.cat([m.mean, h.detach().mean(0, keepdim=True)])
    return m.b(h - m.mean.mean(0))


def made_late(m, h):
    if m.mean is None:
        m.mean = torch.full((6,), 0.5).double()
    return m.b(h * m.mean)


def carried(m, h):
    h = h + m.mean.detach()
    m.mean = h.mean(0)
    return m.b(h)


def codebook(m, h):
    nearest = torch.cdist(h, m.mean).argmin(1)
    chosen = m.mean[nearest]
    with torch.no_grad():
        one_hot = F.one_hot(nearest, 5).double()
        m.mean.lerp_((one_hot.T @ h) / one_hot.sum(0).clamp(min=1)[:, None], 0.05)
    return m.b(h + (chosen - h).detach())


case("a buffer replaced")(lambda: Moving(replaced, mean=torch.zeros(6).double()))
case("a buffer moved in place")(lambda: Moving(moved_in_place, mean=torch.ones(6).double()))
case("a buffer that grows")(lambda: Moving(grown, mean=torch.zeros(0, 6).double()))
case("a buffer made in the first pass")(lambda: Moving(made_late, mean=None))
case("a state carried on")(lambda: Moving(carried, mean=torch.zeros(6).double()))
case("a codebook that moves")(lambda: Moving(codebook, mean=torch.eye(5, 6).double()))
case("batch norm, cumulative")(lambda: normed(nn.BatchNorm1d(6, momentum=None)))
case("batch norm without statistics")(lambda: normed(nn.BatchNorm1d(6, track_running_stats=False)))
case("batch norm, synchronised")(lambda: normed(nn.SyncBatchNorm(6)))


# Sequences ----------------------------------------------------------------------------------------------------------


def recurrent(kind: type[nn.RNNBase], width: int, **options) -> Net:
    cell = kind(4, 5, batch_first=True, **options).double()
    return Net(lambda m, x: m.o(m.l(x)[0][:, -1]), l=cell, o=(width, 3))


def packed_inside(m, x):
    lengths = torch.tensor([5, 3, 4, 1, 2, 5, 2, 3])[: len(x)]
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    return m.o(nn.utils.rnn.pad_packed_sequence(m.l(packed)[0], batch_first=True)[0].sum(1))


def packed(n: int, seed: int):
    rows = [torch.randn(1 + i % 3, 4, generator=generator(seed + i)).double() for i in range(n)]
    return nn.utils.rnn.pack_sequence(rows, enforce_sorted=False), drawn(n, seed)[1]


def cells(m, x):
    h = c = x.new_zeros(len(x), 5)
    for t in range(x.shape[1]):
        h, c = m.l(x[:, t], (h, c))
    return m.o(h)


def attending(need_weights: bool, average: bool) -> Net:
    def f(m, x):
        padding = torch.zeros(x.shape[:2]).bool()
        padding[:, 3:], padding[0, 1] = True, True
        later = torch.triu(torch.ones(5, 5).bool(), 1)
        options = {"need_weights": need_weights, "average_attn_weights": average}
        y, weights = m.m(x, x, x, key_padding_mask=padding, attn_mask=later, **options)
        return m.o(y.mean(1)) + (0 if weights is None else weights.flatten(1)[:, :3])

    return Net(f, m=nn.MultiheadAttention(4, 2, batch_first=True, dropout=0.1).double(), o=(4, 3))


def grouped_queries(m, x):
    q, k, v = (f(x).unflatten(-1, (-1, 2)).transpose(1, 2) for f in (m.q, m.k, m.v))
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True, scale=0.3, dropout_p=0.2)
    return m.o(y.transpose(1, 2).flatten(2).mean(1))


def bags(mode: str, **options) -> Net:
    return Net(lambda m, x: m.o(m.e(x)), e=nn.EmbeddingBag(9, 5, mode=mode, **options).double(), o=(5, 3))


case("RNN of two layers and directions", data=sequences)(
    lambda: recurrent(nn.RNN, 10, num_layers=2, dropout=0.4, bidirectional=True)
)
case("GRU with dropout", data=sequences)(lambda: recurrent(nn.GRU, 5, num_layers=2, dropout=0.4))
case("LSTM with a projection", data=sequences)(lambda: recurrent(nn.LSTM, 3, proj_size=3))
case("packed in the model", data=sequences)(
    lambda: Net(packed_inside, l=nn.LSTM(4, 5, batch_first=True).double(), o=(5, 3))
)
case("packed inputs", data=packed)(lambda: Net(lambda m, x: m.o(m.l(x)[1][-1]), l=nn.GRU(4, 5).double(), o=(5, 3)))
case("a loop over cells", data=sequences)(lambda: Net(cells, l=nn.LSTMCell(4, 5).double(), o=(5, 3)))
case("attention, its weights", data=sequences)(lambda: attending(True, True))
case("attention, weights of each head", data=sequences)(lambda: attending(True, False))
case("attention, no weights", data=sequences)(lambda: attending(False, True))
case("attention to other things", data=sequences)(
    lambda: Net(
        lambda m, x: m.o(m.m(x[:, :2], x[..., :3], x[..., 1:3])[0].mean(1)),
        m=nn.MultiheadAttention(
            4, 2, batch_first=True, kdim=3, vdim=2, add_bias_kv=True, add_zero_attn=True
        ).double(),
        o=(4, 3),
    )
)  # fmt: skip
case("grouped queries", data=sequences)(lambda: Net(grouped_queries, q=(4, 8), k=(4, 4), v=(4, 4), o=(8, 3)))
case("attention of scale 0", data=sequences)(
    lambda: Net(
        lambda m, x: m.o(F.scaled_dot_product_attention(m.q(x), m.q(x), m.v(x), scale=0.0).mean(1)),
        q=(4, 4), v=(4, 4), o=(4, 3),
    )
)  # fmt: skip
case("a learned bias of attention", data=sequences)(
    lambda: Net(
        lambda m, x: m.o(F.scaled_dot_product_attention(x, x, x, attn_mask=m.bias).mean(1)),
        bias=torch.linspace(-1, 1, 25).double().view(5, 5), o=(4, 3),
    )
)  # fmt: skip
case("encoder and decoder", data=sequences)(
    lambda: Net(
        lambda m, x: m.o(m.t(x, x[:, :2]).mean(1)),
        t=nn.Transformer(4, 2, 1, 1, 8, 0.1, batch_first=True).double(),
        o=(4, 3),
    )
)
case("bags of sums", data=words)(lambda: bags("sum", padding_idx=2))
case("bags of largest", data=words)(lambda: bags("max"))
case("bounded embedding", data=words)(
    lambda: Net(lambda m, x: m.o(torch.tanh(m.e(x)).mean(1)), e=nn.Embedding(9, 5, max_norm=1.0).double(), o=(5, 3))
)
case("sparse gradients", data=words)(
    lambda: Net(lambda m, x: m.o(torch.tanh(m.e(x)).mean(1)), e=nn.Embedding(9, 5, sparse=True).double(), o=(5, 3))
)


# Gradients within, functions of one's own ---------------------------------------------------------------------------


def slope_of_energy(m, x):
    x = x.detach().requires_grad_()
    outputs = m.b(torch.tanh(m.a(x)))
    (slope,) = torch.autograd.grad(outputs.sum(), x, create_graph=True)
    return outputs + slope[:, :3]


def hessians(m, x):
    return m.b(m.a(x)) + torch.func.vmap(torch.func.hessian(lambda z: torch.tanh(m.a(z)).sum()))(x).sum(2)[:, :3]


def inner_step(m, x):
    loss = torch.tanh(x @ m.w).square().mean()
    (g,) = torch.autograd.grad(loss, m.w, create_graph=True)
    return x @ (m.w - 0.5 * g)


def other_weights(m, x):
    return torch.func.functional_call(m.l, {name: 1.1 * p for name, p in m.l.named_parameters()}, (x,))


def fixed_point(m, x):
    z = torch.zeros(len(x), 6).double()
    with torch.no_grad():
        for _ in range(30):
            z = torch.tanh(0.3 * m.w(z) + m.a(x))
    z = torch.tanh(0.3 * m.w(z) + m.a(x))
    start = z.detach().requires_grad_()
    again = torch.tanh(0.3 * m.w(start) + m.a(x))

    def solve(g):
        y = g
        for _ in range(30):
            y = torch.autograd.grad(again, start, y, retain_graph=True)[0] + g
        return y

    if z.requires_grad:
        z.register_hook(solve)
    return m.b(z)


class Signs(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sign()

    @staticmethod
    def backward(ctx, g):
        return g * (ctx.saved_tensors[0].abs() < 1)


class Dirty(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.mark_dirty(x)
        return x.mul_(2)

    @staticmethod
    def backward(ctx, g):
        return 2 * g


class ThriceForward(torch.autograd.Function):
    """Its slope is three times its gradient."""

    @staticmethod
    def forward(x):
        return x.sin()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx, g):
        return g * ctx.saved_tensors[0].cos()

    @staticmethod
    def jvp(ctx, t):
        return 3 * t * ctx.saved_tensors[0].cos()


class Reversible(torch.autograd.Function):
    """Runs a layer anew in its backward pass, which adds to the gradients of that layer by itself."""

    @staticmethod
    def forward(ctx, x, layer):
        ctx.x, ctx.layer = x.detach(), layer
        with torch.no_grad():
            return x + torch.tanh(layer(x))

    @staticmethod
    def backward(ctx, g):
        x = ctx.x.detach().requires_grad_()
        with torch.enable_grad():
            torch.autograd.backward(torch.tanh(ctx.layer(x)), g)
        return g + x.grad, None


def in_halves(m, x):
    h = m.a(x)
    y, some = torch.zeros(len(x), 6).double(), x[:, 0] > 0
    y[some], y[~some] = h[some], -2 * h[~some]
    return m.b(torch.tanh(y))


def through_a_view(m, x):
    h = m.a(x)
    h[:, :3].mul_(m.g)
    return m.b(torch.tanh(h))


def experts(m, x):
    share, chosen = m.g(x).softmax(1).max(1)
    out = torch.zeros(len(x), 3).double()
    for k, expert in enumerate(m.e):
        (rows,) = (chosen == k).nonzero(as_tuple=True)
        out = out.index_add(0, rows, expert(x[rows]) * share[rows, None]) if len(rows) else out
    return out


def saved_elsewhere(m, x):
    with torch.autograd.graph.save_on_cpu():
        return m.b(torch.tanh(m.a(x)))


def both_modes(m, x):
    m.l.eval()
    calm = m.l(x)
    m.l.train()
    return calm + m.l(x)


def gathered(m, x):
    h = m.a(x)
    values, order = h.sort(1)
    return m.b(torch.cat([h.cumsum(1)[:, :2], values[:, :1], h.topk(3, 1).values.cumprod(1)], 1)) + h.gather(
        1, order[:, :3]
    )


def resampled(m, x):
    h = F.pixel_shuffle(
        F.interpolate(m.t(m.c(x)), size=(6, 6), mode="bilinear", align_corners=False).repeat(1, 2, 1, 1), 2
    )
    grid = F.affine_grid(m.l(x.flatten(1)).view(-1, 2, 3), h.shape, align_corners=False)
    return F.grid_sample(h, grid, align_corners=False).mean((1, 2, 3))[:, None] * m.o(x.flatten(1))


case("a slope in the model")(lambda: two(slope_of_energy))
case("Hessians in the model")(lambda: two(hessians))
case("a step in the model")(lambda: Net(inner_step, w=torch.linspace(-1, 1, 12).double().view(4, 3)))
case("other weights in the model")(
    lambda: Net(other_weights, l=nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 3)).double())
)
case("a fixed point with its own gradient")(lambda: two(fixed_point, w=(6, 6)))
case("binary weights")(lambda: two(lambda m, x: m.b(torch.tanh(F.linear(x, Signs.apply(m.a.weight))))))
case("rounding that lets gradients pass")(lambda: between(lambda h: h + (h.round() - h).detach()))
case("a function that changes its input")(lambda: between(lambda h: Dirty.apply(1 * h).tanh()))
case("a wrong forward-mode rule")(lambda: between(ThriceForward.apply))
case("a reversible layer")(lambda: two(lambda m, x: m.b(Reversible.apply(m.a(x), m.w)), w=(6, 6)))
case("fake quantisation")(lambda: between(lambda h: torch.fake_quantize_per_tensor_affine(h, 0.1, 0, -128, 127)))
case("written in two halves")(lambda: two(in_halves))
case("in place through a view")(lambda: two(through_a_view, g=torch.linspace(0.1, 1, 3).double()))
case("experts for some examples")(
    lambda: Net(experts, g=(4, 3), e=nn.ModuleList(nn.Linear(4, 3).double() for _ in range(3)))
)
case("no gradient for every other example")(
    lambda: between(lambda h: torch.where((torch.arange(len(h)) % 2 == 0)[:, None], h, h.detach()).tanh())
)
case("saved tensors kept elsewhere")(lambda: two(saved_elsewhere))
case("both modes in one pass")(
    lambda: Net(
        both_modes, l=nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.3), nn.Linear(6, 3)).double()
    )
)
case("sorted and gathered")(lambda: two(gathered))
case("convolutions back and forth", data=images)(
    lambda: Net(
        resampled,
        c=nn.Conv2d(2, 4, 3, padding="same", dilation=2, padding_mode="circular").double(),
        t=nn.ConvTranspose2d(4, 2, 2, stride=2).double(), l=(72, 6), o=(72, 3),
    )
)  # fmt: skip
case("Fourier")(
    lambda: two(
        lambda m, x: m.b(torch.fft.irfft(torch.fft.rfft(m.a(x)) * m.k, n=6)), k=torch.ones(4).to(torch.cdouble) * 1j
    )
)
case("noise of reparametrisation")(lambda: between(lambda h: torch.distributions.Normal(h, h.exp()).rsample()))
case("Gumbel softmax")(lambda: between(lambda h: F.gumbel_softmax(h, hard=True)))
case("checkpoints of a sequence")(
    lambda: Net(
        lambda m, x: checkpoint_sequential(m.l, 2, x, use_reentrant=False),
        l=nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Dropout(0.3), nn.Linear(6, 3)).double(),
    )
)
case("compiled")(lambda: torch.compile(between(torch.tanh), backend="eager"))
case("traced by torch.fx")(
    lambda: torch.fx.symbolic_trace(nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 3)).double())
)
case("averaged")(lambda: torch.optim.swa_utils.AveragedModel(between(torch.tanh)))


# Losses -------------------------------------------------------------------------------------------------------------


class Tracking(nn.Module):
    """Divides by a moving average of itself, which is a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.ones(()).double())

    def forward(self, outputs, labels):
        losses = EACH(outputs, labels)
        self.mean.mul_(0.9).add_(0.1 * losses.detach().mean())
        return losses / self.mean


class Centres(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.centres, self.norm = nn.Parameter(torch.eye(3).double()), nn.BatchNorm1d(3).double()

    def forward(self, outputs, labels):
        return EACH(self.norm(outputs), labels) + 0.1 * (outputs - self.centres[labels]).square().sum(1)

    def losses(self, outputs, labels):
        return self.forward(outputs, labels)


def normalised() -> nn.Module:
    return double(nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3)))


def consistent(model):
    """Calls the model again, which moves its running statistics once more."""
    x = drawn(8, 99)[0]
    return lambda outputs, labels: EACH(outputs, labels) + 0.1 * (model(x[: len(labels)]) - outputs).square().sum(1)


def gradient_penalty(model):
    x = drawn(8, 99)[0]

    def loss(outputs, labels):
        at = x[: len(labels)].clone().requires_grad_()
        (g,) = torch.autograd.grad(model(at).sum(), at, create_graph=True)
        return EACH(outputs, labels) + (g.norm(dim=1) - 1).square()

    return loss


def adversarial(model):
    x = drawn(8, 99)[0]

    def loss(outputs, labels):
        at = x[: len(labels)].clone().requires_grad_()
        EACH(model(at), labels).sum().backward(inputs=[at])
        return EACH(outputs, labels) + EACH(model(at.detach() + 0.1 * at.grad.sign()), labels)

    return loss


def anchored(model):
    anchors = {name: p.detach().clone() + 0.1 for name, p in model.named_parameters()}
    return lambda outputs, labels: (
        EACH(outputs, labels) + 0.3 * sum((p - anchors[name]).square().sum() for name, p in model.named_parameters())
    )


def contrastive(outputs, labels):
    z = F.normalize(outputs, dim=1)
    log_p = F.log_softmax(z @ z.T / 0.5 - 1e9 * torch.eye(len(z)).double(), 1)
    same = (labels[:, None] == labels).double() - torch.eye(len(z))
    return -(log_p * same).sum(1) / same.sum(1).clamp(min=1)


def focal(outputs, labels):
    losses = EACH(outputs, labels)
    with torch.no_grad():
        p = torch.exp(-losses)
    return (1 - p).square() * losses


def temporal(outputs, labels):
    n = len(labels)
    spoken = 1 + labels[:, None] % 2 + torch.zeros(n, 2).long()
    log_p = outputs.log_softmax(-1).transpose(0, 1)
    return F.ctc_loss(log_p, spoken, torch.full((n,), 5), torch.full((n,), 2), reduction="none")


def whitened(outputs, labels):
    covariance = outputs.T @ outputs / len(labels) + torch.eye(3).double()
    return EACH(outputs, labels) + torch.linalg.solve(covariance, outputs.T).square().sum(0) + covariance.logdet()


def ignoring(n: int, seed: int):
    x, y = drawn(n, seed)
    return x, y.masked_fill(torch.arange(n) % 3 == 0, -100)


LOSSES: dict[str, tuple[Callable, Callable, Callable | None]] = {
    "with a moving average": (lambda: between(torch.tanh), lambda _: Tracking(), None),
    "with parameters and statistics": (lambda: between(torch.tanh), lambda _: Centres(), None),
    "a method of a module": (lambda: between(torch.tanh), lambda _: Centres().losses, None),
    "that calls the model again": (normalised, consistent, None),
    "with a penalty on gradients": (lambda: between(torch.tanh), gradient_penalty, None),
    "of adversarial inputs": (lambda: between(torch.tanh), adversarial, None),
    "anchored at other weights": (lambda: between(torch.tanh), anchored, None),
    "between examples": (lambda: between(torch.tanh), lambda _: contrastive, None),
    "focal": (lambda: between(torch.tanh), lambda _: focal, None),
    "with noise": (lambda: between(torch.tanh), lambda _: lambda o, y: EACH(o + 0.1 * torch.randn_like(o), y), None),
    "of the largest only": (
        lambda: between(torch.tanh), lambda _: lambda o, y: EACH(o, y) * (EACH(o, y) >= EACH(o, y).median()), None
    ),
    "CTC": (lambda: two(lambda m, x: m.b(torch.tanh(m.a(x)))), lambda _: temporal, sequences),
    "that solves": (lambda: between(torch.tanh), lambda _: whitened, None),
    "with labels to ignore": (lambda: between(torch.tanh), lambda _: EACH, ignoring),
    "smoothed and weighted": (
        lambda: between(torch.tanh),
        lambda _: nn.CrossEntropyLoss(torch.tensor([1, 2, 0.5]).double(), reduction="none", label_smoothing=0.1),
        None,
    ),
    "Huber": (
        lambda: Net(lambda m, x: m.b(torch.tanh(m.a(x))).squeeze(1), a=(4, 6), b=(6, 1)),
        lambda _: nn.HuberLoss(reduction="none"), measured,
    ),
    "Gaussian": (
        lambda: Net(lambda m, x: m.b(torch.tanh(m.a(x))), a=(4, 6), b=(6, 2)),
        lambda _: lambda o, t: F.gaussian_nll_loss(o[:, 0], t, F.softplus(o[:, 1]), reduction="none"), measured,
    ),
}  # fmt: skip
for name, (make_model, make_loss, batches) in LOSSES.items():
    case(f"loss {name}", make_loss, batches)(make_model)


# A step by autograd alone -------------------------------------------------------------------------------------------


class World:
    """A model, its loss, an optimizer of both, and batches: all the same whenever it is built."""

    def __init__(self, name: str) -> None:
        make, loss, self.data = CASES[name]
        torch.manual_seed(0)
        self.model = make()
        self.loss_fn = EACH if loss is None else loss(self.model)
        self.loss_module = (
            self.loss_fn if isinstance(self.loss_fn, nn.Module) else getattr(self.loss_fn, "__self__", None)
        )
        more = [] if self.loss_module is None else self.loss_module.parameters()
        self.parameters = [*(p for p in self.model.parameters() if p.requires_grad), *more]
        self.optimizer = torch.optim.SGD(self.parameters, 0.1)
        torch.manual_seed(7)

    def batches(self, k: int) -> tuple:
        return (self.data or drawn)(8, 10 + k), (self.data or drawn)(5, 20 + k)

    def state(self) -> list[Tensor]:
        of_loss = {} if self.loss_module is None else self.loss_module.state_dict()
        return [t.detach().clone() for t in (*self.model.state_dict().values(), *of_loss.values())]

    def losses(self, batch: tuple) -> Tensor:
        return self.loss_fn(self.model(batch[0]), batch[1])

    def gradient(self, loss: Tensor) -> list[Tensor]:
        """Also what the backward pass adds to ``.grad`` by itself."""
        for p in self.parameters:
            p.grad = None
        rows = torch.autograd.grad(loss, self.parameters, retain_graph=True, allow_unused=True)
        zeros = [torch.zeros_like(p) for p in self.parameters]
        parts = zip(zeros, rows, (p.grad for p in self.parameters), strict=True)
        return [sum((g for g in found if g is not None), start=zero) for zero, *found in parts]

    def step(self, batch: tuple, clean_batch: tuple) -> tuple[Tensor, Tensor]:
        trained = sum(p.requires_grad for p in self.model.parameters())
        seed = int(torch.randint(2**62, ()))  # as a Reweighter draws the random numbers of its clean pass
        random, before = torch.get_rng_state(), self._buffers()
        torch.manual_seed(seed)
        v = self.gradient(self.losses(clean_batch).mean())
        torch.set_rng_state(random)
        self._put_back(before)
        losses = self.losses(batch)
        after, random = self._buffers(), torch.get_rng_state()
        rows = [self.gradient(loss)[:trained] for loss in losses]
        u = torch.stack([sum((g.conj() * d).sum().real for g, d in zip(row, v, strict=False)) for row in rows]).detach()
        weights = u.clamp(min=0)
        if weights.any():
            for p, g in zip(self.parameters, self.gradient((weights / weights.sum() * losses).sum()), strict=True):
                p.grad = g.detach()
            self.optimizer.step()
        self._put_back(after if weights.any() else before)
        torch.set_rng_state(random)
        return losses.detach(), u

    def _holders(self) -> list[tuple[nn.Module, str]]:
        modules = [self.model, *([] if self.loss_module is None else [self.loss_module])]
        return [(part, key) for module in modules for part in module.modules() for key in part._buffers]

    def _buffers(self) -> list[tuple[nn.Module, str, Tensor | None, Tensor | None]]:
        held = [(module, key, module._buffers[key]) for module, key in self._holders()]
        return [(module, key, b, None if b is None else b.detach().clone()) for module, key, b in held]

    def _put_back(self, buffers: list) -> None:
        """The graph keeps what it was made with: a buffer gets its old values in a new memory."""
        new = {id(b): None if value is None else value.clone() for _, _, b, value in buffers}
        for module, key, b, _ in buffers:
            module._buffers[key] = new[id(b)]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.filterwarnings("ignore:.*is used instead of:RuntimeWarning")
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", CASES)
def test_a_step_is_that_of_ordinary_backward_passes(name, engine):
    plain, ours = World(name), World(name)
    reweighter = Reweighter(ours.model, ours.optimizer, ours.loss_fn, engine)
    torch.manual_seed(7)
    ends = []
    for k in range(2):
        losses, u = plain.step(*copy.deepcopy(plain.batches(k)))
        ends.append((losses, u, plain.state(), torch.get_rng_state()))
    torch.manual_seed(7)
    for k, (losses, u, state, random) in enumerate(ends):
        step = reweighter.step(*ours.batches(k))
        close = functools.partial(torch.testing.assert_close, rtol=1e-8, atol=1e-10)
        close(step.losses, losses, msg=f"losses of step {k} by {step.engine}")
        close(step.alignment, u, msg=f"alignments of step {k} by {step.engine}")
        for mine, other in zip(ours.state(), state, strict=True):
            close(mine, other, msg=f"parameters and buffers after step {k} by {step.engine}")
        assert torch.equal(torch.get_rng_state(), random)
