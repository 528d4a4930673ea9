"""Dual numbers whose slopes record no graph.

PyTorch's own dual tensors record how each tangent was computed. A second derivative would need that and the score of an
example does not, and on a ResNet it takes three times the memory of the training pass. A `Dual` carries its tangent
beside its primal: the primal keeps its graph for the update, the tangent is computed without one, and is freed with the
last reference that the model's own code holds. The operators in which networks spend their time have their rule here;
every other one takes PyTorch's forward-mode rule, by itself.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import RLock
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils._pytree import tree_leaves, tree_map, tree_map_only

from l2rw_core.engines.attention import COMPOSED
from l2rw_core.engines.passes import Tensors, Unfollowed, Untracked, leaves, random_state, restore

_without_duals = torch._C.DisableTorchFunctionSubclass


LEVEL = RLock()
"""Held while a level of PyTorch's dual numbers is open: there is one for all threads."""


class Recomputed(Unfollowed):
    """Activation checkpointing: the backward pass repeats a part of the model, on tensors without a slope by then."""


_hooks_on_saved_tensors = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", lambda _: None)


def _saved_by() -> Any:
    """What is done at present with tensors that are saved for the backward pass."""
    return _hooks_on_saved_tensors(True)


_saving: ContextVar[Any] = ContextVar("saving", default=None)

_followed: ContextVar[frozenset[int]] = ContextVar("followed", default=frozenset())
"""The ids of the parameters whose slopes are followed at present."""


@contextmanager
def following(parameters: Tensors) -> Iterator[None]:
    """Within it a value that depends on one of these, and is no dual number, is `Untracked`."""
    token = _followed.set(frozenset(map(id, parameters.values())))
    try:
        yield
    finally:
        _followed.reset(token)


@contextmanager
def nothing_recomputed() -> Iterator[None]:
    """Within it a function of dual numbers raises `Recomputed` where activation checkpointing has begun since."""
    token = _saving.set(_saved_by())
    try:
        yield
    except Recomputed as error:
        traceback.clear_frames(error.__traceback__)  # up to torch 2.11 its hooks stay as long as checkpoint's own frame
        raise
    finally:
        _saving.reset(token)


def check_not_recomputed() -> None:
    if _saved_by() not in (None, _saving.get()):
        raise Recomputed("activation checkpointing has no forward-mode derivative")


class Dual(Tensor):
    """A tensor and its derivative along one direction in parameter space; functions of it are dual again."""

    primal: Tensor
    """The value, with its graph."""
    tangent: Tensor
    """Its derivative along the direction: same shape, no graph."""
    version: int
    """The primal's count of in-place changes that `tangent` knows of."""

    @staticmethod
    def __new__(cls: type[Dual], primal: Tensor, tangent: Tensor) -> Dual:
        with torch.enable_grad():  # the graph has to lead through it, for functions that see no more than a tensor
            dual = primal.as_subclass(cls)
        dual.set(primal, tangent)
        return dual

    def set(self, primal: Tensor, tangent: Tensor) -> Dual:
        """Replace value and derivative, after an in-place operation."""
        self.primal, self.tangent, self.version = primal, tangent, primal._version
        return self

    @classmethod
    def __torch_function__(cls, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func in COMPOSED and torch.is_grad_enabled() and (out := COMPOSED[func](*args, **kwargs)) is not None:
            return out
        with _without_duals():
            if not torch.is_grad_enabled():
                return func(*_primals(args), **_primals(kwargs))
            if getattr(func, "__name__", "") == "__get__" and not isinstance(out := func(*_primals(args)), Tensor):
                return out  # a shape, a type
            check_not_recomputed()
            values = list(_tensors((args, kwargs)))
            for value in values:
                check_tracked(value)
            if _in_place(func, kwargs):
                return _call_in_place(func, args, kwargs)
            real = not any(value.is_complex() for value in values)  # the rules below are for real numbers
            rule = _RULES.get(func) if real else None
            return (rule or _by_forward_mode(func))(*args, **kwargs)


def unpack(value: Tensor) -> tuple[Tensor, Tensor]:
    """The primal and the tangent of a result.

    Raises:
        Untracked: if the result depends on parameters and has no tangent, for example after a custom autograd function.
    """
    if not isinstance(value, Dual):
        check_tracked(value)
        return value, torch.zeros_like(value)
    return value.primal, value.tangent


def check_tracked(value: Tensor) -> None:
    """What has no slope may still be trained, as a scale in the loss is; but not by what is followed."""
    if isinstance(value, Dual):
        if value.primal._version != value.version:
            raise Unfollowed("a tensor was changed in place through another view of its memory")
    elif value.requires_grad and reaches(value, _followed.get()):
        if not reaches(value, _followed.get(), through_functions=False):
            raise Unfollowed("a custom autograd.Function was not seen")
        raise Untracked(
            "a tensor that depends on the model's parameters came from code that was not seen, such as a scripted "
            "function or a loss that reaches for parameters by itself"
        )


def reaches(value: Tensor, parameters: frozenset[int], through_functions: bool = True) -> bool:
    """Whether a backward pass from `value` would come to one of these parameters, given by their ids.

    If not `through_functions`, ways that lead through a custom autograd.Function do not count.
    """
    return any(id(leaf) in parameters for leaf in leaves(value, through_functions))


_LEAF = (Tensor, int, float, str, type(None), torch.dtype, torch.device)
"""Types that most arguments have. PyTorch's own walk through arguments takes longer than a small operator."""


def _tensors(tree: Any) -> Iterator[Tensor]:
    if isinstance(tree, Tensor):
        yield tree
    elif type(tree) in (tuple, list, dict):
        for part in tree.values() if type(tree) is dict else tree:
            yield from _tensors(part)
    elif not isinstance(tree, _LEAF):
        yield from (leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))


def _primals(tree: Any) -> Any:
    if isinstance(tree, Dual):
        return tree.primal
    if isinstance(tree, _LEAF):
        return tree
    if type(tree) in (tuple, list):
        return type(tree)(map(_primals, tree))
    if type(tree) is dict:
        return {name: _primals(part) for name, part in tree.items()}
    return tree_map_only(Dual, lambda dual: dual.primal, tree)


def _parts(value: Any) -> tuple[Any, Tensor | None]:
    """Value and tangent of an argument; None stands for a tangent of zero."""
    return (value.primal, value.tangent) if isinstance(value, Dual) else (value, None)


def _pair(primal: Tensor, tangent: Tensor) -> Tensor:
    return Dual(primal, tangent) if primal.requires_grad else primal


# In place --------------------------------------------------------------------------------------------------------


def _in_place(func: Callable, kwargs: dict) -> bool:
    name = getattr(func, "__name__", "")
    augmented = name in ("__setitem__", "__iadd__", "__isub__", "__imul__", "__itruediv__")
    ends = name.endswith("_") and name[-2:] != "__"
    return augmented or ends or bool(kwargs.get("inplace")) or kwargs.get("out") is not None


def _call_in_place(func: Callable, args: tuple, kwargs: dict) -> Any:
    """The tangent comes first, from a copy, since the value is about to be overwritten."""
    target = args[0] if args else None
    if not isinstance(target, Tensor) or kwargs.get("out") is not None:
        raise Unfollowed("a tensor was overwritten by way of `out`")
    state = random_state(target.device)
    copy = _primals(target).detach().clone()
    slope = target.tangent.clone() if isinstance(target, Dual) else torch.zeros_like(copy)
    with torch.no_grad(), LEVEL, forward_ad.dual_level():
        changed = forward_ad.make_dual(copy, slope)
        out = func(changed, *_as_torch_duals(args[1:]), **_as_torch_duals(kwargs))
        tangent = forward_ad.unpack_dual(changed if out is None else out).tangent
    restore(state)
    func(*_primals(args), **_primals(kwargs))
    if tangent is None:
        tangent = torch.zeros_like(copy)
    if isinstance(target, Dual):
        return target.set(target.primal, tangent)
    became: Any = target
    became.__class__ = Dual  # it had no slope before, and whoever holds it goes on with it
    return became.set(target.as_subclass(Tensor), tangent)


# Any operator ----------------------------------------------------------------------------------------------------


def _as_torch_duals(tree: Any) -> Any:
    return tree_map_only(Dual, lambda dual: forward_ad.make_dual(dual.primal.detach(), dual.tangent), tree)


def _by_forward_mode(func: Callable) -> Callable:
    """PyTorch's rule for one operator. It computes the value a second time, with the same random numbers."""

    def rule(*args: Any, **kwargs: Any) -> Any:
        state = random_state(next(_tensors((args, kwargs))).device)
        out = func(*_primals(args), **_primals(kwargs))
        if not any(value.requires_grad for value in _tensors(out)):
            return out
        restore(state)
        args, kwargs = _own_buffers(func, args), _own_buffers(func, kwargs)
        with torch.no_grad(), LEVEL, forward_ad.dual_level():
            again = func(*_as_torch_duals(args), **_as_torch_duals(kwargs))
            results = tree_map(_with_tangent, out, again)
        lost = [value for value in _tensors(results) if value.requires_grad and not isinstance(value, Dual)]
        if lost:
            after = random_state(lost[0].device)
            restore(state)
            _check_flat(func, args, kwargs)
            restore(after)
            return tree_map_only(Tensor, _without_slope, results)
        return results

    return rule


def _with_tangent(value: Any, again: Any) -> Any:
    """`value` as it is where its slope is missing."""
    if not isinstance(value, Tensor) or not value.requires_grad:
        return value
    tangent = forward_ad.unpack_dual(again).tangent
    return value if tangent is None else Dual(value, tangent)


def _without_slope(value: Tensor) -> Tensor:
    return Dual(value, torch.zeros_like(value)) if value.requires_grad and not isinstance(value, Dual) else value


def _check_flat(func: Callable, args: Any, kwargs: Any) -> None:
    """A missing slope is 0 where the gradient is, as for `torch.round`; or else PyTorch has lost it."""
    inputs: list[Tensor] = []

    def leaf(dual: Dual) -> Tensor:
        inputs.append(dual.primal.detach().requires_grad_())
        return inputs[-1]

    with torch.enable_grad():
        again = func(*tree_map_only(Dual, leaf, args), **tree_map_only(Dual, leaf, kwargs))
        outputs = [value for value in _tensors(again) if value.requires_grad]
        uneven = [torch.linspace(1, 2, o.numel(), device=o.device).view(o.shape).to(o.dtype) for o in outputs]
        parts = [(o * r).real.sum() if o.is_complex() else (o * r).sum() for o, r in zip(outputs, uneven, strict=True)]
        gradients = torch.autograd.grad(torch.stack(parts).sum(), inputs, allow_unused=True) if parts else ()
    if any(g is not None and g.count_nonzero() for g in gradients):
        raise Untracked(f"{getattr(func, '__name__', func)} has no derivative in forward mode")


def _own_buffers(func: Callable, tree: Any) -> Any:
    """Running statistics are moved by the pass that counts, and not by its repetition."""
    if func not in (F.batch_norm, F.instance_norm):
        return tree
    return tree_map(lambda v: v.clone() if isinstance(v, Tensor) and not isinstance(v, Dual) else v, tree)


# Operators with a rule of their own ------------------------------------------------------------------------------


def _product(function: Callable) -> Callable:
    """Layers linear in the input and in the weight: the product rule."""

    def rule(input: Any, weight: Any, bias: Any = None, *rest: Any, **options: Any) -> Tensor:
        (x, dx), (w, dw), (b, db) = _parts(input), _parts(weight), _parts(bias)
        out = function(x, w, b, *rest, **options)
        with torch.no_grad():
            if dw is None:
                return _pair(out, function(torch.zeros_like(x) if dx is None else dx, w, db, *rest, **options))
            tangent = function(x, dw, db, *rest, **options)
            if dx is not None:
                tangent += function(dx, w, None, *rest, **options)
        return _pair(out, tangent)

    return rule


def _bilinear(func: Callable) -> Callable:
    """Products of two values: the product rule."""

    def rule(*args: Any, **options: Any) -> Any:
        if options or len(args) != 2:
            return _by_forward_mode(func)(*args, **options)
        (a, da), (b, db) = map(_parts, args)
        out = func(a, b)
        with torch.no_grad():
            tangents = ([] if da is None else [func(da, b)]) + ([] if db is None else [func(a, db)])
            return _pair(out, sum(tangents[1:], tangents[0]))

    return rule


def _symmetric(func: Callable, backward: Callable) -> Callable:
    """Functions whose Jacobian is symmetric, elementwise ones among them: the tangent is their own backward pass.

    `backward` takes the tangent, the input, the output, and what else the function was called with.
    """

    def rule(input: Dual, *rest: Any, **options: Any) -> Tensor:
        out = func(input.primal, *rest, **options)
        with torch.no_grad():
            return _pair(out, backward(input.tangent, input.primal, out.detach(), *rest, **options))

    return rule


def _linear_in_one(func: Callable) -> Callable:
    """Functions that are linear in their first argument and take no other dual one: reshapes, sums, averages."""
    general = _by_forward_mode(func)

    def rule(input: Any, *rest: Any, **options: Any) -> Any:
        if not isinstance(input, Dual) or any(isinstance(value, Dual) for value in _tensors((rest, options))):
            return general(input, *rest, **options)
        out = func(input.primal, *rest, **options)
        with torch.no_grad():
            return _pair(out, func(input.tangent, *rest, **options))

    return rule


def _pad(input: Dual, pad: Any, mode: str = "constant", value: float | None = None) -> Tensor:
    """What is padded with is a constant: its slope is zero."""
    out = F.pad(input.primal, pad, mode, value)
    with torch.no_grad():
        return _pair(out, F.pad(input.tangent, pad, mode))


def _add(input: Any, other: Any, **options: Any) -> Any:
    if options or not (isinstance(input, Dual) and isinstance(other, Dual)) or input.shape != other.shape:
        return _by_forward_mode(torch.add)(input, other, **options)
    with torch.no_grad():
        tangent = input.tangent + other.tangent
    return _pair(input.primal + other.primal, tangent)


def _relu(input: Dual, inplace: bool = False) -> Tensor:
    out = torch.relu(input.primal)
    with torch.no_grad():
        return _pair(out, torch.ops.aten.threshold_backward(input.tangent, out, 0))


def _max_pool2d(*args: Any, **options: Any) -> Any:
    if options.pop("return_indices", False) or len(args) > 6:
        return _by_forward_mode(F.max_pool2d)(*args, **options, return_indices=True)
    input, *rest = args
    out, indices = F.max_pool2d(input.primal, *rest, **options, return_indices=True)
    with torch.no_grad():
        return _pair(out, _chosen(input.tangent, indices))


def _chosen(x: Tensor, indices: Tensor) -> Tensor:
    """The entries of an image that max-pooling picked, in the memory layout that the image has."""
    if x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last):
        rows = x.permute(0, 2, 3, 1).flatten(1, 2).gather(1, indices.permute(0, 2, 3, 1).flatten(1, 2))
        return rows.unflatten(1, indices.shape[-2:]).permute(0, 3, 1, 2)
    return x.flatten(-2).gather(-1, indices.flatten(-2)).view_as(indices)


def _batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """The normalisation's Jacobian in its input is symmetric, so its tangent is its own backward pass.

    ``y = w z + b`` with ``z = r (x - mean)`` and ``r = 1 / sqrt(var + eps)``, mean and var over all but the channels:
    ``dy = w r (dx - <dx> - z <z dx>) + dw z + db``, < > the same mean, and ``dw z = dw r x - dw r mean``.
    """
    args = (input, running_mean, running_var, weight, bias, training, momentum, eps)
    (x, dx), (w, dw), (b, db) = _parts(input), _parts(weight), _parts(bias)
    if not training or dx is None:
        return _by_forward_mode(F.batch_norm)(*args)
    out = F.batch_norm(x, running_mean, running_var, w, b, training, momentum, eps)
    if not hasattr(out.grad_fn, "_saved_result2"):
        raise Untracked("batch normalisation kept no statistics of the batch")
    saved: Any = out.grad_fn
    mean, inverse = saved._saved_result1, saved._saved_result2
    with torch.no_grad():
        tangent = torch.ops.aten.native_batch_norm_backward(
            _laid_out_like(x, dx), x, w, None, None, mean, inverse, True, eps, [True, False, False]
        )[0]
        shift = db
        if dw is not None:
            slope = dw * inverse
            tangent.addcmul_(x, _over_places(slope[None], x))
            shift = -slope * mean if db is None else db - slope * mean
        if shift is not None:
            tangent.add_(_over_places(shift[None], x))
    return _pair(out, tangent)


def _laid_out_like(x: Tensor, dx: Tensor) -> Tensor:
    """`dx` without gaps, in the memory layout of x: kernels that meet two layouts are several times slower."""
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(x.ndim, torch.contiguous_format)
    return dx.contiguous(memory_format=last if x.is_contiguous(memory_format=last) else torch.contiguous_format)


def _over_places(channels: Tensor, x: Tensor) -> Tensor:
    """A value (k, C) for each channel, k = 1 or n, at every place (k, C, ...): read in a row, with no step back."""
    places = channels.to(x.dtype)[(...,) + (None,) * (x.ndim - 2)]
    return _laid_out_like(x, places.expand(-1, -1, *x.shape[2:]))


def _layer_norm(input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """As for batch normalisation: without scale and shift, the Jacobian is symmetric.

    ``y = w z + b`` with ``z = r (x - mean)`` and ``r = 1 / sqrt(var + eps)``, mean and var over `normalized_shape`:
    ``dy = w r (dx - <dx> - z <z dx>) + dw z + db``, < > the same mean; w varies within it, and so comes last.
    """
    (x, dx), (w, dw), (b, db) = _parts(input), _parts(weight), _parts(bias)
    out = F.layer_norm(x, normalized_shape, w, b, eps)
    if dx is None or not hasattr(out.grad_fn, "_saved_result2"):
        return _by_forward_mode(F.layer_norm)(input, normalized_shape, weight, bias, eps)
    saved: Any = out.grad_fn
    mean, inverse = saved._saved_result1, saved._saved_result2
    with torch.no_grad():
        single = torch.promote_types(out.dtype, torch.float32)  # statistics are at least that, also under autocast
        x, dx, mean, inverse = (t.to(single) for t in (x, dx, mean, inverse))
        tangent = torch.ops.aten.native_layer_norm_backward(
            dx, x, normalized_shape, mean, inverse, None, None, [True, False, False]
        )[0]
        if w is not None:
            tangent *= w
        if dw is not None:
            tangent += (x - mean) * inverse * dw
        if db is not None:
            tangent += db
    return _pair(out, tangent.to(out.dtype))


def _group_norm(input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """As for layer normalisation, with means over the places and the channels of a group.

    ``y = w z + b`` with ``z = r (x - mean)``: ``dy = w dz + r dw x + db - r dw mean``, r and mean one for each example
    and group.
    """
    (x, dx), (w, dw), (b, db) = _parts(input), _parts(weight), _parts(bias)
    out = F.group_norm(x, num_groups, w, b, eps)
    if dx is None or not hasattr(out.grad_fn, "_saved_result2"):
        return _by_forward_mode(F.group_norm)(input, num_groups, weight, bias, eps)
    saved: Any = out.grad_fn
    n, channels = x.shape[:2]
    mean, inverse = saved._saved_result1, saved._saved_result2
    with torch.no_grad():
        x, dx = x.to(out.dtype), dx.to(out.dtype)  # autocast may have asked for single precision
        tangent = torch.ops.aten.native_group_norm_backward(
            _laid_out_like(x, dx), x, mean, inverse, None,
            n, channels, x[0, 0].numel(), num_groups, [True, False, False],
        )[0]  # fmt: skip
        if w is not None:
            tangent *= _over_places(w.expand(1, -1), x)
        shift = None if db is None else db.expand(1, -1)
        if dw is not None:
            slope, off = (s.repeat_interleave(channels // num_groups, 1) * dw for s in (inverse, -inverse * mean))
            tangent.addcmul_(x, _over_places(slope, x))
            shift = off if shift is None else shift + off
        if shift is not None:
            tangent += _over_places(shift, x)
    return _pair(out, tangent)


def _embedding(input: Tensor, weight: Dual, padding_idx: int | None = None, *rest: Any, **options: Any) -> Tensor:
    """The row of the padding is not trained: its slope is zero."""
    out = F.embedding(input, weight.primal, padding_idx, *rest, **options)
    with torch.no_grad():
        tangent = F.embedding(input, weight.tangent)
        if padding_idx is not None:
            tangent.masked_fill_((input == padding_idx % len(weight.primal)).unsqueeze(-1), 0)
    return _pair(out, tangent)


def _softmax_slope(
    dx: Tensor, x: Tensor, y: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    if dim is None:  # PyTorch's choice
        dim = 0 if y.ndim in (0, 1, 3) else 1
    return torch.ops.aten._softmax_backward_data(dx.to(y.dtype), y, dim, y.dtype)


def _cross_entropy(input: Any, target: Any, *rest: Any, **options: Any) -> Any:
    """Along the gradient of the loss by its input: where an example is fitted, a slope of its own would cancel out.

    For logits z and their softmax p the gradient of -log p_k is ``p - e_k``, small and exact near a fit. PyTorch's rule
    takes ``dz_k`` and subtracts ``<p, dz>``, which leaves as much rounding as for an example that is not fitted.
    """
    constants = isinstance(input, Dual) and not any(isinstance(v, Dual) for v in _tensors((target, rest, options)))
    reduction = options.get("reduction", rest[4] if len(rest) > 4 else "mean")
    if not constants or reduction != "none" or input.ndim < 2:
        return _by_forward_mode(F.cross_entropy)(input, target, *rest, **options)
    out = F.cross_entropy(input.primal, target, *rest, **options)
    logits = input.primal.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(logits, target, *rest, **options).sum(), logits)
    with torch.no_grad():
        return _pair(out, (gradient.to(out.dtype) * input.tangent.to(out.dtype)).sum(1))


def _hooked(input: Dual, *rest: Any, **options: Any) -> Any:
    raise Untracked("a hook on a tensor may change its gradient, which forward mode does not see")


def _inner_gradient(*args: Any, **options: Any) -> Any:
    raise Unfollowed("a gradient is taken within the model or its loss")


def _retain_grad(input: Dual) -> None:
    input.primal.retain_grad()


def _gelu_slope(dx: Tensor, x: Tensor, y: Tensor, approximate: str = "none") -> Tensor:
    return torch.ops.aten.gelu_backward(dx, x, approximate=approximate)


def _silu_slope(dx: Tensor, x: Tensor, y: Tensor, inplace: bool = False) -> Tensor:
    return torch.ops.aten.silu_backward(dx, x)


def _tanh_slope(dx: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return torch.ops.aten.tanh_backward(dx, y)


def _sigmoid_slope(dx: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return torch.ops.aten.sigmoid_backward(dx, y)


_RULES: dict[Callable, Callable] = {
    F.linear: _product(F.linear),
    torch.conv1d: _product(torch.conv1d),
    torch.conv2d: _product(torch.conv2d),
    torch.conv3d: _product(torch.conv3d),
    F.pad: _pad,
    F.relu: _relu,
    torch.relu: _relu,
    Tensor.relu: _relu,
    F.max_pool2d: _max_pool2d,
    F.batch_norm: _batch_norm,
    F.layer_norm: _layer_norm,
    F.group_norm: _group_norm,
    F.embedding: _embedding,
    F.softmax: _symmetric(F.softmax, _softmax_slope),
    F.cross_entropy: _cross_entropy,
    Tensor.register_hook: _hooked,
    Tensor.retain_grad: _retain_grad,
    **dict.fromkeys((torch.autograd.grad, torch.autograd.backward, Tensor.backward), _inner_gradient),
    F.gelu: _symmetric(F.gelu, _gelu_slope),
    F.silu: _symmetric(F.silu, _silu_slope),
    torch.tanh: _symmetric(torch.tanh, _tanh_slope),
    Tensor.tanh: _symmetric(torch.tanh, _tanh_slope),
    torch.sigmoid: _symmetric(torch.sigmoid, _sigmoid_slope),
    Tensor.sigmoid: _symmetric(torch.sigmoid, _sigmoid_slope),
    torch.add: _add,
    Tensor.add: _add,
    Tensor.__add__: _add,
    **{func: _bilinear(func) for func in (torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, Tensor.bmm)},
    **{
        func: _linear_in_one(func)
        for func in (
            Tensor.flatten,
            torch.flatten,
            Tensor.view,
            Tensor.reshape,
            Tensor.permute,
            Tensor.transpose,
            Tensor.squeeze,
            torch.squeeze,
            Tensor.unsqueeze,
            Tensor.unflatten,
            Tensor.expand,
            Tensor.contiguous,
            Tensor.__truediv__,
            Tensor.__getitem__,
            Tensor.mean,
            Tensor.sum,
            F.avg_pool2d,
            F.adaptive_avg_pool2d,
        )
    },
}
