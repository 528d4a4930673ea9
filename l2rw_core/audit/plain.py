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
    rows: Tensor,
    asked: Tensor,
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
        x, y: (N, ...) and (N,), examples and labels.
        rows: (n,) ids of those that it learns.
        asked: (m,) ids of those that it is asked about.
        epochs, batch_size, lr, seed: of training.
        ticks: gets one tick a step.
        device: where to train; the tensors may be elsewhere.

    Returns:
        (n,) mean losses, and (m, K) mean probabilities over the second half of training.
    """
    model.to(device)
    optimizer, loss_fn = torch.optim.Adam(model.parameters(), lr), nn.CrossEntropyLoss(reduction="none")
    stream, an_epoch = BatchStream(len(rows), batch_size, seed), -(-len(rows) // batch_size)
    losses, visits = (torch.zeros(len(rows), dtype=torch.float64) for _ in range(2))
    total = torch.zeros(0)
    for number in range(epochs * an_epoch):
        places = stream.indices(number)
        ids = rows[places]
        optimizer.zero_grad()
        each = loss_fn(model(x[ids].to(device)), y[ids].to(device))
        each.mean().backward()
        optimizer.step()
        losses[places] += each.detach().double().cpu()
        visits[places] += 1
        if number % an_epoch == an_epoch - 1 and 2 * (number + 1) > epochs * an_epoch:
            p = predict(model, x, asked)
            total = total + p if len(total) else p
        ticks.update()
    return (losses / visits.clamp(min=1)).numpy(), (total / total.sum(1, keepdim=True)).numpy()


@torch.no_grad()
def predict(model: nn.Module, x: Tensor, ids: Tensor) -> Tensor:
    """(ids, K) probabilities of these rows of `x` on the CPU, in eval mode; training mode is on afterwards."""
    model.eval()
    device = next(model.parameters()).device
    logits = torch.cat([model(x[part].to(device)) for part in ids.split(_AT_ONCE)])
    model.train()
    return logits.double().softmax(1).cpu()
