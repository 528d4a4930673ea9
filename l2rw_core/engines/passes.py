"""Forward passes of a model that leave it as it was, and what a batch, its labels and its losses have to be."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from threading import Lock
from types import FunctionType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.autograd.function import BackwardCFunction
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.data import DataLoader, Dataset

with warnings.catch_warnings():
    # The first dual number makes PyTorch load rules that it compiles with its own deprecated torch.jit.script.
    warnings.simplefilter("ignore")
    with forward_ad.dual_level():
        forward_ad.make_dual(torch.zeros(()), torch.zeros(()))

Inputs = Tensor | tuple[Any, ...] | list[Any] | dict[str, Any]
Batch = tuple[Inputs, Any] | list[Any]
"""Inputs and labels, as a data loader hands them out. Inputs are a tensor, a tuple of positional arguments of the
model, or a dictionary of named ones; the first dimension of every tensor counts the examples."""
LossFn = Callable[[Any, Any], Tensor]
"""A function of the model's outputs and the labels that returns one loss an example, shape (n,)."""
Tensors = dict[str, Tensor]


_UNREAD = ContextVar("unread", default=False)


@contextmanager
def unread() -> Iterator[None]:
    """Within it nothing looks at a value or a random state, so that a GPU can record what runs: no checks of values."""
    token = _UNREAD.set(True)
    try:
        yield
    finally:
        _UNREAD.reset(token)


def is_unread() -> bool:
    """Whether an `unread` is open."""
    return _UNREAD.get()


class CleanGradient(NamedTuple):
    """Gradient of the mean loss of a clean batch: all that a score needs to know of it."""

    loss: Tensor
    """() mean loss of the clean batch, detached."""
    gradient: Tensors
    """For each trainable parameter's name a tensor of its shape: the gradient times `scale`."""
    examples: int
    """m, the size of the clean batch."""
    scale: float | Tensor = 1.0
    """A power of two that keeps half precision from underflowing; 1 in any other precision."""

    @property
    def unscaled(self) -> Tensors:
        """The gradient itself, in at least single precision: what can be added to that of another batch."""
        return {
            name: g.to(torch.promote_types(g.dtype, torch.float32)) / self.scale for name, g in self.gradient.items()
        }

    def lengthened(self) -> CleanGradient:
        """The same with a gradient of a length between 1 and 2, along which slopes of half precision can be taken."""
        longer = _power_of_two(torch.stack([g.float().norm() for g in self.gradient.values()]).norm())
        return self._replace(
            gradient={name: g * longer for name, g in self.gradient.items()}, scale=self.scale * longer
        )


class Scores(NamedTuple):
    """What one scoring of a batch yields; n is the number of training examples."""

    losses: Tensor
    """(n,) training losses f_i, attached to the graph, so that a weighted sum of them can be differentiated."""
    alignment: Tensor
    """(n,) scores u_i, detached."""
    clean_loss: Tensor
    """() mean loss of the clean batch, detached."""
    buffers: Tensors
    """What the model's buffers (running statistics) become if this training pass counts; not yet written."""
    engine: str
    """The engine that was used."""


class Unfollowed(Exception):
    """This engine cannot follow what the model does; another one can."""


class Refused(ValueError):
    """A model or its loss has failed on a batch; what it raised is the cause."""


class OutOfRange(ValueError):
    """A label that names no class."""


class Untracked(Unfollowed):
    """A value depends on the parameters in a way that forward mode does not see, so its slope is not known."""


def nodes(value: Tensor, through_functions: bool = True) -> Iterator[Any]:
    """What a backward pass from `value` would run, each once; or what of it comes before any custom Function."""
    waiting, visited = [value.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in visited:
            continue
        visited.add(node)
        if isinstance(node, BackwardCFunction) and not through_functions:
            continue
        yield node
        waiting += [following for following, _ in node.next_functions]


def leaves(value: Tensor, through_functions: bool = True) -> Iterator[Tensor]:
    """The tensors whose ``.grad`` a backward pass from `value` would change."""
    if value.is_leaf and value.requires_grad:
        yield value
    yield from (node.variable for node in nodes(value, through_functions) if hasattr(node, "variable"))


def hooks(model: nn.Module) -> list[str]:
    """What a model has that may change a gradient on its way back, of which a slope knows nothing."""
    parameters = [f"a hook on the parameter {name}" for name, p in model.named_parameters() if p._backward_hooks]
    modules = [
        f"a backward hook on {name or 'the model'}"
        for name, module in model.named_modules()
        if module._backward_hooks or module._backward_pre_hooks
    ]
    return parameters + modules


def makeup(model: nn.Module) -> Any:
    """What decides how a model computes, beside the values that it holds: its parts, their modes and their hooks."""
    return tuple(
        (id(module), module.training, len(module._forward_hooks), len(module._forward_pre_hooks))
        for module in model.modules()
    )


_SWITCHES = frozenset({bool, str, FunctionType})


def switches(module: nn.Module) -> tuple[Any, ...]:
    """What else may decide how a module computes: the truth values, words and functions that its parts hold."""
    held = [v for part in module.modules() for v in part.__dict__.values() if type(v) in _SWITCHES]
    return tuple([id(v) if type(v) is FunctionType else v for v in held])


def check_unhooked(model: nn.Module) -> None:
    """Untracked where there is one."""
    for hook in hooks(model):
        raise Untracked(f"{hook} may change a gradient, which forward mode does not see")


class _ForAll:
    """A setting of the whole process: the first of all threads that is within it makes it, and the last undoes it.

    If each thread put back what it found, one that came second would leave the setting on for ever.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make, self._lock, self._within = make, Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._within:
                self._open = self._make()
                self._open.__enter__()
            self._within += 1

    def __exit__(self, *error: Any) -> None:
        with self._lock:
            self._within -= 1
            if not self._within:
                self._open.__exit__(None, None, None)


_EAGER = _ForAll(lambda: torch.compiler.set_stance("force_eager"))


@contextmanager
def uncompiled() -> Iterator[None]:
    """Run a model that `torch.compile` has compiled as it was written: compiled code takes no dual numbers."""
    if "torch._dynamo" in sys.modules and not torch.compiler.is_compiling():
        with _EAGER:
            yield
    else:
        yield


@contextmanager
def plain_operators() -> Iterator[None]:
    """Without what has no slope and cannot be differentiated twice: fused attention, and compiled code."""
    with sdpa_kernel(SDPBackend.MATH), uncompiled():
        yield


@contextmanager
def repeating(engine: str) -> Iterator[None]:
    """Within it a backward pass repeats a part of the model, under activation checkpointing, as that engine ran it."""
    with plain_operators() if engine in ("reverse", "lookahead") else nullcontext():
        yield


@contextmanager
def set_aside(parameters: Tensors) -> Iterator[Tensors]:
    """Gradients that a backward pass within adds to ``.grad`` by itself, by name; ``.grad`` is as before afterwards.

    A custom Function may do so that runs a part of the model anew in its own backward pass, as reversible layers do.
    """
    before = {name: p.grad for name, p in parameters.items()}
    aside: Tensors = {}
    for p in parameters.values():
        p.grad = None
    try:
        yield aside
        aside |= {name: p.grad for name, p in parameters.items() if p.grad is not None}
    finally:
        for name, p in parameters.items():
            p.grad = before[name]


@dataclass
class Passes:
    """Forward passes of one scoring: they run on copies of the buffers, and on random numbers of their own.

    The clean pass draws its dropout masks from `clean_seed` and gives the random state back, so the masks of the
    training pass are the same whichever engine runs, and whether the clean pass comes first or last.
    """

    model: nn.Module
    loss_fn: LossFn
    clean_seed: int

    def __post_init__(self) -> None:
        self.parameters: Tensors = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        if not self.parameters:
            raise ValueError("the model has no trainable parameter: set requires_grad on those that training may move")
        if torch.is_inference_mode_enabled():
            raise ValueError("inference mode is on, which records no gradients: leave it, as by inference_mode(False)")
        if self.device.type == "meta":
            raise ValueError("the model's parameters hold no values: give it some by to_empty() and load_state_dict()")
        check_bare(self.model)
        self._places = buffer_places(self.model, self.loss_fn)
        buffers: Tensors = {name: module.get_buffer(key) for name, (module, key) in self._places.items()}
        self._before = {name: (b, _version(b), b.detach().clone()) for name, b in buffers.items()}
        self._given: list[tuple[Tensor, int]] = []
        self._originals: Any = None

    def put_buffers_back(self) -> None:
        """Undo what a backward pass did to buffers: activation checkpointing repeats a part of the model there."""
        with torch.no_grad():
            for name, (buffer, version, value) in self._before.items():
                module, key = self._places[name]
                module._buffers[key] = buffer
                if _version(buffer) != version or not _is_same(buffer, value):
                    buffer.data.copy_(value)  # uncounted: what was recomputed may be needed once more
                    self._before[name] = buffer, _version(buffer), value

    @property
    def device(self) -> torch.device:
        return next(iter(self.parameters.values())).device

    def training(self, parameters: Tensors, batch: Batch, attached: bool = True) -> tuple[Tensor, Tensors]:
        """(n,) losses of the training batch with these parameters, and what the buffers became.

        Without a graph (`attached` False) it is not asked whether the losses depend on the parameters.
        """
        return self._losses(parameters, batch, "training", attached)

    def clean_loss(self, parameters: Tensors, clean_batch: Batch, role: str = "clean") -> Tensor:
        """() mean loss of the clean batch with these parameters."""
        with own_randomness(self.clean_seed, self.device):
            losses, _ = self._losses(parameters, clean_batch, role)
        return losses.mean()

    def clean_gradient(self, clean_batch: Batch | CleanGradient, role: str = "clean") -> CleanGradient:
        """Gradient of the mean clean loss: dense, 0 where it does not reach; handed back where it is what is given."""
        if isinstance(clean_batch, CleanGradient):
            return clean_batch
        with own_randomness(self.clean_seed, self.device):
            losses, _ = self._losses(self.parameters, clean_batch, role)
        loss, reached = losses.mean(), {}
        scale: float | Tensor = 1.0
        if self.half:
            scale = _power_of_two(loss)
            reached = self.gradient(loss * scale, retain_graph=True)
            if not is_unread() and not all(g.isfinite().all() for g in reached.values()):
                reached, scale = {}, 1.0
        reached = reached or self.gradient(loss)
        if not reached and not any(p is leaf for leaf in leaves(loss) for p in self.parameters.values()):
            raise ValueError(_UNREACHED.format(role=role))  # else: operators without a gradient, which is 0
        dense = {name: g.to_dense() if g.is_sparse else g for name, g in reached.items()}
        v = {name: dense[name] if name in dense else torch.zeros_like(p) for name, p in self.parameters.items()}
        clean = CleanGradient(loss.detach(), v, len(losses), scale)
        return clean.lengthened() if self.half else clean

    @property
    def half(self) -> bool:
        """Whether float16 is at work, whose smallest number is 6e-8."""
        kind = self.device.type
        autocast = torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.float16
        return autocast or any(p.dtype == torch.float16 for p in self.parameters.values())

    def gradient(self, outputs: Tensor, **options: Any) -> Tensors:
        """Gradient with respect to the parameters that `outputs` reaches, by name."""
        with set_aside(self.parameters) as aside:
            grads = torch.autograd.grad(outputs, list(self.parameters.values()), allow_unused=True, **options)
        self.put_buffers_back()
        reached = {name: g for name, g in zip(self.parameters, grads, strict=True) if g is not None}
        return reached | {name: reached[name] + g if name in reached else g for name, g in aside.items()}

    def _losses(self, parameters: Tensors, batch: Batch, role: str, attached: bool = True) -> tuple[Tensor, Tensors]:
        inputs, targets, counts = check_batch(batch, role)
        if role == "training":
            inputs, targets = self._as_given(inputs, targets)
        with self._explaining(batch, role):
            losses, buffers = self._call(parameters, inputs, targets, role)
        _check_losses(losses, counts, role, attached)
        if role == "training":
            _CHANGES_INPUTS[self.model] = self._changed
        return losses, buffers

    def _call(self, parameters: Tensors, inputs: Any, targets: Any, role: str) -> tuple[Any, Tensors]:
        """What the loss returns, with these parameters, on copies of all buffers; and what the buffers became."""
        both = _ModelAndLoss(self.model, self.loss_fn, role)
        values = {id(self.parameters[name]): value for name, value in parameters.items()}
        for name, (module, key) in self._places.items():  # one of another shape may have taken the place by now
            values[id(module._buffers[key])] = self._before[name][2].clone()
        slots = _slots(both, values)
        args, kwargs = ((), inputs) if isinstance(inputs, dict) else (inputs, {})
        losses = functional_call(both, slots, (args, kwargs, targets), tie_weights=False)
        paths = {
            (id(module), key): f"{prefix}.{key}"
            for prefix, module in both.named_modules()
            for key, _ in module._buffers.items()  # a scripted part can do no more
        }
        after = {name: slots[paths[id(module), key]] for name, (module, key) in self._places.items()}
        return losses, _detached(after, {name: value for name, (_, _, value) in self._before.items()})

    def _as_given(self, inputs: Any, targets: Any) -> tuple[Any, Any]:
        """A training batch as it was before the first pass over it, also where the model changes its inputs in place.

        The first pass gets the batch itself. It is copied beforehand unless the model was seen to leave it alone.
        """
        tensors = [t for t in tree_leaves((inputs, targets)) if isinstance(t, Tensor)]
        if is_unread():
            return inputs, targets
        if [id(t) for t in tensors] != [id(t) for t, _ in self._given]:
            self._given = [(t, _version(t)) for t in tensors]
            copied = _CHANGES_INPUTS.get(self.model, True)
            self._originals = tree_map_only(Tensor, torch.clone, (inputs, targets)) if copied else None
            return inputs, targets
        if not self._changed:
            return inputs, targets
        if self._originals is None:
            _CHANGES_INPUTS[self.model] = True
            raise ValueError("the model changed its inputs in place, as it did not before: let it work on a copy")
        return tree_map_only(Tensor, torch.clone, self._originals)

    @property
    def _changed(self) -> bool:
        return any(_version(t) != version for t, version in self._given)

    @contextmanager
    def _explaining(self, batch: Batch, role: str) -> Iterator[None]:
        """Say what the model was given where it fails; lack of memory or of a derivative speaks for itself."""
        try:
            yield
        except (NotImplementedError, torch.OutOfMemoryError, Unfollowed, OutOfRange):
            raise
        except (RuntimeError, TypeError, ValueError, AttributeError, LookupError) as error:
            p = next(iter(self.parameters.values()))
            raise Refused(
                f"the model or its loss cannot take the {role} batch, inputs {described(batch[0])} and targets "
                f"{described(batch[1])} with parameters of {p.dtype} on {p.device}: {_said(error)}; shapes, types "
                "and devices have to fit, as in loss_fn(model(inputs), targets)"
            ) from error


def _said(error: Exception) -> str:
    """A KeyError says nothing but the key."""
    return f"{type(error).__name__} {error}" if isinstance(error, KeyError) else str(error)


_CHANGES_INPUTS: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()
"""Model -> whether its last pass over a training batch changed the batch in place."""


def _version(t: Tensor) -> int:
    """How often a tensor was changed in place; PyTorch does not count where no gradients are recorded."""
    return 0 if t.is_inference() else t._version


def _is_same(buffer: Tensor, value: Tensor) -> bool:
    """Whether statistics were left alone: batch normalisation and `write_buffers` move them without counting."""
    if is_unread():
        return True
    return buffer.device.type == "cpu" and torch.equal(buffer, value)


class _ModelAndLoss(nn.Module):
    """A model and its loss as one module: a loss that looks at the model sees the same stand-ins as it does."""

    def __init__(self, model: nn.Module, loss_fn: LossFn, role: str) -> None:
        super().__init__()
        self.model = model
        if (module := loss_module(loss_fn)) is not None:
            self.loss_fn = module
        self._loss_fn = (loss_fn,)
        self._role = role

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any], targets: Any) -> Any:  # no module to hooks on all
        outputs, (loss_fn,) = self.model(*args, **kwargs), self._loss_fn
        _check_labels(loss_fn, outputs, targets, self._role)
        return loss_fn(outputs, targets)


def loss_module(loss_fn: LossFn) -> nn.Module | None:
    """The module that a loss is, or is a method of: its buffers are looked after; None where there is none."""
    owner = loss_fn if isinstance(loss_fn, nn.Module) else getattr(loss_fn, "__self__", None)
    return owner if isinstance(owner, nn.Module) and not isinstance(owner, torch.jit.ScriptModule) else None


def buffer_places(model: nn.Module, loss_fn: LossFn | None = None) -> dict[str, tuple[nn.Module, str]]:
    """Name of a buffer, of the model or else of its loss -> the module that holds it, and under which key."""
    loss = None if loss_fn is None else loss_module(loss_fn)
    roots = {"": model} if loss is None else {"": model, "the loss: ": loss}
    places, found = {}, set()
    for beginning, root in roots.items():
        for name, buffer in root.named_buffers():
            if id(buffer) not in found:
                owner, _, key = name.rpartition(".")
                places[beginning + name] = root.get_submodule(owner), key
                found.add(id(buffer))
    return places


def call(model: nn.Module, parameters: Tensors, inputs: tuple[Any, ...] | dict[str, Any]) -> tuple[Any, Tensors]:
    """Outputs of a model with other parameters, by name, on copies of its buffers; and what the buffers became.

    The model is left as it was. A module that it holds under two names is one module.
    """
    buffers, own = dict(model.named_buffers()), dict(model.named_parameters())
    values = {id(own[name]): value for name, value in parameters.items()}
    slots = _slots(model, values | {id(b): b.clone() for b in buffers.values()})
    args, kwargs = ((), inputs) if isinstance(inputs, dict) else (inputs, {})
    outputs = functional_call(model, slots, args, kwargs, tie_weights=False)
    return outputs, _detached({name: slots[name] for name in buffers}, buffers)


@torch.no_grad()
def _detached(after: dict[str, Any], before: Tensors) -> Tensors:
    """What a call has put into `after` is what the model put in the place of a buffer."""
    return {name: b.detach() if isinstance(b, Tensor) else before[name] for name, b in after.items()}


def _slots(model: nn.Module, values: dict[int, Tensor]) -> Tensors:
    """Where a module holds a tensor -> the value to put there, by the tensor's id.

    PyTorch's own `tie_weights` fills a module of two names twice, and then restores what it had put there.
    """
    return {
        f"{prefix}.{key}" if prefix else key: values[id(t)]
        for prefix, module in model.named_modules()
        for key, t in (*module._parameters.items(), *module._buffers.items())
        if t is not None and id(t) in values
    }


@torch.no_grad()
def write_buffers(model: nn.Module, buffers: Tensors, loss_fn: LossFn | None = None) -> None:
    """Give buffers of a model and its loss new values, by name; one of another shape takes the place of the old one."""
    for name, (module, key) in buffer_places(model, loss_fn).items():
        buffer: Any = module._buffers[key]
        if name not in buffers:
            continue  # the model has made it in this pass
        if buffers[name].shape == buffer.shape:
            buffer.data.copy_(buffers[name])
        else:
            module._buffers[key] = buffers[name]


RandomState = list[tuple[Callable[[Tensor], Any], Tensor]]


def random_state(device: torch.device) -> RandomState:
    """Where the random numbers of the CPU and of `device` stand; `restore` goes back there."""
    if is_unread():
        return []
    state: RandomState = [(torch.set_rng_state, torch.get_rng_state())]
    if device.type == "cuda":
        generator = torch.cuda.default_generators[_index(device)]
        state.append((generator.set_state, generator.get_state()))
    elif device.type != "cpu":
        of_device = torch.get_device_module(device)
        state.append((of_device.set_rng_state, of_device.get_rng_state()))
    return state


def restore(state: RandomState) -> None:
    """Draw the random numbers since `random_state` once more."""
    for put, value in state:
        put(value)


@contextmanager
def own_randomness(seed: int, device: torch.device) -> Iterator[None]:
    """Random numbers from `seed` on the CPU and on `device`; the state found is put back."""
    if is_unread():
        yield
        return
    state = random_state(device)
    try:
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            torch.cuda.default_generators[_index(device)].manual_seed(seed)
        elif device.type != "cpu":
            torch.get_device_module(device).manual_seed(seed)
        yield
    finally:
        restore(state)


def _index(device: torch.device) -> int:
    return torch.cuda.current_device() if device.index is None else device.index


def _power_of_two(x: Tensor) -> float | Tensor:
    """By which `x` comes to lie between 1 and 2; 1 for a number that is 0 or not finite."""
    x = x.detach().float().abs()
    power = torch.where((x > 0) & x.isfinite(), torch.exp2(-torch.floor(torch.log2(x))), 1.0).clamp(2.0**-60, 2.0**60)
    return power if is_unread() else power.item()


_WRAPPERS = {
    "DataParallel": "start one process a device and use l2rw_core.loops.distributed.DistributedReweighter",
    "DistributedDataParallel": "give model.module to l2rw_core.loops.distributed.DistributedReweighter",
    "FullyShardedDataParallel": "give the whole model to l2rw_core.loops.distributed.DistributedReweighter",
    "FSDPModule": "give the whole model to l2rw_core.loops.distributed.DistributedReweighter",
    "ScriptModule": "give the module from which torch.jit.script made it; scripted parts inside of a module are fine",
    "TracedModule": "give the module from which torch.jit.trace made it",
}


def check_bare(model: nn.Module, allowed: tuple[str, ...] = ()) -> None:
    """ValueError where the model is a wrapper that shares out its work, which weights would not follow."""
    for module in model.modules():
        kinds = [c.__name__ for c in type(module).__mro__ if c.__module__.partition(".")[0] == "torch"]
        for kind in kinds:
            scripted = kind in ("ScriptModule", "TracedModule")
            if kind in _WRAPPERS and kind not in allowed and (module is model or not scripted):
                raise ValueError(f"the model is a {kind}, which a single process cannot weigh: {_WRAPPERS[kind]}")


class Parts(NamedTuple):
    """A batch, taken apart."""

    inputs: tuple[Any, ...] | dict[str, Any]
    """Positional or named arguments of the model."""
    targets: Any
    counts: tuple[int, ...]
    """How many examples it may have, the likeliest number first; labels (n,) leave no choice."""

    @property
    def n(self) -> int:
        return self.counts[0]


def check_batch(batch: Batch, role: str) -> Parts:
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        parts = f" of {len(batch)}, not 2" if isinstance(batch, tuple | list) else ""
        remedy = "put several inputs into a tuple or a dict of their own, and leave out what the model does not take"
        if isinstance(batch, DataLoader | Dataset):
            remedy = "draw one batch at a time, as l2rw_core.loops.loaders.clean_batches does from a DataLoader"
        raise TypeError(
            f"the {role} batch must be a pair (inputs, targets), got {type(batch).__name__}{parts}: {remedy}"
        )
    inputs, targets = batch
    if isinstance(inputs, Tensor | PackedSequence):
        inputs = (inputs,)
    elif isinstance(inputs, list):
        inputs = tuple(inputs)
    elif isinstance(inputs, Mapping):
        inputs = dict(inputs)
    values = inputs.values() if isinstance(inputs, dict) else inputs
    first = next((value for value in values if isinstance(value, Tensor | PackedSequence)), None)
    labelled = isinstance(targets, Tensor) and targets.ndim == 1
    listed = labelled and first is None and any(isinstance(leaf, Tensor) for leaf in tree_leaves(inputs))
    if not listed and (first is None or (isinstance(first, Tensor) and first.ndim == 0)):
        raise TypeError(
            f"the {role} inputs must be a tensor, or a tuple or dict of tensors, examples first, "
            f"got {described(batch[0])}"
        )
    counts = tuple(t.size(0) for t in tree_leaves(targets) if isinstance(t, Tensor) and t.ndim)
    if not labelled:
        assert first is not None, "labels count a list of tensors"
        counts += (first.size(0) if isinstance(first, Tensor) else int(first.batch_sizes[0]),)
    if counts[0] == 0:
        raise ValueError(f"the {role} batch is empty: give it at least one example")
    return Parts(inputs, targets, counts)


def described(value: Any) -> str:
    """What a batch or a part of it is, in few words and without its numbers."""
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)} {value.dtype} on {value.device}"
    parts: list[str] = []
    if isinstance(value, Mapping):
        parts = [f"{name}: {described(part)}" for name, part in value.items()]
    elif isinstance(value, list | tuple):
        parts = [described(part) for part in value]
    more = ["and more"] if len(parts) > 4 else []
    return type(value).__name__ + (f"({', '.join(parts[:4] + more)})" if parts else "")


def _check_labels(loss_fn: LossFn, outputs: Any, targets: Any, role: str) -> None:
    """Catch a label out of range before the loss does: on a GPU that would end the process's use of the device."""
    tensors = isinstance(outputs, Tensor) and isinstance(targets, Tensor) and outputs.device == targets.device
    if not isinstance(loss_fn, nn.CrossEntropyLoss | nn.NLLLoss) or not tensors:
        return  # what does not fit together, the loss will refuse
    if outputs.ndim < 2 or targets.is_floating_point() or is_unread():
        return
    classes = outputs.shape[1]
    wrong = (targets != loss_fn.ignore_index) & ((targets < 0) | (targets >= classes))
    if wrong.any():
        raise OutOfRange(
            f"{role} label {int(targets[wrong][0])} is out of range: the model has {classes} outputs, "
            f"so labels go from 0 to {classes - 1}"
        )


_UNREACHED = "the {role} loss does not depend on any trainable parameter, so it cannot be differentiated"


def _check_losses(losses: Any, counts: tuple[int, ...], role: str, attached: bool) -> None:
    if not isinstance(losses, Tensor):
        raise TypeError(f"loss_fn must return a tensor, got {type(losses).__name__}")
    n = len(losses) if losses.ndim == 1 and len(losses) in counts else counts[0]
    if losses.shape != (n,):
        remedy = 'use reduction="none", and average over any further dimension yourself'
        if losses.shape == (n, n) and n > 1:
            remedy = f"outputs and targets of shapes ({n}, 1) and ({n},) make such a table: give them the same shape"
        raise ValueError(
            f"loss_fn must return one loss per example, shape ({n},) for this {role} batch, got {tuple(losses.shape)}; "
            f"{remedy}"
        )
    if losses.layout != torch.strided or losses.is_meta:
        raise TypeError(f"loss_fn must return a dense tensor that holds values, got {losses.layout} on {losses.device}")
    if losses.is_complex():
        raise TypeError(f"loss_fn must return real numbers, got {losses.dtype}: take the real part")
    if attached and not losses.requires_grad:
        raise ValueError(_UNREACHED.format(role=role))
    finite = losses.isfinite()
    if not is_unread() and not finite.all():
        raise ValueError(
            f"the {role} loss is NaN or infinite for {n - int(finite.sum())} of {n} examples, first at position "
            f"{int((~finite).nonzero()[0])}: look for bad inputs there, or lower the learning rate"
        )
