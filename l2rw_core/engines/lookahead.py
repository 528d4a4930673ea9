"""Algorithm 1 of the paper, line by line: what the other engines have to agree with."""

from __future__ import annotations

import torch

from l2rw_core.engines.passes import Batch, CleanGradient, Passes, Scores, plain_operators


def scores(passes: Passes, batch: Batch, clean_batch: Batch | CleanGradient, step_size: float = 1.0) -> Scores:
    """Alignments by a virtual step of size alpha, and the derivative of the clean loss after it by eps at eps = 0.

    Args:
        passes: of the model and its loss.
        batch, clean_batch: n training examples and m clean ones.
        step_size: alpha, of which the result does not depend.

    Raises:
        ValueError: if `step_size` is not positive, or the clean gradient is given in place of the clean batch.

    Source: Algorithm 1, lines 4 to 10; equations (5) to (7), of which u is ``-d f^v / d eps / alpha``.
    """
    if isinstance(clean_batch, CleanGradient):
        raise ValueError('engine "lookahead" differentiates the clean loss itself: give it the clean batch')
    if not step_size > 0:
        raise ValueError(f"step_size must be positive, got {step_size}")
    theta, alpha = passes.parameters, step_size
    with plain_operators():
        losses, buffers = passes.training(theta, batch)  # line 4
        eps = torch.zeros_like(losses, requires_grad=True)
        weighted_loss = (eps * losses).sum()  # line 5
        gradient = passes.gradient(weighted_loss, create_graph=True)  # line 6: zero in value, but not its graph
        theta_hat = {name: p - alpha * gradient[name] if name in gradient else p for name, p in theta.items()}  # line 7
        clean_loss = passes.clean_loss(theta_hat, clean_batch)  # lines 8 and 9
        (d_eps,) = torch.autograd.grad(clean_loss, eps, materialize_grads=True)  # line 10
        passes.put_buffers_back()
    return Scores(losses, -d_eps.detach() / alpha, clean_loss.detach(), buffers, "lookahead")
