"""Forward passes of a model that leave it as it was, and what a batch, its labels and its losses have to be."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

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
    """For each trainable parameter's name a tensor of its shape."""
    examples: int
    """m, the size of the clean batch."""


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


@contextmanager
def uncompiled() -> Iterator[None]:
    """Run a model that `torch.compile` has compiled as it was written: compiled code takes no dual numbers."""
    if "torch._dynamo" in sys.modules and not torch.compiler.is_compiling():
        with torch.compiler.set_stance("force_eager"):
            yield
    else:
        yield


@contextmanager
def plain_operators() -> Iterator[None]:
    """Without what has no slope and cannot be differentiated twice: fused attention, and compiled code."""
    with sdpa_kernel(SDPBackend.MATH), uncompiled():
        yield


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
        with _own_randomness(self.clean_seed, self.device):
            losses, _ = self._losses(parameters, clean_batch, role)
        return losses.mean()

    def clean_gradient(self, clean_batch: Batch | CleanGradient, role: str = "clean") -> CleanGradient:
        """Gradient of the mean clean loss: dense, 0 where it does not reach; handed back where it is what is given."""
        if isinstance(clean_batch, CleanGradient):
            return clean_batch
        loss = self.clean_loss(self.parameters, clean_batch, role)
        reached = self.gradient(loss)
        dense = {name: g.to_dense() if g.is_sparse else g for name, g in reached.items()}
        unreached = {name: torch.zeros_like(p) for name, p in self.parameters.items() if name not in dense}
        whole = dense | unreached
        v = {name: whole[name] for name in self.parameters}
        return CleanGradient(loss.detach(), v, check_batch(clean_batch, role)[2])

    def gradient(self, outputs: Tensor, **options: Any) -> Tensors:
        """Gradient with respect to the parameters that `outputs` reaches, by name."""
        grads = torch.autograd.grad(outputs, list(self.parameters.values()), allow_unused=True, **options)
        return {name: g for name, g in zip(self.parameters, grads, strict=True) if g is not None}

    def _losses(self, parameters: Tensors, batch: Batch, role: str, attached: bool = True) -> tuple[Tensor, Tensors]:
        inputs, targets, n = check_batch(batch, role)
        with self._explaining(batch, role):
            outputs, buffers = call(self.model, parameters, inputs)
        _check_labels(self.loss_fn, outputs, targets, role)
        with self._explaining(batch, role):
            losses = self.loss_fn(outputs, targets)
        _check_losses(losses, n, role, attached)
        return losses, buffers

    @contextmanager
    def _explaining(self, batch: Batch, role: str) -> Iterator[None]:
        """Say what the model was given where it fails; lack of memory or of a derivative speaks for itself."""
        try:
            yield
        except (NotImplementedError, torch.OutOfMemoryError):
            raise
        except (RuntimeError, TypeError, ValueError, AttributeError, LookupError) as error:
            p = next(iter(self.parameters.values()))
            raise ValueError(
                f"the model or its loss cannot take the {role} batch, inputs {described(batch[0])} and targets "
                f"{described(batch[1])} with parameters of {p.dtype} on {p.device}: {error}; shapes, types and devices "
                "have to fit, as in loss_fn(model(inputs), targets)"
            ) from error


def call(model: nn.Module, parameters: Tensors, inputs: tuple[Any, ...] | dict[str, Any]) -> tuple[Any, Tensors]:
    """Outputs of a model with other parameters, by name, on copies of its buffers; and what the buffers became.

    The model is left as it was. A module that it holds under two names is one module.
    """
    buffers = {name: b.clone() for name, b in model.named_buffers()}
    slots = _slots(model, parameters | buffers)
    args, kwargs = ((), inputs) if isinstance(inputs, dict) else (inputs, {})
    outputs = functional_call(model, slots, args, kwargs, tie_weights=False)
    with torch.no_grad():  # the call has put into `slots` what the model put in the place of a buffer
        after = {name: slots[name] for name in buffers}
        return outputs, {name: b.detach() if isinstance(b, Tensor) else buffers[name] for name, b in after.items()}


def _slots(model: nn.Module, values: Tensors) -> Tensors:
    """Where a module holds a tensor -> the value to put there.

    PyTorch's own `tie_weights` fills a module of two names twice, and then restores what it had put there.
    """
    first = {id(t): name for name, t in (*model.named_parameters(), *model.named_buffers())}
    return {
        f"{prefix}.{key}" if prefix else key: values[first[id(t)]]
        for prefix, module in model.named_modules()
        for key, t in (*module._parameters.items(), *module._buffers.items())
        if t is not None and first[id(t)] in values
    }


@torch.no_grad()
def write_buffers(model: nn.Module, buffers: Tensors) -> None:
    """Give the buffers of a model new values, by name; one of another shape takes the place of the old one."""
    for name, buffer in list(model.named_buffers()):
        if buffers[name].shape == buffer.shape:
            buffer.copy_(buffers[name])
        else:
            owner, _, key = name.rpartition(".")
            model.get_submodule(owner)._buffers[key] = buffers[name]


@contextmanager
def _own_randomness(seed: int, device: torch.device) -> Iterator[None]:
    """Random numbers from `seed` on the CPU and on `device`; the state found is put back."""
    if is_unread():
        yield
        return
    on_cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_cuda else []):
        torch.default_generator.manual_seed(seed)
        if on_cuda:
            torch.cuda.default_generators[device.index].manual_seed(seed)
        yield


def check_batch(batch: Batch, role: str) -> tuple[Any, Any, int]:
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        parts = f" of {len(batch)}, not 2" if isinstance(batch, tuple | list) else ""
        raise TypeError(
            f"the {role} batch must be a pair (inputs, targets), got {type(batch).__name__}{parts}: put several inputs "
            "into a tuple or a dict of their own, and leave out what the model does not take"
        )
    inputs, targets = batch
    if isinstance(inputs, Tensor):
        inputs = (inputs,)
    elif isinstance(inputs, list):
        inputs = tuple(inputs)
    elif isinstance(inputs, Mapping):
        inputs = dict(inputs)
    values = inputs.values() if isinstance(inputs, dict) else inputs
    first = next((value for value in values if isinstance(value, Tensor)), None)
    if first is None or first.ndim == 0:
        raise TypeError(
            f"the {role} inputs must be a tensor, or a tuple or dict of tensors, examples first, "
            f"got {described(batch[0])}"
        )
    if len(first) == 0:
        raise ValueError(f"the {role} batch is empty: give it at least one example")
    return inputs, targets, len(first)


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
        raise ValueError(
            f"{role} label {int(targets[wrong][0])} is out of range: the model has {classes} outputs, "
            f"so labels go from 0 to {classes - 1}"
        )


def _check_losses(losses: Any, n: int, role: str, attached: bool) -> None:
    if not isinstance(losses, Tensor):
        raise TypeError(f"loss_fn must return a tensor, got {type(losses).__name__}")
    if losses.shape != (n,):
        remedy = 'use reduction="none", and average over any further dimension yourself'
        if losses.shape == (n, n) and n > 1:
            remedy = f"outputs and targets of shapes ({n}, 1) and ({n},) make such a table: give them the same shape"
        raise ValueError(
            f"loss_fn must return one loss per example, shape ({n},) for this {role} batch, got {tuple(losses.shape)}; "
            f"{remedy}"
        )
    if losses.is_complex():
        raise TypeError(f"loss_fn must return real numbers, got {losses.dtype}: take the real part")
    if attached and not losses.requires_grad:
        raise ValueError(f"the {role} loss does not depend on any trainable parameter, so it cannot be differentiated")
    finite = losses.isfinite()
    if not is_unread() and not finite.all():
        raise ValueError(
            f"the {role} loss is NaN or infinite for {n - int(finite.sum())} of {n} examples, first at position "
            f"{int((~finite).nonzero()[0])}: look for bad inputs there, or lower the learning rate"
        )
