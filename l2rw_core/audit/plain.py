"""The audit's network, trained with equal weights and without the trusted examples."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from l2rw_core.datasets import BatchStream

_AT_ONCE = 200
"""Examples in a pass without gradients: with more, what a network holds of them takes more memory than the data."""


def train_plain(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    everything: Tensor,
    epochs: int,
    batch_size: int,
    lr: float,
    seed: int,
    ticks: tqdm,
    device: str = "cpu",
) -> tuple[np.ndarray, np.ndarray]:
    """Train `model` by Adam.

    Args:
        model: trained in place.
        x, y: (n, ...) and (n,), what it learns.
        everything: (N, ...) what it is asked about.
        epochs, batch_size, lr, seed: of training.
        ticks: gets one tick a step.
        device: where to train; the tensors may be elsewhere.

    Returns:
        (n,) mean losses, and (N, K) mean probabilities over the second half of training.
    """
    model.to(device)
    optimizer, loss_fn = torch.optim.Adam(model.parameters(), lr), nn.CrossEntropyLoss(reduction="none")
    stream, an_epoch = BatchStream(len(y), batch_size, seed), -(-len(y) // batch_size)
    losses, visits = (torch.zeros(len(y), dtype=torch.float64) for _ in range(2))
    total = torch.zeros(0)
    for number in range(epochs * an_epoch):
        ids = stream.indices(number)
        optimizer.zero_grad()
        each = loss_fn(model(x[ids].to(device)), y[ids].to(device))
        each.mean().backward()
        optimizer.step()
        losses[ids] += each.detach().double().cpu()
        visits[ids] += 1
        if number % an_epoch == an_epoch - 1 and 2 * (number + 1) > epochs * an_epoch:
            p = predict(model, everything)
            total = total + p if len(total) else p
        ticks.update()
    return (losses / visits.clamp(min=1)).numpy(), (total / total.sum(1, keepdim=True)).numpy()


@torch.no_grad()
def predict(model: nn.Module, x: Tensor) -> Tensor:
    """(N, K) probabilities on the CPU, in eval mode, wherever the model is; it is in training mode afterwards."""
    model.eval()
    device = next(model.parameters()).device
    logits = torch.cat([model(part.to(device)) for part in x.split(_AT_ONCE)])
    model.train()
    return logits.double().softmax(1).cpu()
