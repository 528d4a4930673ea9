"""Why an example got its weight: which clean examples pull at it, and in which layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from l2rw_core.engines.passes import Batch, LossFn, Passes, check_batch
from l2rw_core.scoring import directional_derivative


@dataclass(frozen=True)
class Explanation:
    """An alignment taken apart, once by clean example and once by layer; either sums to the whole."""

    alignment: float
    """u of the example: the inner product of its gradient with the gradient of the mean clean loss."""
    clean: pd.DataFrame
    """One row a clean example, largest absolute share first; index `clean_id`; `share` of the alignment, and `name` if
    names were given. A negative share: the step that fits the example makes this clean example worse."""
    layers: pd.DataFrame
    """One row a layer, in the order of the model; index `layer`; `share` of the alignment, and `cosine` between the
    two gradients in that layer."""

    def __str__(self) -> str:
        pull = "helps" if self.alignment > 0 else "harms" if self.alignment < 0 else "leaves alone"
        first = self.clean.head(3)
        names = first.get("name", first.index.map("clean example {}".format))
        strongest = ", ".join(f"{name} ({share:+.2g})" for name, share in zip(names, first["share"], strict=True))
        layer = self.layers["share"].abs().idxmax()
        return (
            f"alignment {self.alignment:+.3g}: a step on this example {pull} the clean set; "
            f"most by {strongest}; most in layer {layer} ({self.layers['share'][layer]:+.2g})"
        )


def explain(
    model: nn.Module,
    loss_fn: LossFn,
    example: Batch,
    clean: Batch,
    names: Sequence[str] | None = None,
) -> Explanation:
    """Take the alignment of one example apart.

    The alignment is an inner product of two gradients, so it is a sum over layers; and the clean gradient is a mean, so
    it is a sum over clean examples: equation (12) before its sums are carried out. The layers cost two backward passes,
    the clean examples one forward pass on dual numbers along the example's own gradient, however many there are.

    Args:
        model: as it stands; evaluated in eval mode, with running statistics and without dropout, since one example is
            no batch. It is left bit-identical.
        loss_fn: ``loss_fn(outputs, targets)`` of shape (n,).
        example: ``(inputs, targets)`` of one example, a batch of length 1.
        clean: ``(inputs, targets)`` of the M clean examples.
        names: M names of the clean examples.

    Raises:
        TypeError, ValueError: if `example` is not a single one, or names differ in number; otherwise as `alignment`.
    """
    with _in_eval_mode(model), torch.enable_grad():
        n, m = check_batch(example, "example's").n, check_batch(clean, "clean").n
        if n != 1:
            raise ValueError(f"explain takes one example, a batch of length 1, got {n}")
        if names is not None and len(names) != m:
            raise ValueError(f"there are {m} clean examples and {len(names)} names")
        passes = Passes(model, loss_fn, 0)
        mine = passes.clean_gradient(example, "example's").unscaled
        theirs = passes.clean_gradient(clean).unscaled
        _, pulls, _ = directional_derivative(model, loss_fn, clean, mine)
    return Explanation(float(pulls.mean()), _by_clean_example(pulls / m, names), _by_layer(mine, theirs))


@contextmanager
def _in_eval_mode(model: nn.Module) -> Iterator[None]:
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _by_clean_example(shares: Tensor, names: Sequence[str] | None) -> pd.DataFrame:
    columns: dict[str, Any] = {"share": shares.cpu().double().numpy()}
    if names is not None:
        columns["name"] = list(names)
    table = pd.DataFrame(columns).rename_axis("clean_id")
    return table.sort_values("share", key=np.abs, ascending=False, kind="stable")


def _by_layer(mine: dict[str, Tensor], theirs: dict[str, Tensor]) -> pd.DataFrame:
    layers: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for name, g in mine.items():
        layers.setdefault(name.rpartition(".")[0] or name, []).append((g.flatten(), theirs[name].flatten()))
    rows = {}
    for layer, pairs in layers.items():
        a, b = (torch.cat(parts).double() for parts in zip(*pairs, strict=True))
        size = float(a.norm() * b.norm())
        rows[layer] = {"share": float(a @ b), "cosine": float(a @ b) / size if size else 0.0}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("layer")
