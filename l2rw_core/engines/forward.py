"""All alignments as one directional derivative: a single training pass on dual numbers gives losses and slopes.

``f(theta + h v) = f(theta) + h u + O(h^2)``, with v the clean gradient and ``u_i = < grad f_i, v >``. The value of a
dual number keeps its graph for the weighted backward pass; its slope records none.
"""

from __future__ import annotations

from torch import Tensor

from l2rw_core.engines.dual import Dual, following, nothing_recomputed, unpack
from l2rw_core.engines.passes import Batch, Passes, Tensors, check_unhooked, plain_operators


def derivative(passes: Passes, batch: Batch, v: Tensors) -> tuple[Tensor, Tensor, Tensors]:
    """Losses (n,) with their graph, slopes ``< grad f_i, v >`` (n,) without one, and what the buffers become.

    Raises:
        Unfollowed: if the model hides a part of its work from these dual numbers.
        NotImplementedError: if an operator has no forward-mode rule.
    """
    check_unhooked(passes.model)
    with nothing_recomputed(), plain_operators(), following(passes.parameters):
        duals: Tensors = {name: Dual(p, v[name]) for name, p in passes.parameters.items()}
        losses, buffers = passes.training(duals, batch)
        losses, u = unpack(losses)
    return losses, u, buffers
