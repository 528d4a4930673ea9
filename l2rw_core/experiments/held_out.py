"""Figure 3: the weights that a half-trained model gives to noisy images that it has never seen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from l2rw_core.datasets import BackgroundFlip
from l2rw_core.datasets.split import Bias
from l2rw_core.engines.passes import Batch, LossFn
from l2rw_core.experiments.meter import EDGES, by_weight, right_and_wrong
from l2rw_core.scoring import alignment
from l2rw_core.weights import to_weights


def weigh_held_out(
    model: nn.Module,
    loss_fn: LossFn,
    x: Tensor,
    y: Tensor,
    truth: Tensor,
    clean_batch: Batch,
    biases: tuple[Bias, ...],
    n: int = 100,
) -> dict[str, Any]:
    """Weights of held-out images in batches of n, counted by size and by whether the label is right.

    ``random`` are the images as they come, with the labels that the noise gave them: the left half of the figure.
    ``one_class`` are batches of one class each, whose labels are flipped to the background class at the rate of the
    noise: its right half, over all classes but the background; None without a `BackgroundFlip`. Batches that would
    not be full are left out. The model is left as it is.

    Args:
        model: in train mode, as the steps of training see it.
        loss_fn: one loss per example.
        x: (N, channels, height, width) held-out images.
        y: (N,) their given labels, as the loss wants them.
        truth: (N,) int64, their right labels.
        clean_batch: the clean images and labels that score them.
        biases: of the experiment.
        n: images a batch.
    """

    def counted(batches: Iterator[tuple[Tensor, Tensor, Tensor]]) -> dict[str, list[int]]:
        counts = torch.zeros(2, len(EDGES) + 1, dtype=torch.int64, device=x.device)
        for images, labels, wrong in batches:
            _, u = alignment(model, loss_fn, (images, labels), clean_batch)
            counts += by_weight(to_weights(u), wrong)
        return right_and_wrong(counts)

    flip = next((bias for bias in biases if isinstance(bias, BackgroundFlip)), None)
    return {
        "edges": list(EDGES),
        "random": counted(_as_they_come(x, y, truth, n)),
        "one_class": None if flip is None else counted(_of_one_class(x, y, truth, flip, n)),
    }


def _as_they_come(x: Tensor, y: Tensor, truth: Tensor, n: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    for chosen in torch.arange(len(x)).split(n):
        if len(chosen) == n:
            yield x[chosen], y[chosen], y[chosen].long() != truth[chosen]


def _of_one_class(
    x: Tensor, y: Tensor, truth: Tensor, flip: BackgroundFlip, n: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    wrong = torch.arange(n, device=x.device) < round(flip.rate * n)
    for label in truth.unique().tolist():
        if label == flip.background:
            continue
        for chosen in (truth == label).nonzero().flatten().split(n):
            if len(chosen) == n:
                labels = torch.where(wrong, flip.background, label).to(y.dtype)
                yield x[chosen], labels, wrong
