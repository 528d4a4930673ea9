"""Models that do what an engine does not expect: slopes are those of ordinary backward passes, or there is an error.

The reference is a row of the Jacobian for each example, in double precision, by PyTorch alone.
"""

import copy
import importlib
import logging
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from architectures import EXACT
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from l2rw_core import Reweighter
from l2rw_core.scoring import score

EACH = nn.CrossEntropyLoss(reduction="none")


def drawn(n: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 4, generator=generator).double(), torch.randint(3, (n,), generator=generator)


class Net(nn.Module):
    """`f(self, *inputs)` with some layers (a pair of sizes) and parameters (a tensor)."""

    def __init__(self, f: Callable, **parts) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.f = f
        for name, part in parts.items():
            made = nn.Linear(*part).double() if isinstance(part, tuple) else part
            setattr(self, name, nn.Parameter(made) if isinstance(made, Tensor) else made)

    def forward(self, *inputs, **named):
        return self.f(self, *inputs, **named)


def between(f: Callable) -> Net:
    """Two layers with `f` between them."""
    return Net(lambda m, x: m.b(f(m.a(x))), a=(4, 6), b=(6, 3))


def reference(model, loss_fn, batch, clean) -> Tensor:
    """u by n + 1 ordinary backward passes."""
    parameters = [p for p in model.parameters() if p.requires_grad]

    def gradient(loss: Tensor) -> list[Tensor | None]:
        return torch.autograd.grad(loss, parameters, allow_unused=True)

    def call(inputs):
        return (
            model(**inputs)
            if isinstance(inputs, dict)
            else model(*inputs)
            if isinstance(inputs, tuple)
            else model(inputs)
        )

    v = gradient(loss_fn(call(clean[0]), clean[1]).mean())
    rows = [gradient(loss_fn(call(batch[0]), batch[1])[i]) for i in range(len(batch[1]))]

    def inner(row):
        return sum(
            (g.to_dense().conj() * w.to_dense()).sum().real
            for g, w in zip(row, v, strict=True)
            if g is not None and w is not None
        )

    return torch.stack([torch.as_tensor(inner(row)) for row in rows])


# Models that hide something ----------------------------------------------------------------------------------------


@torch.library.custom_op("l2rw_tests::square", mutates_args=())
def square(x: Tensor) -> Tensor:
    return x * x


square.register_autograd(
    lambda ctx, g: 2 * g * ctx.saved_tensors[0],
    setup_context=lambda ctx, inputs, output: ctx.save_for_backward(inputs[0]),
)


def without_graph_in_inference(x):
    """As functions of torch.nn.functional are written, with a path of its own for inference."""
    if torch.overrides.has_torch_function_unary(x):
        return torch.overrides.handle_torch_function(without_graph_in_inference, (x,), x)
    return torch.tanh(x) if torch.is_grad_enabled() else torch.tanh(x.detach())


def scripted(function):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch deprecates it, and models have it
        return torch.jit.script(function)


def swish(x: Tensor):
    return x * torch.sigmoid(x)


swish = scripted(swish)


def with_scripted_layer() -> nn.Module:
    model = between(torch.tanh)
    model.b = scripted(model.b)
    return model


def constant_scale(h):
    with torch.no_grad():
        scale = h.norm(dim=1, keepdim=True)
    return F.normalize(torch.tanh(h), dim=1) * scale


class Kernel(torch.autograd.Function):
    """Its backward pass records no graph, as that of a compiled kernel."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        with torch.no_grad():
            return 2 * g * ctx.saved_tensors[0]


class OnceOnly(torch.autograd.Function):
    """Lets go of what it needs in its first backward pass."""

    @staticmethod
    def forward(ctx, x):
        ctx.x = x
        return x * x

    @staticmethod
    def backward(ctx, g):
        x, ctx.x = ctx.x, None
        if x is None:
            raise RuntimeError("was freed")
        return 2 * g * x


class ByNumpy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.x = x.detach().numpy().copy()
        return torch.from_numpy(np.sin(ctx.x))

    @staticmethod
    def backward(ctx, g):
        return torch.from_numpy(g.numpy() * np.cos(ctx.x))


class Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, g):
        return -g


def hooked(h):
    if h.requires_grad:
        h.register_hook(lambda g: -0.5 * g)
    return torch.tanh(h)


def with_parameter_hook() -> nn.Module:
    model = between(torch.tanh)
    model.a.weight.register_hook(lambda g: 3 * g)
    return model


def with_module_hook() -> nn.Module:
    model = between(torch.tanh)
    model.b.register_full_backward_hook(lambda module, inputs, outputs: tuple(2 * g for g in inputs))
    return model


def parameter_in_a_list() -> nn.Module:
    model = Net(lambda m, x: m.b(torch.tanh(m.a(x)) * m.held[0]), a=(4, 6), b=(6, 3), w=torch.ones(6).double())
    model.held = [model.w]
    return model


def parameter_in_a_closure() -> nn.Module:
    w = nn.Parameter(torch.ones(6).double())
    model = between(lambda h: torch.tanh(h) * w)
    model.w = w
    return model


def skew(m, x):
    k = torch.zeros(3, 3).double()
    rows, columns = torch.triu_indices(3, 3, 1)
    k[rows, columns] = m.p
    return m.b(torch.tanh(m.a(x)) @ (k - k.T))


def attending(mask: Tensor):
    def f(m, x):
        tokens = torch.stack([x * 0, x, x.flip(1)], 1)
        for q, k, v, o in ((m.q, m.k, m.v, m.o), (m.q2, m.k2, m.v2, m.o2)):
            tokens = tokens + o(F.scaled_dot_product_attention(q(tokens), k(tokens), v(tokens), attn_mask=mask))
        return m.h(tokens[:, 0] + tokens[:, -1])

    names = ("q", "k", "v", "o", "q2", "k2", "v2", "o2")
    return lambda: Net(f, **dict.fromkeys(names, (4, 4)), h=(4, 3))


SEEN = torch.tensor([[0, 0, 0], [0, 1, 0], [0, 1, 1]]).bool()
W = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).double()
Z = torch.eye(4, 3).to(torch.cdouble)

MODELS = {
    "rows that see no key": attending(SEEN),
    "rows that see no key, by numbers": attending(torch.zeros(3, 3).double().masked_fill(~SEEN, -torch.inf)),
    "custom operator": lambda: between(square),
    "a path for inference": lambda: between(without_graph_in_inference),
    "parameter in a list": parameter_in_a_list,
    "parameter in a closure": parameter_in_a_closure,
    "scripted function": lambda: between(swish),
    "scripted layer": with_scripted_layer,
    "no gradient inside": lambda: between(constant_scale),
    "a backward pass without graph": lambda: between(Kernel.apply),
    "a backward pass that runs once": lambda: between(OnceOnly.apply),
    "a backward pass in NumPy": lambda: between(ByNumpy.apply),
    "no forward mode": lambda: between(Reversal.apply),
    "parameter by item assignment": lambda: Net(skew, p=torch.tensor([1.5, -0.3, 0.8]).double(), a=(4, 3), b=(3, 3)),
    "hook on a tensor": lambda: between(hooked),
    "hook on a parameter": with_parameter_hook,
    "hook on a module": with_module_hook,
    "complex tanh": lambda: Net(
        lambda m, x: m.o(torch.tanh(x.to(torch.cdouble) @ m.w * 0.3).abs()), w=torch.complex(W, W.flip(0)), o=(3, 3)
    ),
    "complex parameters": lambda: Net(lambda m, x: (x.to(Z.dtype) @ m.w).abs(), w=Z + 1j),
    "numbers times numbers": lambda: Net(
        lambda m, x: F.linear(x, m.w) * (torch.tensor(2.0).double() * m.t), w=W.T.clone(), t=torch.tensor(0.5).double()
    ),
    "forward mode inside": lambda: Net(
        lambda m, x: torch.func.jvp(lambda q: torch.tanh(q @ m.w), (x,), (torch.ones_like(x),))[1], w=W.clone()
    ),
    "vmap over parameters": lambda: Net(
        lambda m, x: torch.vmap(lambda v: torch.tanh(x @ v))(m.w).mean(0), w=torch.stack([W, -W, 2 * W])
    ),
    "sparse inputs": lambda: Net(lambda m, x: x.to_sparse_csr() @ m.w, w=W.clone()),
    "no second derivative": lambda: between(F.hardsigmoid),
    "checkpointing": lambda: Net(
        lambda m, x: m.b(checkpoint(lambda z: torch.tanh(m.n(m.a(z))), x, use_reentrant=False)),
        a=(4, 6), n=nn.BatchNorm1d(6).double(), b=(6, 3),
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Sparse CSR:UserWarning")
@pytest.mark.filterwarnings("ignore:.*is used instead of:RuntimeWarning")
@pytest.mark.parametrize("engine", EXACT)
@pytest.mark.parametrize("name", MODELS)
def test_slopes_are_those_of_ordinary_backward_passes(name, engine):
    model, batch, clean = MODELS[name](), drawn(4, 1), drawn(3, 2)
    expected = reference(model, EACH, batch, clean)
    for call in ("first", "second"):
        found = score(model, EACH, batch, clean, engine)
        torch.testing.assert_close(found.alignment, expected, rtol=1e-9, atol=1e-12, msg=f"{call} call, {found.engine}")
        torch.testing.assert_close(found.losses.detach(), EACH(model(batch[0]), batch[1]).detach(), rtol=1e-12, atol=0)


@pytest.mark.filterwarnings("ignore:Sparse CSR:UserWarning")
@pytest.mark.filterwarnings("ignore:.*is used instead of:RuntimeWarning")
@pytest.mark.parametrize("engine", [engine for engine in EXACT if engine != "loop"])
@pytest.mark.parametrize("name", MODELS)
def test_training_is_the_same_as_by_ordinary_backward_passes(name, engine):
    model, other = MODELS[name](), MODELS[name]()
    batch, clean = drawn(8, 1), drawn(5, 2)
    for m, e in ((model, engine), (other, "loop")):
        reweighter = Reweighter(m, torch.optim.SGD(m.parameters(), 0.1), EACH, e)
        for _ in range(5):
            reweighter.step(batch, clean)
    for (key, p), q in zip(model.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-8, atol=1e-10, msg=key)
        assert p.isfinite().all()


def penalised(model: nn.Module) -> Callable:
    return lambda outputs, labels: EACH(outputs, labels) + 0.1 * sum(p.square().sum() for p in model.parameters())


@pytest.mark.filterwarnings("ignore:.*is used instead of:RuntimeWarning")
@pytest.mark.parametrize("engine", EXACT)
def test_a_penalty_in_the_loss_counts(engine):
    model, other, batch, clean = between(torch.tanh), between(torch.tanh), drawn(4, 1), drawn(3, 2)
    expected = reference(model, penalised(model), batch, clean)
    torch.testing.assert_close(
        score(model, penalised(model), batch, clean, engine).alignment, expected, rtol=1e-9, atol=1e-12
    )
    for m, e in ((model, engine), (other, "loop")):
        reweighter = Reweighter(m, torch.optim.SGD(m.parameters(), 0.5), penalised(m), e)
        for _ in range(5):
            reweighter.step(batch, clean)
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(p, q)


@pytest.mark.parametrize("engine", ["forward", "two_pass", "lookahead"])
def test_a_loss_sees_the_stand_ins_of_the_model(engine):
    """So a penalty is no reason for a slower engine, and no warning."""
    model, batch, clean = between(torch.tanh), drawn(4, 1), drawn(3, 2)
    assert score(model, penalised(model), batch, clean, engine).engine == engine


def test_a_gradient_within_a_model_is_named_as_the_reason():
    def with_slope(m, x):
        x = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(torch.tanh(m.a(x)).sum(), x, create_graph=True)
        return m.b(torch.tanh(m.a(x))) + slope[:, :3]

    model = Net(with_slope, a=(4, 6), b=(6, 3))
    with pytest.warns(RuntimeWarning, match="^a gradient is taken within the model or its loss; engine"):
        found = score(model, EACH, drawn(4, 1), drawn(3, 2))
    torch.testing.assert_close(found.alignment, reference(model, EACH, drawn(4, 1), drawn(3, 2)))


def test_a_batch_is_not_blamed_where_another_engine_takes_it():
    def picky(h):
        if type(h) is not Tensor:
            raise TypeError("a plain tensor is wanted")
        return torch.tanh(h)

    with pytest.warns(RuntimeWarning, match='^a plain tensor is wanted; engine "two_pass"'):
        score(between(picky), EACH, drawn(4, 1), drawn(3, 2))


class Restarted(torch.autograd.Function):
    """Its backward pass runs a layer anew, and so writes to the gradients of that layer by itself."""

    @staticmethod
    def forward(ctx, x, layer):
        ctx.x, ctx.layer = x.detach(), layer
        with torch.no_grad():
            return layer(x)

    @staticmethod
    def backward(ctx, g):
        x = ctx.x.detach().requires_grad_()
        with torch.enable_grad():
            ctx.layer(x).backward(g)
        return x.grad, None


@pytest.mark.filterwarnings("ignore:.*is used instead of:RuntimeWarning")
@pytest.mark.parametrize("engine", EXACT)
def test_gradients_that_a_backward_pass_writes_by_itself_count_and_do_not_stay(engine):
    parts = {"a": (4, 6), "b": (6, 3), "c": (6, 6)}
    odd = Net(lambda m, x: m.b(torch.tanh(Restarted.apply(m.a(x), m.c))), **parts)
    plain = Net(lambda m, x: m.b(torch.tanh(m.c(m.a(x)))), **parts)
    batch, clean = drawn(4, 1), drawn(3, 2)
    odd.c.weight.grad = kept = torch.ones(6, 6).double()
    found = score(odd, EACH, batch, clean, engine)
    torch.testing.assert_close(found.alignment, reference(plain, EACH, batch, clean))
    assert odd.c.weight.grad is kept
    assert kept.eq(1).all()
    assert odd.c.bias.grad is None


class Switched(nn.Module):
    """Examples interact once a flag, or a function, says so."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.on, self.last = between(torch.tanh), False, torch.clone

    def forward(self, x):
        outputs = self.last(self.inner(x))
        return outputs - outputs.mean(0) if self.on else outputs


class Centring(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.on = False

    def forward(self, outputs, labels):
        return EACH(outputs - outputs.mean(0) if self.on else outputs, labels)


SWITCHES = {
    "a flag of the model": lambda model, loss: setattr(model, "on", True),
    "a function of the model": lambda model, loss: setattr(model, "last", lambda h: h - h.mean(0)),
    "a flag of the loss": lambda model, loss: setattr(loss, "on", True),
}


@pytest.mark.parametrize("switch", SWITCHES)
def test_ghost_decides_again_when_something_is_switched(switch):
    batch, clean = drawn(8, 1), drawn(5, 2)
    model, loss_fn = Switched(), Centring()
    assert score(model, loss_fn, batch, clean, "ghost").engine == "ghost"
    SWITCHES[switch](model, loss_fn)
    found = score(model, loss_fn, batch, clean, "ghost")
    torch.testing.assert_close(found.alignment, reference(model, loss_fn, batch, clean))


def test_threads_do_not_share_a_level_of_dual_numbers():
    """PyTorch has one for all of them; whoever leaves it takes the slopes of the others along."""
    importlib.import_module("torch._dynamo")
    batch, clean = drawn(8, 1), drawn(5, 2)
    expected = reference(between(F.normalize), EACH, batch, clean)

    def found(engine: str, model: nn.Module) -> float:
        scores = (score(model, EACH, batch, clean, engine, check=False) for _ in range(30))
        return max(float((s.alignment - expected).abs().max()) for s in scores)

    models = [between(F.normalize) for _ in range(4)]
    with warnings.catch_warnings(), ThreadPoolExecutor(4) as threads:
        warnings.simplefilter("error")
        assert max(threads.map(found, ["two_pass", "forward"] * 2, models)) < 1e-12
    assert torch._dynamo.eval_frame._stance.stance == "default"


class Scale(nn.Module):
    """A loss with a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.t = nn.Parameter(torch.zeros(3).double())

    def forward(self, outputs, labels):
        return EACH(outputs * self.t.exp(), labels)


@pytest.mark.parametrize("engine", EXACT)
def test_a_loss_with_parameters_is_trained(engine):
    trained = []
    for e in (engine, "loop"):
        model, loss_fn = between(torch.tanh), Scale()
        reweighter = Reweighter(model, torch.optim.SGD([*model.parameters(), *loss_fn.parameters()], 0.5), loss_fn, e)
        for _ in range(10):
            reweighter.step(drawn(4, 1), drawn(3, 2))
        trained.append(loss_fn.t.detach())
    assert trained[1].abs().max() > 0.01
    torch.testing.assert_close(*trained)


def test_ghost_decides_again_when_a_signal_was_zero():
    def network() -> nn.Module:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8, affine=False), nn.Linear(8, 3)).double()
        nn.init.zeros_(model[2].weight)
        return model

    models = {}
    for engine in ("ghost", "forward"):
        model = models[engine] = network()
        reweighter = Reweighter(model, torch.optim.SGD(model.parameters(), 0.5), EACH, engine)
        engines = [(reweighter.step(drawn(16, 1), drawn(16, 2)), reweighter.engine)[1] for _ in range(3)]
        assert engines[1:] == ["forward", "forward"]
    for p, q in zip(models["ghost"].parameters(), models["forward"].parameters(), strict=True):
        torch.testing.assert_close(p, q)


@pytest.mark.parametrize("engine", [engine for engine in EXACT if engine != "lookahead"])
def test_sparse_gradients_are_stepped_along(engine):
    def network() -> nn.Module:
        torch.manual_seed(0)
        embedding = nn.Embedding(9, 6, sparse=True).double()
        return Net(lambda m, tokens: m.o(F.normalize(m.e(tokens).mean(1), dim=1)), e=embedding, o=(6, 3))

    words = {n: (torch.arange(4 * n).view(n, 4) % 9, torch.arange(n) % 3) for n in (8, 5)}
    moved = []
    for e in (engine, "loop"):
        model = network()
        Reweighter(model, torch.optim.SGD(model.parameters(), 0.5), EACH, e).step(words[8], words[5])
        moved.append(model.e.weight.detach())
    torch.testing.assert_close(*moved)
    assert not torch.equal(moved[0], network().e.weight)


# What stays as it was ----------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*is used instead of:RuntimeWarning")
@pytest.mark.parametrize("engine", EXACT)
def test_inputs_that_a_model_changes_in_place_are_changed_once(engine):
    def model() -> nn.Module:
        return Net(lambda m, x: m.b(Kernel.apply(torch.tanh(m.a(x.sub_(1))))), a=(4, 6), b=(6, 3))

    copied = Net(lambda m, x: m.inner(x.clone()), inner=model())
    expected = reference(copied, EACH, drawn(4, 1), drawn(3, 2))
    batch, clean = drawn(4, 1), drawn(3, 2)
    found = score(model(), EACH, batch, clean, engine)
    torch.testing.assert_close(found.alignment, expected)
    torch.testing.assert_close(batch[0], drawn(4, 1)[0] - 1)
    torch.testing.assert_close(clean[0], drawn(3, 2)[0] - 1)


@pytest.mark.filterwarnings("ignore:.*is used instead of:RuntimeWarning")
@pytest.mark.parametrize("engine", EXACT)
@pytest.mark.parametrize("function", [Reversal.apply, Kernel.apply, hooked, torch.tanh], ids=lambda f: f.__qualname__)
def test_dropout_masks_do_not_depend_on_the_engine(engine, function):
    model, after = between(lambda h: function(F.dropout(h, 0.5))), []
    losses = []
    for e in (engine, "loop"):
        torch.manual_seed(7)
        losses.append(score(model, EACH, drawn(4, 1), drawn(3, 2), e).losses.detach())
        after.append(torch.rand(()))
    torch.testing.assert_close(*losses)
    assert after[0] == after[1]


@pytest.mark.filterwarnings("ignore:.*is used instead of:RuntimeWarning")
@pytest.mark.parametrize("engine", EXACT)
def test_checkpointing_leaves_running_statistics_alone(engine):
    model = MODELS["checkpointing"]()
    before = copy.deepcopy(model.state_dict())
    score(model, EACH, drawn(4, 1), drawn(3, 2), engine)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_checkpointing_moves_running_statistics_as_in_plain_training():
    step, loss, plain = (MODELS["checkpointing"]() for _ in range(3))
    batch, clean = drawn(4, 1), drawn(3, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Reweighter(step, torch.optim.SGD(step.parameters(), 0.0), EACH).step(batch, clean)
        Reweighter(loss, None, EACH).loss(batch, clean).backward()
    EACH(plain(batch[0]), batch[1]).mean().backward()
    for name, value in plain.n.state_dict().items():
        if name.startswith(("running", "num")):
            torch.testing.assert_close(step.n.state_dict()[name], value)
            torch.testing.assert_close(loss.n.state_dict()[name], value)


# Batches ----------------------------------------------------------------------------------------------------------


def test_labels_count_the_examples():
    edges, (x, y) = torch.zeros(2, 9).long(), drawn(4, 1)
    graph = Net(lambda m, edges, x: m.l(x), l=(4, 3))
    parts = ({"edges": edges, "x": x}, y)
    torch.testing.assert_close(score(graph, EACH, parts, parts).alignment, reference(graph, EACH, parts, parts))
    late = Net(lambda m, x: m.l(x)[0][-1], l=nn.LSTM(4, 3).double())
    sequences = torch.randn(5, 4, 4).double(), y
    torch.testing.assert_close(
        score(late, EACH, sequences, sequences).alignment, reference(late, EACH, sequences, sequences)
    )


def test_labels_count_a_list_of_images_of_any_size():
    model = Net(
        lambda m, parts: m.b(torch.stack([torch.tanh(m.a(part)).mean(0) for part in parts])), a=(4, 6), b=(6, 3)
    )

    def listed(n, seed):
        x, y = drawn(n, seed)
        return ([x[i : i + 1].expand(1 + i % 3, 4) for i in range(n)],), y

    batch, clean = listed(4, 1), listed(3, 2)
    found = score(model, EACH, batch, clean)
    assert found.engine == "forward"
    torch.testing.assert_close(found.alignment, reference(model, EACH, batch, clean))


def test_a_packed_sequence_is_one_input():
    packed = nn.utils.rnn.pack_sequence([torch.randn(k, 4).double() for k in (3, 2, 2, 1)])
    model = Net(lambda m, x: m.l(x)[1][-1], l=nn.GRU(4, 3).double())
    batch = packed, drawn(4, 1)[1]
    expected = reference(
        Net(lambda m, d: model(d["x"]), l=model),
        EACH,
        ({"d": {"x": packed}}, batch[1]),
        ({"d": {"x": packed}}, batch[1]),
    )
    torch.testing.assert_close(score(model, EACH, batch, batch).alignment, expected)


@pytest.mark.filterwarnings("ignore:.*is used instead of:RuntimeWarning")
def test_jagged_tensors_go_to_an_engine_that_takes_them():
    jagged = torch.nested.nested_tensor([torch.randn(k, 4).double() for k in (3, 2, 2, 1)], layout=torch.jagged)
    model = Net(lambda m, x: torch.nested.to_padded_tensor(m.l(x), 0.0).mean(1), l=(4, 3))
    batch = jagged, drawn(4, 1)[1]
    torch.testing.assert_close(score(model, EACH, batch, batch).alignment, reference(model, EACH, batch, batch))


# What an engine follows, and what it says where it cannot ---------------------------------------------------------


def filled(h):
    z = torch.zeros_like(h)
    z[:] = h
    return z


EYE = torch.eye(6).double()
FOLLOWED = {
    "F.normalize": F.normalize,
    "torch.norm": lambda h: h / torch.norm(h, dim=1, keepdim=True),
    "tensordot": lambda h: torch.tensordot(h, EYE, 1),
    "fill": filled,
    "index_add_": lambda h: h.new_zeros(h.shape).index_add_(0, torch.arange(len(h)), h),
    "scatter_add_": lambda h: h.new_zeros(h.shape).scatter_add_(1, torch.arange(6).expand_as(h), h),
    "matmul(other=)": lambda h: h.matmul(other=EYE),
    "round": lambda h: h + torch.round(h),
    "retain_grad": lambda h: (h.retain_grad() if h.requires_grad else None, h)[1],
}


@pytest.mark.parametrize("name", FOLLOWED)
def test_stays_in_the_fastest_engine_without_a_word(name):
    model, batch, clean = between(FOLLOWED[name]), drawn(4, 1), drawn(3, 2)
    found = score(model, EACH, batch, clean)
    assert found.engine == "forward"
    torch.testing.assert_close(found.alignment, reference(model, EACH, batch, clean))


@pytest.mark.parametrize("name", [name for name in MODELS if "see no key" in name])
def test_rows_that_see_no_key_are_no_matter_for_another_engine(name):
    model, batch, clean = MODELS[name](), drawn(4, 1), drawn(3, 2)
    found = score(model, EACH, batch, clean, check=False)
    assert found.engine == "forward"
    plain, ours = (
        torch.autograd.grad(f.sum(), list(model.parameters())) for f in (EACH(model(batch[0]), batch[1]), found.losses)
    )
    for g, other in zip(plain, ours, strict=True):
        torch.testing.assert_close(g, other)


def test_layer_norm_under_autocast_stays_in_the_fastest_engine():
    model = nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 3))
    batch, clean = ((x.float(), y) for x, y in (drawn(4, 1), drawn(3, 2)))
    exact = score(model, EACH, batch, clean).alignment
    with torch.autocast("cpu", torch.bfloat16):
        found = score(model, EACH, batch, clean)
    assert found.engine == "forward"
    assert F.cosine_similarity(found.alignment.float(), exact, dim=0) > 0.99


ENDS = {
    "custom operator": ("reverse", "square.* has no derivative in forward mode"),
    "scripted function": ("reverse", "code that was not seen"),
    "a backward pass without graph": ("loop", "no derivative, as that of a custom autograd.Function may"),
    "no forward mode": ("reverse", "custom autograd.Function has no forward-mode derivative"),
    "hook on a parameter": ("reverse", "a hook on the parameter a.weight"),
    "hook on a module": ("reverse", "a backward hook on b"),
    "hook on a tensor": ("reverse", "a hook on a tensor"),
    "checkpointing": ("reverse", "activation checkpointing"),
}


@pytest.mark.parametrize("name", ENDS)
def test_one_warning_names_the_reason_and_the_engine_stays(name, caplog):
    caplog.set_level(logging.INFO, "l2rw_core")
    engine, reason = ENDS[name]
    model = MODELS[name]()
    reweighter = Reweighter(model, torch.optim.SGD(model.parameters(), 0.1), EACH)
    words = rf'{reason}.*engine "{engine}" is used instead of "forward"'
    with pytest.warns(RuntimeWarning, match=words) as caught:
        [reweighter.step(drawn(8, 1), drawn(5, 2)) for _ in range(3)]
    assert len([w for w in caught if "is used instead of" in str(w.message)]) == 1
    assert caught[0].filename == __file__
    assert reweighter.engine == engine
