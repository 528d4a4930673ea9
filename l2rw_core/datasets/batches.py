"""Batches of tensors that live on the training device; which examples come when depends on the seed and step alone."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from l2rw_core.datasets.biases import Examples


def to_tensors(
    examples: Examples,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    binary: bool = False,
) -> tuple[Tensor, Tensor]:
    """Images between 0 and 1, and their given labels.

    Returns:
        x of shape (N, channels, height, width) in the channels-last layout, in which convolutions are fastest on a CPU;
        y of shape (N,), int64, or of `dtype` with `binary`, as a binary cross-entropy wants it.
    """
    x = torch.from_numpy(examples.x).to(device).permute(0, 3, 1, 2).to(dtype).div_(255)
    y = torch.from_numpy(examples.y).to(device)
    return x.contiguous(memory_format=torch.channels_last), y.to(dtype) if binary else y


@dataclass
class BatchStream:
    """An endless stream of batches of positions: shuffled epochs, one after the other.

    A batch that reaches the end of an epoch goes on in the next one, so every batch is full and every example comes
    equally often. If `batch_size` is `n` or more, every batch is all n positions in order.

    Args:
        n: number of examples.
        batch_size: examples a batch.
        seed: the stream is a pure function of seed and step, so a resumed run sees what it would have seen.
    """

    n: int
    batch_size: int
    seed: int
    _epochs: dict[int, Tensor] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.n < 1 or self.batch_size < 1:
            raise ValueError(f"n and batch_size must be at least 1, got {self.n} and {self.batch_size}")

    def indices(self, step: int) -> Tensor:
        """(batch_size,) int64 positions of the batch of `step`, counted from 0; all n of them for a small set."""
        if step < 0:
            raise ValueError(f"step must not be negative, got {step}")
        if self.batch_size >= self.n:
            return torch.arange(self.n)
        start, stop = step * self.batch_size, (step + 1) * self.batch_size
        first, last = start // self.n, (stop - 1) // self.n
        self._epochs = {epoch: self._order(epoch) for epoch in range(first, last + 1)}
        positions = torch.cat([self._epochs[epoch] for epoch in range(first, last + 1)])
        return positions[start - first * self.n : stop - first * self.n]

    def _order(self, epoch: int) -> Tensor:
        if epoch not in self._epochs:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            return torch.randperm(self.n, generator=generator)
        return self._epochs[epoch]
