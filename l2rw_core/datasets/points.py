"""Two classes of points in the plane, clouds or a ring around a disc: the smallest data that show every effect."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_RADII = (0.6, 2.3)
_THICKNESS = 0.35


@dataclass(frozen=True)
class Points:
    """N points of two classes, with the truth about their labels."""

    x: Tensor
    """(N, 2) coordinates, float64."""
    y: Tensor
    """(N,) given labels, 0. or 1., float64."""
    y_true: Tensor
    """(N,) true labels."""

    @property
    def flipped(self) -> Tensor:
        """(N,) whether the given label is wrong."""
        return self.y != self.y_true

    def __len__(self) -> int:
        return len(self.y)


def two_classes(n: int = 200, imbalance: float = 1.0, noise: float = 0.0, gap: float = 2.0, seed: int = 0) -> Points:
    """Two round Gaussian classes of unit spread, class 0 left of the origin and class 1 right of it.

    Args:
        n: number of points.
        imbalance: points of class 1 to one of class 0, at least 1; the rare class keeps at least one point.
        noise: share of the points, drawn at random, whose label is flipped.
        gap: distance of the two centres, in standard deviations.
        seed: the same seed gives the same points; raising `noise` flips more of them and moves none.

    Raises:
        ValueError: for sizes and shares that cannot be.
    """
    generator, _, y_true = _classes(n, imbalance, noise, seed)
    x = torch.randn(n, 2, generator=generator, dtype=torch.float64)
    x[:, 0] += gap * (y_true - 0.5)
    flipped = torch.randperm(n, generator=generator)[: round(noise * n)]
    y = y_true.clone()
    y[flipped] = 1 - y[flipped]
    return Points(x, y, y_true)


def rings(n: int = 300, imbalance: float = 3.0, noise: float = 0.5, seed: int = 0) -> Points:
    """A disc of class 0 inside a ring of class 1: a few points outline neither.

    Args:
        n: number of points.
        imbalance: points of class 1 to one of class 0, at least 1; the rare class keeps at least one point.
        noise: share of class 0 whose label says class 1.
        seed: the same seed gives the same points; raising `noise` flips more of them and moves none.

    Raises:
        ValueError: for sizes and shares that cannot be.
    """
    generator, members, y_true = _classes(n, imbalance, noise, seed)
    angle = 2 * torch.pi * torch.rand(n, generator=generator, dtype=torch.float64)
    thickness = _THICKNESS * torch.randn(n, generator=generator, dtype=torch.float64)
    radius = torch.where(y_true == 0, _RADII[0], _RADII[1]) + thickness
    y = y_true.clone()
    y[members[: round(noise * len(members))]] = 1
    return Points(torch.stack([radius * angle.cos(), radius * angle.sin()], 1), y, y_true)


def _classes(n: int, imbalance: float, noise: float, seed: int) -> tuple[torch.Generator, Tensor, Tensor]:
    """A generator of the seed, the places of class 0 as they were drawn, and the right labels (n,)."""
    if n < 2 or imbalance < 1 or not 0 <= noise <= 1:
        raise ValueError(f"need n >= 2, imbalance >= 1 and noise in [0, 1], got {n}, {imbalance} and {noise}")
    generator = torch.Generator().manual_seed(seed)
    members = torch.randperm(n, generator=generator)[: max(1, round(n / (1 + imbalance)))]
    y_true = torch.ones(n, dtype=torch.float64)
    y_true[members] = 0
    return generator, members, y_true
