"""Alignments and the weighted gradient from one backward pass, for models whose examples do not interact.

The gradient of a loss by the weight of a layer is made of two things: what entered the layer, and the signal that is
propagated back to its output (Appendix A). Both serve twice. With the clean gradient in place of the layer's weight
they give the alignments; with each example's signal scaled by its weight they give the gradient of the weighted loss.
A plain step makes the same products, so beside it only those with the clean gradient are new.

It works for layers that are linear in their parameters: fully connected layers, convolutions, embeddings, and the scale
and shift of a normalisation. A model that uses a parameter in another way is `Unsuited`. Where examples interact, as in
batch normalisation while training, a signal belongs to more than one example, and the result is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from l2rw_core.engines.attention import COMPOSED
from l2rw_core.engines.dual import check_not_recomputed, nothing_recomputed
from l2rw_core.engines.identity import agree, inner_product, uneven
from l2rw_core.engines.passes import (
    Batch,
    Passes,
    Tensors,
    Unfollowed,
    check_batch,
    check_unhooked,
    is_unread,
    leaves,
    loss_module,
    makeup,
    random_state,
    restore,
    set_aside,
    switches,
    uncompiled,
)

_without_parameters = torch._C.DisableTorchFunctionSubclass


class Unsuited(Unfollowed):
    """The model uses a parameter, or the memory of what enters a layer, in a way that has no rule here."""


@dataclass
class Tape:
    """The uses of parameters in one forward pass over n examples."""

    n: int
    device: torch.device
    uses: list[Use] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.anchor = torch.zeros((), device=self.device, requires_grad=True)
        """Makes every layer's output part of the graph, although no parameter is."""

    def parameters(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Stand-ins for a model's parameters, whose uses are recorded."""
        return {name: Parameter(value, name, self) for name, value in values.items()}

    def propagate(self, losses: Tensor, parameters: Tensors) -> None:
        """Collect the signals: gradients of each example's loss by the output of each layer.

        Raises:
            Unsuited: if one of these parameters is reached otherwise than by a stand-in.
        """
        with set_aside(parameters) as aside:
            _, *around = torch.autograd.grad(losses.sum(), [self.anchor, *parameters.values()], allow_unused=True)
        if aside or any(g is not None for g in around):
            raise Unsuited("a parameter is reached around the model, as by a penalty in the loss")
        self.uses = [use for use in self.uses if use.signal is not None]
        if any(use.x._version != use.version for use in self.uses):
            raise Unsuited("what entered a layer was changed in place afterwards")

    def alignment(self, direction: dict[str, Tensor]) -> Tensor:
        """(n,) inner products of each example's gradient with `direction`, which has a tensor for each parameter."""
        return torch.stack([use.alignment(direction) for use in self.uses]).sum(0)

    def attached(self, losses: Tensor, parameters: dict[str, Tensor]) -> Tensor:
        """The losses as a function of the parameters, so that a weighted sum of them can be differentiated, once."""
        return _Losses.apply(losses.detach(), self, tuple(parameters), *parameters.values())

    def gradient(self, weights: Tensor) -> dict[str, Tensor]:
        """Gradient of ``sum_i weights_i * loss_i`` by each parameter that the losses reach, by name."""
        if torch.is_grad_enabled() or not self.uses:
            raise RuntimeError(
                'engine "ghost" differentiates its losses once, and not twice: ask for engine="forward", or score the '
                "batch again"
            )
        total: dict[str, Tensor] = {}
        while self.uses:  # a signal is as large as its layer's output: let go of each as soon as it has served
            for parameter, gradient in self.uses.pop().gradients(weights):
                gradient = gradient.to(parameter.value.dtype)
                total[parameter.key] = total[parameter.key] + gradient if parameter.key in total else gradient
        return total


class Parameter(Tensor):
    """Stands for a parameter in a forward pass, and records where it is used."""

    value: Tensor
    key: str
    """Its name in the model."""
    tape: Tape

    @staticmethod
    def __new__(cls: type[Parameter], value: Tensor, key: str, tape: Tape) -> Parameter:
        parameter = value.detach().as_subclass(cls)
        parameter.value, parameter.key, parameter.tape = value.detach(), key, tape
        return parameter

    @classmethod
    def __torch_function__(cls, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func in COMPOSED and (out := COMPOSED[func](*args, **kwargs)) is not None:
            return out
        with _without_parameters():
            check_not_recomputed()
            if func in _RULES:
                return _RULES[func](*args, **kwargs)
            out = func(*_values(args), **_values(kwargs))
            # Nothing comes out of x[i] = parameter; a shape, a type or a device is no use of a parameter.
            if any(leaf is None or isinstance(leaf, Tensor) for leaf in tree_leaves(out, is_leaf=_is_none)):
                raise Unsuited(f"a parameter is used in {getattr(func, '__name__', func)}")
            return out


def _is_none(tree: Any) -> bool:
    return tree is None


def _values(tree: Any) -> Any:
    return tree_map_only(Parameter, lambda parameter: parameter.value, tree)


@dataclass(frozen=True)
class Layer:
    """A layer that is linear in its weight and its bias together."""

    apply: Callable[..., Tensor]
    """Output for (x, weight, bias, *rest)."""
    weight_gradient: Callable[..., Tensor]
    """For (signal, x, weight, *rest)."""
    bias_gradient: Callable[..., Tensor]
    """For (signal, weights of the examples, shape of the bias, *rest)."""
    of_x: bool = False
    """Whether its weight's gradient is linear in x as in the signal, so that either may be scaled."""


@dataclass(eq=False)
class Use:
    """One use of a layer; weight and bias are `Parameter` where they are trained."""

    layer: Layer
    x: Tensor
    weight: Tensor
    bias: Tensor | None
    rest: tuple
    version: int
    signal: Tensor | None = None

    def alignment(self, direction: dict[str, Tensor]) -> Tensor:
        def along(p: Tensor | None) -> Tensor | None:
            return direction[p.key] if isinstance(p, Parameter) else None if p is None else torch.zeros_like(p)

        assert self.signal is not None, "propagate has let go of uses that no loss depends on"
        change = self.layer.apply(self.x, along(self.weight), along(self.bias), *self.rest)
        single = torch.promote_types(self.signal.dtype, torch.float32)
        alike = change.dtype == self.signal.dtype
        terms = change.mul_(self.signal) if alike else change * self.signal  # new memory takes longer than the product
        return terms.sum(tuple(range(1, change.ndim)), dtype=single)

    def gradients(self, weights: Tensor) -> list[tuple[Parameter, Tensor]]:
        assert self.signal is not None, "propagate has let go of uses that no loss depends on"
        x, signal, pairs = self.x, self.signal, []
        if isinstance(self.bias, Parameter):
            pairs.append((self.bias, self.layer.bias_gradient(signal, weights, self.bias.value.shape, *self.rest)))
        if isinstance(self.weight, Parameter):
            if self.layer.of_x and x.numel() < signal.numel():
                x = _each_times(x.to(signal.dtype), weights)
            else:
                x, signal = x.to(signal.dtype) if x.is_floating_point() else x, _each_times(signal, weights)
            pairs.append((self.weight, self.layer.weight_gradient(signal, x, self.weight.value, *self.rest)))
        return pairs


@dataclass(eq=False)
class Scaling(Use):
    """A scale and a shift of every place: summed over the places once, for alignment and gradient alike."""

    sums: list[tuple[Parameter, Tensor]] | None = None
    """For weight and bias, where they are trained, each example's gradient (n, ...)."""

    def alignment(self, direction: dict[str, Tensor]) -> Tensor:
        if self.sums is None:
            if self.signal is None or self.signal[0].numel() == self.weight.numel():
                return super().alignment(direction)  # there is a single place
            self.sums = list(self._sums(self.signal))
            self.x = self.signal = self.x.new_empty(0)  # they have served
        return torch.stack([(s * direction[p.key].to(s.dtype)).view(len(s), -1).sum(1) for p, s in self.sums]).sum(0)

    def _sums(self, signal: Tensor) -> Iterator[tuple[Parameter, Tensor]]:
        single = torch.promote_types(signal.dtype, torch.float32)
        for p, terms in ((self.weight, lambda: signal * self.x), (self.bias, lambda: signal)):
            if isinstance(p, Parameter):
                shape = (1,) * (signal.ndim - 1 - len(self.rest[0])) + tuple(self.rest[0])
                places = [d for d, size in enumerate(shape, start=1) if size == 1]
                total = terms().sum(places, dtype=single) if places else terms().to(single)
                yield p, total.view(-1, *p.value.shape)

    def gradients(self, weights: Tensor) -> list[tuple[Parameter, Tensor]]:
        if self.sums is None:
            return super().gradients(weights)
        return [(p, torch.tensordot(weights.to(s.dtype), s, 1)) for p, s in self.sums]


class _Tap(torch.autograd.Function):
    """Lets a layer's output pass, and keeps what comes back to it."""

    @staticmethod
    def forward(ctx: Any, out: Tensor, anchor: Tensor, use: Use) -> Tensor:
        ctx.use = use
        ctx.mark_dirty(out)
        return out

    @staticmethod
    def backward(ctx: Any, signal: Tensor) -> tuple[Tensor, None, None]:
        ctx.use.signal = signal
        return signal, None, None


class _Losses(torch.autograd.Function):
    """The losses, whose gradient is made of what the tape holds."""

    @staticmethod
    def forward(ctx: Any, losses: Tensor, tape: Tape, names: tuple[str, ...], *parameters: Tensor) -> Tensor:
        ctx.tape, ctx.names = tape, names
        return losses.clone()

    @staticmethod
    def backward(ctx: Any, weights: Tensor) -> tuple[Tensor | None, ...]:
        with torch.autocast(weights.device.type, enabled=False):
            gradient = ctx.tape.gradient(weights)
        return None, None, None, *(gradient.get(name) for name in ctx.names)


def _use(layer: Layer, x: Tensor, weight: Tensor | None, bias: Tensor | None, *rest: Any) -> Tensor:
    parameter = next((p for p in (weight, bias) if isinstance(p, Parameter)), None)
    if parameter is None or weight is None or isinstance(x, Parameter):
        raise Unsuited("a parameter enters a layer as its input, or a bias comes without a weight")
    if x.ndim == 0:
        raise Unsuited("a parameter is used with a number, which counts no examples")
    if x.shape[0] == 1 < parameter.tape.n:  # the same for all examples, positions for instance
        x = x.expand(parameter.tape.n, *x.shape[1:])
    out = layer.apply(x, *_values((weight, bias)), *rest)
    if out.ndim == 0 or out.shape[0] != parameter.tape.n:
        raise Unsuited("the first dimension of a layer's output does not count examples")
    use = (Scaling if layer is _SCALE else Use)(layer, x.detach(), weight, bias, rest, x._version)
    parameter.tape.uses.append(use)
    return _Tap.apply(out, parameter.tape.anchor, use)


# Layers ----------------------------------------------------------------------------------------------------------


def _each_times(values: Tensor, weights: Tensor) -> Tensor:
    """(n, ...) values of each example, times its weight."""
    return values * weights.to(values.dtype).view(-1, *(1,) * (values.ndim - 1))


def _summed(signal: Tensor, weights: Tensor, of: torch.Size) -> Tensor:
    return torch.tensordot(weights.to(signal.dtype), signal, 1).sum_to_size(of)


def _linear_weight(signal: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    return signal.flatten(0, -2).T @ x.flatten(0, -2)


_LINEAR = Layer(F.linear, _linear_weight, _summed, of_x=True)


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return _use(_LINEAR, input, weight, bias)


def _convolution(function: Callable, dimensions: int) -> Callable:
    def weight_gradient(signal: Tensor, x: Tensor, weight: Tensor, *rest: Any) -> Tensor:
        # Not `torch.nn.grad.conv2d_weight`: that knows no weight, and so takes the memory for channels first.
        *geometry, groups = rest
        stride, padding, dilation = ((g,) * dimensions if isinstance(g, int) else tuple(g) for g in geometry)
        mould = weight.to(signal.dtype)
        only = (False, True, False)
        _, gradient, _ = torch.ops.aten.convolution_backward(
            signal, x, mould, None, stride, padding, dilation, False, (0,) * dimensions, groups, only
        )
        return gradient

    def bias_gradient(signal: Tensor, weights: Tensor, of: torch.Size, *rest: Any) -> Tensor:
        single = torch.promote_types(signal.dtype, torch.float32)
        return weights.to(single) @ signal.sum(tuple(range(2, signal.ndim)), dtype=single)

    layer = Layer(function, weight_gradient, bias_gradient, of_x=True)

    def rule(
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        if isinstance(padding, str) or input.ndim != dimensions + 2:
            raise Unsuited("a convolution with padding by name, or without a dimension of examples")
        return _use(layer, input, weight, bias, stride, padding, dilation, groups)

    return rule


def _embedding_weight(signal: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    return torch.ops.aten.embedding_dense_backward(signal, x, len(weight), -1, False)


_EMBEDDING = Layer(lambda x, weight, _: F.embedding(x, weight), _embedding_weight, _summed)


def _embedding(
    input: Tensor,
    weight: Any,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    if max_norm is not None or scale_grad_by_freq or sparse:
        raise Unsuited("an embedding with a bound on its norm, scaled by frequency, or sparse")
    out = _use(_EMBEDDING, input, weight, None)
    if padding_idx is not None:
        padding = (input == padding_idx % len(weight.value)).unsqueeze(-1)
        out.register_hook(lambda signal: signal.masked_fill(padding, 0))
    return out


def _scaled(x: Tensor, weight: Tensor, bias: Tensor | None, shape: tuple[int, ...]) -> Tensor:
    scaled = x * weight.view(shape)
    return scaled if bias is None else scaled + bias.view(shape)


def _scale_gradient(signal: Tensor, x: Tensor, weight: Tensor, shape: tuple[int, ...]) -> Tensor:
    return (signal * x).sum_to_size(shape).view(weight.shape)


def _shift_gradient(signal: Tensor, weights: Tensor, of: torch.Size, shape: tuple[int, ...]) -> Tensor:
    return _each_times(signal, weights).sum_to_size(shape).view(of)


_SCALE = Layer(_scaled, _scale_gradient, _shift_gradient)


def _layer_norm(
    input: Tensor, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    normal = F.layer_norm(input, normalized_shape, None, None, eps)
    return _use(_SCALE, normal, weight, bias, tuple(normalized_shape))


def _group_norm(input: Tensor, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Tensor:
    normal = F.group_norm(input, num_groups, None, None, eps)
    return _use(_SCALE, normal, weight, bias, (input.shape[1], *(1,) * (input.ndim - 2)))


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """In eval mode it goes by its running statistics, and examples do not interact."""
    if training:
        raise Unsuited("batch normalisation lets the examples of a batch interact")
    normal = F.batch_norm(input, running_mean, running_var, None, None, False, momentum, eps)
    return _use(_SCALE, normal, weight, bias, (input.shape[1], *(1,) * (input.ndim - 2)))


def _times(left: Any, right: Any) -> Tensor:
    """A scale by a parameter, which has at most as many dimensions as what it scales."""
    x, weight = (right, left) if isinstance(left, Parameter) else (left, right)
    if isinstance(x, Parameter) or not isinstance(x, Tensor) or weight.value.ndim > x.ndim:
        raise Unsuited("a parameter times a parameter or a number")
    return _use(_SCALE, x, weight, None, tuple(weight.value.shape))


_SPREAD = Layer(
    lambda x, weight, _, shape: weight.expand(shape).clone(memory_format=torch.contiguous_format),
    lambda s, x, weight, _: s.sum_to_size(weight.shape),
    _summed,
)


def _expand(weight: Parameter, *shape: Any) -> Tensor:
    """The same values for every example, a token of its class for instance."""
    sizes = weight.value.expand(*shape).shape
    return _use(_SPREAD, torch.empty(weight.tape.n, device=weight.value.device), weight, None, sizes)


def _plus(left: Any, right: Any) -> Tensor:
    x, weight = (right, left) if isinstance(left, Parameter) else (left, right)
    if isinstance(x, Parameter) or not isinstance(x, Tensor):
        raise Unsuited("a parameter plus a parameter or a number")
    return x + _expand(weight, torch.broadcast_shapes(x.shape, weight.value.shape))


_RULES: dict[Callable, Callable] = {
    F.linear: _linear,
    torch.conv1d: _convolution(torch.conv1d, 1),
    torch.conv2d: _convolution(torch.conv2d, 2),
    torch.conv3d: _convolution(torch.conv3d, 3),
    F.embedding: _embedding,
    F.layer_norm: _layer_norm,
    F.group_norm: _group_norm,
    F.batch_norm: _batch_norm,
    Tensor.expand: _expand,
    **dict.fromkeys((torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__), _plus),
    **dict.fromkeys((torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__), _times),
}


# The engine ------------------------------------------------------------------------------------------------------


def derivative(passes: Passes, batch: Batch, v: Tensors) -> tuple[Tensor, Tensor, Tensors]:
    """Losses (n,) that can be differentiated once, slopes ``< grad f_i, v >`` (n,), and what the buffers become.

    Raises:
        Unfollowed: if a parameter is used in a way that has no rule here, the examples of a batch interact, or
            activation checkpointing is at work.
    """
    check_unhooked(passes.model)
    with nothing_recomputed():
        _check_suited(passes, batch, v)
        losses, u, buffers, _ = _pass(passes, batch, v)
        return losses, u, buffers


def _pass(passes: Passes, batch: Batch, v: Tensors, look: bool = False) -> tuple[Tensor, Tensor, Tensors, bool]:
    """Losses, slopes, buffers; and, if asked to `look`, whether a signal came to every layer, as interactions need."""
    tape = Tape(check_batch(batch, "training").n, passes.device)
    try:
        with uncompiled():
            losses, buffers = passes.training(tape.parameters(passes.parameters), batch)
        tape.propagate(losses, passes.parameters)
        reached = not look or is_unread() or all(use.signal is not None and bool(use.signal.any()) for use in tape.uses)
        with torch.no_grad():
            u = tape.alignment(v)
    except (Unfollowed, torch.OutOfMemoryError):
        raise
    except Exception as error:  # a stand-in was used as no parameter may be; what is wrong otherwise, others will say
        raise Unsuited(f"{type(error).__name__}: {error}") from error
    finally:
        passes.put_buffers_back()
    return tape.attached(losses, passes.parameters), u, buffers, reached


AGAIN = 300
"""Passes after which a model that was found to suit is tried once more."""
_KEPT = 16
_SUITED: WeakKeyDictionary[nn.Module, dict[Any, int]] = WeakKeyDictionary()
"""Model -> for each way in which it was used -> passes until it is tried again; -1 where it does not suit."""


def _check_suited(passes: Passes, batch: Batch, v: Tensors) -> None:
    """Hold the slopes against an ordinary backward pass, in full precision, unless that was done not long ago.

    The gradient from the tape would agree with the slopes from the tape, so it takes a pass of its own.
    """
    verdicts = _SUITED.setdefault(passes.model, {})
    use = _use_of(passes, batch)
    if is_unread():
        if verdicts.get(use, -1) < 0:
            raise Unsuited("examples may interact: nothing was tried before the recording")
        return
    if verdicts.get(use, 0) == 0:
        verdicts[use] = _tried(passes, batch, v)
        for old in list(verdicts)[:-_KEPT]:
            del verdicts[old]
    if verdicts[use] < 0:
        raise Unsuited("the examples of a batch interact, or the loss has parameters of its own")
    verdicts[use] = max(verdicts[use] - 1, 0)


def _tried(passes: Passes, batch: Batch, v: Tensors) -> int:
    """Passes until the next try: 0 if a signal of 0 has hidden something, -1 if slopes and gradients differ."""
    state = random_state(passes.device)
    with torch.autocast(passes.device.type, enabled=False), uncompiled():
        _, u, _, reached = _pass(passes, batch, v, look=True)
        restore(state)
        losses, _ = passes.training(passes.parameters, batch)
        r = uneven(len(losses), passes.clean_seed).to(losses)
        own = set(map(id, passes.parameters.values()))
        alone = all(id(leaf) in own for leaf in leaves(losses))
        g = passes.gradient((r * losses).sum())
    restore(state)
    fits = alone and agree(r @ u, inner_product(g, v), r @ u.abs(), losses.dtype)
    return (AGAIN if reached else 0) if fits else -1


def _use_of(passes: Passes, batch: Batch) -> Any:
    """What decides whether a model suits: its parts and their switches, what it trains, its loss, a batch's size."""
    loss_fn: Any = passes.loss_fn
    loss: Any
    method = getattr(loss_fn, "__self__", None), getattr(loss_fn, "__func__", None)
    try:
        loss = (ref(method[0]), method[1]) if None not in method else ref(loss_fn)
    except TypeError:
        loss = id(loss_fn)
    of_loss = loss_module(loss_fn)
    flags = switches(passes.model), () if of_loss is None else switches(of_loss)
    return makeup(passes.model), flags, tuple(passes.parameters), loss, check_batch(batch, "training").n
