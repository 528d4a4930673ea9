"""Batches of tensors that live on the training device; which examples come when depends on the seed and step alone."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from l2rw_core.datasets.biases import Examples

LARGEST_SEED = 2**32 - 1
"""Of a run: numpy takes no larger one."""


def to_tensors(
    examples: Examples,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    binary: bool = False,
    pixel_range: tuple[float, float] = (0.0, 1.0),
) -> tuple[Tensor, Tensor]:
    """Images with pixels from `pixel_range`, and their given labels.

    Returns:
        x of shape (N, channels, height, width) in the channels-last layout, in which convolutions are fastest on a CPU;
        y of shape (N,), int64, or of `dtype` with `binary`, as a binary cross-entropy wants it.
    """
    black, white = pixel_range
    x = torch.from_numpy(examples.x).to(device).permute(0, 3, 1, 2).to(dtype).div_(255)
    if pixel_range != (0.0, 1.0):
        x.mul_(white - black).add_(black)
    y = torch.from_numpy(examples.y).to(device)
    return x.contiguous(memory_format=torch.channels_last), y.to(dtype) if binary else y


def pad_crop_flip(x: Tensor, generator: torch.Generator, pad: int = 2, fill: float = 0.0) -> Tensor:
    """Each image shifted by up to `pad` pixels both ways and mirrored half of the time (the released CIFAR code).

    Args:
        x: (n, channels, height, width).
        generator: on the CPU; decides every image's shift and mirroring.
        pad: pixels of border on each side.
        fill: value of the border, black.
    """
    n, channels, height, width = x.shape
    shift = torch.randint(2 * pad + 1, (2, n, 1), generator=generator)
    mirrored = torch.rand(n, 1, generator=generator) < 0.5
    rows = shift[0] + torch.arange(height)
    columns = shift[1] + torch.arange(width)
    columns = torch.where(mirrored, columns.flip(1), columns)
    index = (
        torch.arange(n)[:, None, None, None],
        torch.arange(channels)[None, :, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    )
    return F.pad(x, (pad,) * 4, value=fill)[tuple(i.to(x.device) for i in index)]


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


@dataclass(frozen=True)
class RandomStream:
    """An endless stream of batches of positions, each of them drawn with replacement.

    Args:
        n: number of examples.
        batch_size: examples a batch, also where there are fewer.
        seed: the stream is a pure function of seed and step.
    """

    n: int
    batch_size: int
    seed: int

    def indices(self, step: int) -> Tensor:
        """(batch_size,) int64 positions of the batch of `step`, counted from 0."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        return torch.randint(self.n, (self.batch_size,), generator=generator)
