"""What an alignment is made of: equation (12), layer by layer and clean example by clean example.

The gradient of a loss by the weight of a fully connected layer is an outer product of what enters the layer and what is
propagated back to its output. So the inner product of two such gradients is a product of two inner products, one of
inputs and one of back-propagated gradients, and an alignment is a sum of such products.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from l2rw_core.engines.passes import Batch, LossFn, call, check_batch
from l2rw_core.scoring import alignment


class LayerFactors(NamedTuple):
    """The two factors of one layer in equation (12), for n training and m clean examples; all (n, m) and detached."""

    inputs: Tensor
    """Inner products of the layer's inputs; a bias that is trained adds 1."""
    gradients: Tensor
    """Inner products of the gradients of the losses by the layer's output before its activation."""

    @property
    def contributions(self) -> Tensor:
        """What each pair adds to the training example's alignment: the product of the factors, divided by m."""
        return self.inputs * self.gradients / self.inputs.shape[1]


def layer_factors(model: nn.Module, loss_fn: LossFn, batch: Batch, clean_batch: Batch) -> dict[str, LayerFactors]:
    """Split alignments into layers, clean examples, and similarity of inputs times similarity of gradients.

    Args:
        model: a network whose trainable parameters belong to `nn.Linear` layers, each used once in a forward pass on
            inputs of shape (examples, features). Everything else about it is free. It is left as it was.
        loss_fn, batch, clean_batch: as in `l2rw_core.alignment`, of n and m examples.

    Returns:
        For each layer with trainable parameters that the loss reaches, by its name in the model and in the model's
        order, its `LayerFactors`. Their `contributions`, summed over layers and clean examples, are the alignments:
        this is checked.

    Raises:
        ValueError: a trainable parameter outside `nn.Linear`, a layer that is used twice or on inputs of another
            shape, or a model in which (12) does not hold for another reason. Otherwise as `l2rw_core.alignment`.

    Source: equation (12) and Appendix A.
    """
    layers = _linear_layers(model)
    _, u = alignment(model, loss_fn, batch, clean_batch)
    train, clean = (_Recording(model, layers).of(loss_fn, pair) for pair in (batch, clean_batch))
    factors = {name: _factors(layer, train[name], clean[name]) for name, layer in layers.items() if name in train}
    _check_complete(factors, u)
    return factors


class _Seen(NamedTuple):
    inputs: Tensor
    """(n, features) what entered the layer."""
    gradients: Tensor
    """(n, outputs) gradient of each example's loss by what left it."""


def _factors(layer: nn.Linear, train: _Seen, clean: _Seen) -> LayerFactors:
    similarity = train.inputs @ clean.inputs.T if layer.weight.requires_grad else 0
    bias = float(layer.bias is not None and layer.bias.requires_grad)
    gradients = train.gradients @ clean.gradients.T
    return LayerFactors(similarity + bias * torch.ones_like(gradients), gradients)


def _linear_layers(model: nn.Module) -> dict[str, nn.Linear]:
    """The layers with trainable parameters, by name, if no other module has any."""
    owners = {name: module for name, module in model.named_modules() if _trainable(module)}
    others = [name for name, module in owners.items() if not isinstance(module, nn.Linear)]
    if others:
        raise ValueError(
            f"equation (12) splits fully connected layers, and {others[0] or 'the model'!r}, of type "
            f"{type(owners[others[0]]).__name__}, has trainable parameters: freeze it to leave it out, or use alignment"
        )
    return {name: module for name, module in owners.items() if isinstance(module, nn.Linear)}


def _trainable(module: nn.Module) -> bool:
    return any(p.requires_grad for p in module.parameters(recurse=False))


class _Recording:
    """One forward pass on copies of the buffers that notes what enters and leaves each layer."""

    def __init__(self, model: nn.Module, layers: dict[str, nn.Linear]) -> None:
        self.model, self.layers = model, layers
        self.calls: dict[str, tuple[Tensor, Tensor]] = {}

    def of(self, loss_fn: LossFn, batch: Batch) -> dict[str, _Seen]:
        inputs, targets, _ = check_batch(batch, "training")
        handles = [layer.register_forward_hook(self._hook(name)) for name, layer in self.layers.items()]
        try:
            with torch.enable_grad():
                losses = loss_fn(call(self.model, {}, inputs)[0], targets)
        finally:
            for handle in handles:
                handle.remove()
        return self._seen(losses)

    def _hook(self, name: str) -> Any:
        def note(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
            if name in self.calls or args[0].ndim != 2:
                how = "used more than once" if name in self.calls else f"used on inputs of shape {tuple(args[0].shape)}"
                raise ValueError(
                    f"layer {name!r} is {how}; equation (12) needs each layer once, on inputs of shape "
                    "(examples, features): use alignment"
                )
            self.calls[name] = args[0].detach().clone(), output
            return output.clone()  # what comes next may work in place

        return note

    def _seen(self, losses: Tensor) -> dict[str, _Seen]:
        outputs = [output for _, output in self.calls.values()]
        # The loss of an example depends on its own row of an output alone, so one backward pass serves all of them.
        gradients = torch.autograd.grad(losses.sum(), outputs, allow_unused=True, materialize_grads=True)
        return {name: _Seen(self.calls[name][0], g) for name, g in zip(self.calls, gradients, strict=True)}


def _check_complete(factors: dict[str, LayerFactors], u: Tensor) -> None:
    parts = torch.stack([f.contributions for f in factors.values()])
    total, scale = parts.sum((0, 2)), parts.abs().sum((0, 2)).max()
    if (total - u).abs().max() > scale * torch.finfo(u.dtype).eps ** 0.5:
        raise ValueError(
            "the parts do not add up to the alignments, so equation (12) does not hold for this model: look for "
            "weights that are shared or used outside their layer, normalisation over the batch, or dropout "
            "(model.eval() switches both off)"
        )
