"""What the tests of adapters share: labels of which many are flipped one way, and the loop written by hand."""

import torch
from torch import nn

from l2rw_core import Reweighter
from l2rw_core.models import Mlp

LOSS = nn.CrossEntropyLoss(reduction="none")


def background_flips(n=400, m=20, seed=0):
    """Two classes in the plane, apart; seven in ten labels of class 0 say 1. Returns (x, y), clean (x, y), truth."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.arange(n + m) % 2
    x = torch.randn(n + m, 2, generator=generator, dtype=torch.float64) + 2 * (2 * truth[:, None] - 1)
    y = torch.where(torch.rand(n + m, generator=generator) < 0.7, 1, truth)
    return (x[m:], y[m:]), (x[:m], truth[:m]), truth[m:]


def network(seed=0):
    torch.manual_seed(seed)
    return Mlp([2, 16, 2], nn.Tanh).double()


def accuracy(model, x, truth):
    with torch.no_grad():
        return float((model(x).argmax(1) == truth).double().mean())


def by_hand(model, optimizer, batches, clean_batches, loss_fn=LOSS, parts=1, clip=None, schedule=None, warmup=0):
    """The loop that every adapter has to equal. `parts` batches make an update."""
    reweighter = Reweighter(model, None, loss_fn, warmup=warmup)
    for number, (batch, clean) in enumerate(zip(batches, clean_batches, strict=True), start=1):
        (reweighter.loss(batch, clean) / parts).backward()
        if number % parts == 0:
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            optimizer.zero_grad()
            if schedule is not None:
                schedule.step()
    return reweighter


def largest_difference(first, second):
    return max(
        float((p - q).detach().abs().max()) for p, q in zip(first.parameters(), second.parameters(), strict=True)
    )
