"""The networks of the paper, with the structure and parameter counts of the released experiments; and a small one.

Every network of the paper takes floating-point images of shape (n, channels, height, width). A network with one
output returns logits of shape (n,), ready for a binary cross-entropy; with k > 1 outputs, (n, k).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def count_parameters(model: nn.Module) -> int:
    """Number of trainable scalars in `model`, shared parameters counted once."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _squeeze_single(logits: Tensor) -> Tensor:
    return logits.squeeze(1) if logits.shape[1] == 1 else logits


def _same_pads(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Padding (before, after) that gives ceil(size / stride) outputs, the odd one placed after."""
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class Mlp(nn.Module):
    """Fully connected network with ReLU (or another activation) between its layers.

    Args:
        features: layer widths from input to output, for example ``[2, 32, 1]``.
        activation: module class put between the layers.

    Shapes: input (n, ...) is flattened to (n, features[0]); output (n, features[-1]), or (n,) if that is 1.
    """

    def __init__(self, features: Sequence[int], activation: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        if len(features) < 2:
            raise ValueError(f"features needs an input and an output width, got {list(features)}")
        layers: list[nn.Module] = []
        for width_in, width_out in pairwise(features):
            layers += [nn.Linear(width_in, width_out), activation()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        return _squeeze_single(self.layers(x.flatten(1)))


class LeNet(nn.Module):
    """LeNet of the MNIST experiment (Section 4.1): three 5x5 convolutions of 16, 32 and 64 channels, then 100 units.

    Each convolution is followed by 3x3 max-pooling of stride 2 and then a ReLU, in that order. With one
    output and 28x28 grey images it has 167,113 parameters. Weights start from a normal distribution of
    standard deviation 0.1, truncated at two standard deviations; biases start at 0.

    Args:
        outputs: number of logits; 1 gives a binary classifier that returns shape (n,).
        channels: channels of the input image.
        size: height and width of the (square) input image.
    """

    def __init__(self, outputs: int = 1, channels: int = 1, size: int = 28) -> None:
        super().__init__()
        self.expected = (channels, size, size)
        widths = (channels, 16, 32, 64)
        self.convs = nn.ModuleList(
            nn.Conv2d(width_in, width_out, 5, padding=2) for width_in, width_out in pairwise(widths)
        )
        for _ in self.convs:
            size = math.ceil(size / 2)
        self.hidden = nn.Linear(64 * size * size, 100)
        self.output = nn.Linear(100, outputs)
        for module in (*self.convs, self.hidden, self.output):
            nn.init.trunc_normal_(module.weight, std=0.1, a=-0.2, b=0.2)
            nn.init.zeros_(module.bias)
        self.to(memory_format=torch.channels_last)  # on a CPU, pooling costs half of the step in the other layout

    def forward(self, x: Tensor) -> Tensor:
        if tuple(x.shape[1:]) != self.expected:
            raise ValueError(f"this LeNet takes images of shape {self.expected}, got {tuple(x.shape[1:])}")
        for conv in self.convs:
            x = F.relu(_halving_max_pool(conv(x)))
        return _squeeze_single(self.output(F.relu(self.hidden(x.flatten(1)))))


def _halving_max_pool(x: Tensor) -> Tensor:
    """3x3 max-pooling of stride 2 with ceil(size / 2) outputs: an even size is padded at its end only."""
    odd = x.shape[-1] % 2
    return F.max_pool2d(x, 3, stride=2, padding=odd, ceil_mode=not odd)


class ShiftBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation with a learned shift and no learned scale, as in the released CIFAR networks.

    The scale is a constant 1 rather than absent: PyTorch cannot differentiate twice with a shift alone.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-3, momentum=1e-3)
        del self.weight
        self.register_buffer("weight", torch.ones(channels), persistent=False)


class _SameConv2d(nn.Conv2d):
    """3x3 convolution without bias whose output has ceil(size / stride) pixels a side."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        super().__init__(channels_in, channels_out, 3, stride, padding=1 if stride == 1 else 0, bias=False)
        std = math.sqrt(2 / (9 * channels_out))
        nn.init.trunc_normal_(self.weight, std=std, a=-2 * std, b=2 * std)

    def forward(self, x: Tensor) -> Tensor:
        if self.stride != (1, 1):
            pads = [_same_pads(size, 3, stride) for size, stride in zip(x.shape[2:], self.stride, strict=True)]
            x = F.pad(x, (*pads[1], *pads[0]))
        return super().forward(x)


class _PreActivationUnit(nn.Module):
    """BN-ReLU-(dropout)-conv-BN-ReLU-conv beside an identity shortcut, pooled and zero-padded on a change of stage."""

    def __init__(self, channels_in: int, channels_out: int, stride: int, dropout: float, first: bool) -> None:
        super().__init__()
        before: list[nn.Module] = [] if first else [ShiftBatchNorm2d(channels_in), nn.ReLU()]
        self.pre = nn.Sequential(*before, nn.Dropout(dropout)) if dropout else nn.Sequential(*before)
        self.residual = nn.Sequential(
            _SameConv2d(channels_in, channels_out, stride),
            ShiftBatchNorm2d(channels_out),
            nn.ReLU(),
            _SameConv2d(channels_out, channels_out),
        )
        self.stride = stride
        self.extra = channels_out - channels_in

    def forward(self, x: Tensor) -> Tensor:
        shortcut = F.avg_pool2d(x, self.stride) if self.stride > 1 else x
        if self.extra:
            shortcut = F.pad(shortcut, (0, 0, 0, 0, self.extra // 2, self.extra - self.extra // 2))
        return shortcut + self.residual(self.pre(x))


class PreActivationResNet(nn.Module):
    """Pre-activation residual network for 32x32 images, three stages, parameter-free shortcuts (Section 4.2).

    Args:
        units: residual units a stage.
        widths: channels of the stem and of the three stages.
        outputs: number of classes.
        dropout: probability, applied after the first activation of a unit.
        channels: channels of the input image.

    Shapes: input (n, channels, height, width) with height and width divisible by 4; output (n, outputs).
    """

    def __init__(
        self, units: int, widths: Sequence[int], outputs: int = 10, dropout: float = 0.0, channels: int = 3
    ) -> None:
        super().__init__()
        stem, *stages = widths
        self.stem = _SameConv2d(channels, stem)
        blocks: list[nn.Module] = []
        width_in = stem
        for stage, width in enumerate(stages):
            for unit in range(units):
                stride = 2 if stage > 0 and unit == 0 else 1
                first = stage == 0 and unit == 0
                blocks.append(_PreActivationUnit(width_in, width, stride, dropout, first))
                width_in = width
        self.blocks = nn.Sequential(*blocks)
        self.norm = ShiftBatchNorm2d(width_in)
        self.output = nn.Linear(width_in, outputs)
        bound = math.sqrt(3 / width_in)
        nn.init.uniform_(self.output.weight, -bound, bound)
        nn.init.zeros_(self.output.bias)
        self.initial_activation = nn.Sequential(ShiftBatchNorm2d(stem), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.initial_activation(self.stem(x)))
        return _squeeze_single(self.output(F.relu(self.norm(x)).mean((2, 3))))


def resnet14(outputs: int = 10, channels: int = 3) -> PreActivationResNet:
    """A ResNet-14 of half the width, for a CPU: 43,402 parameters with 10 outputs. Not a network of the paper."""
    return PreActivationResNet(2, (8, 8, 16, 32), outputs, channels=channels)


def resnet32(outputs: int = 10, channels: int = 3) -> PreActivationResNet:
    """ResNet-32 of the background-flip experiments: 463,018 parameters with 10 outputs, 468,868 with 100."""
    return PreActivationResNet(5, (16, 16, 32, 64), outputs, channels=channels)


def wide_resnet28_10(outputs: int = 10, channels: int = 3, dropout: float = 0.3) -> PreActivationResNet:
    """WRN-28-10 of the uniform-flip experiments: 36,211,658 parameters with 10 outputs, 36,269,348 with 100."""
    return PreActivationResNet(4, (16, 160, 320, 640), outputs, dropout, channels)


class SmallCnn(nn.Module):
    """Three 3x3 convolutions with batch normalisation, averaged over the image: for small images of any size.

    Shapes: input (n, channels, height, width), output (n, outputs).
    """

    def __init__(self, outputs: int, channels: int, width: int = 32) -> None:
        super().__init__()
        widths = (channels, width, width, 2 * width)
        blocks = [
            nn.Sequential(nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU())
            for a, b in pairwise(widths)
        ]
        self.blocks = nn.ModuleList(blocks)
        self.output = nn.Linear(widths[-1], outputs)

    def forward(self, x: Tensor) -> Tensor:
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number < 2 and min(x.shape[2:]) >= 4:
                x = F.max_pool2d(x, 2)
        return self.output(x.mean((2, 3)))
