"""All alignments to about three digits, as a difference of losses: a plain pass a little along the clean gradient.

``u_i = (f_i(theta + h v) - f_i(theta)) / h + O(h)``. The parameters themselves are moved and put back. So any model
that runs at all can be scored, whatever it is made of, in the memory of plain training. It is an approximation, and
runs only where it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from l2rw_core.engines.passes import Batch, Passes, Tensors, Unfollowed, random_state, restore, uncompiled

STEP = 0.3
"""Length of the step in parameter space, over the root of the machine epsilon; see `benchmarks/approximate.py`."""
TOLERANCE = 0.05
"""What the weighted slopes may be off, relative to the sizes of their terms."""


class Coarse(Unfollowed):
    """A precision in which differences of losses are rounding."""


def derivative(passes: Passes, batch: Batch, v: Tensors) -> tuple[Tensor, Tensor, Tensors]:
    """Losses (n,) with their graph, slopes (n,) along `v` to about three digits, and what the buffers become.

    Under autocast the two passes that are compared run in the precision of the parameters, without a graph; the pass
    that is learned from runs as ever.

    Raises:
        Coarse: if a parameter has fewer digits than float32.
    """
    parameters = passes.parameters
    eps = max(torch.finfo(p.dtype).eps for p in parameters.values())
    if eps > torch.finfo(torch.float32).eps:
        raise Coarse("the parameters have fewer digits than float32, and a difference of losses is rounding")
    length = torch.stack([v[name].abs().double().square().sum() for name in parameters]).sum().sqrt()
    h = float(STEP * eps**0.5 / length) if length > 0 else 0.0
    state, kind = random_state(passes.device), passes.device.type
    with uncompiled():
        with moved(parameters, v, h), torch.autocast(kind, enabled=False):
            ahead = passes.training(parameters, batch, attached=False)[0].detach()
        passes.put_buffers_back()
        if torch.is_autocast_enabled(kind):
            restore(state)
            with torch.autocast(kind, enabled=False):
                here = passes.training(parameters, batch, attached=False)[0].detach()
            passes.put_buffers_back()
        restore(state)
        losses, buffers = passes.training(parameters, batch)
    if not torch.is_autocast_enabled(kind):
        here = losses.detach()
    return losses, (ahead - here) / h if h else torch.zeros_like(here), buffers


@contextmanager
def moved(parameters: Tensors, v: Tensors, h: float) -> Iterator[None]:
    """Within it the parameters stand at ``theta + h v``; afterwards at theta again, bit for bit."""
    before = {name: p.detach().clone() for name, p in parameters.items()}
    try:
        with torch.no_grad():
            for name, p in parameters.items():
                p.data.add_(v[name], alpha=h)  # uncounted: graphs of other passes still hold when it is back
        yield
    finally:
        for name, p in parameters.items():
            p.data.copy_(before[name])
