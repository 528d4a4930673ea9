"""The models and batches on which steps are compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from l2rw_core.models import LeNet, Mlp, PreActivationResNet, resnet32


@dataclass(frozen=True)
class Case:
    """A model with the sizes of its two batches. Nothing in it is random at a step: there is no dropout."""

    name: str
    title: str
    build: Callable[[], nn.Module]
    inputs: Callable[[int], Tensor]
    """`inputs(k)` draws k random inputs."""
    n: int
    """Training examples of a step."""
    m: int
    """Clean examples of a step."""
    coupled: bool = False
    """Whether the examples of a batch interact, as batch normalisation makes them."""
    repeats: int = 1
    """Steps that are timed at once, so that no sample is too short for the clock."""
    needs: str = ""
    """A package that the model comes from and that need not be installed."""
    classes: int = 10
    channels_last: bool = False
    """The memory layout in which convolutions are fastest."""
    bfloat16: bool = False
    """Whether the timed steps are under autocast."""

    @property
    def available(self) -> bool:
        """Whether the package that the model comes from is installed."""
        return not self.needs or find_spec(self.needs) is not None

    @property
    def bound(self) -> float:
        """Cost of an exact step in plain steps, by counted products: (3m + 5n) / 3n for any model."""
        return (3 * self.m + 5 * self.n) / (3 * self.n)

    @property
    def uncoupled_bound(self) -> float | None:
        """(3m + 4n) / 3n, where one backward pass gives both alignments and update; None if examples interact."""
        return None if self.coupled else (3 * self.m + 4 * self.n) / (3 * self.n)


@dataclass
class Task:
    """A case made concrete: a fresh model and the batches of its steps."""

    model: nn.Module
    batch: tuple[Tensor, Tensor]
    clean: tuple[Tensor, Tensor]
    loss_fn: nn.Module = field(default_factory=lambda: nn.CrossEntropyLoss(reduction="none"))
    lr: float = 1e-3


def make_task(
    case: Case, n: int, m: int, dtype: torch.dtype = torch.float32, device: str = "cpu", seed: int = 0
) -> Task:
    """The same task for the same arguments, parameters included."""
    torch.manual_seed(seed)
    layout = torch.channels_last if case.channels_last else torch.preserve_format
    model = case.build().to(device, dtype, memory_format=layout).train()

    def draw(k: int) -> tuple[Tensor, Tensor]:
        x, y = case.inputs(k), torch.randint(case.classes, (k,))
        return x.to(device, dtype if x.is_floating_point() else x.dtype, memory_format=layout), y.to(device)

    return Task(model, draw(n), draw(m))


def _images(*shape: int) -> Callable[[int], Tensor]:
    return lambda k: torch.rand(k, *shape)


def _tokens(k: int) -> Tensor:
    return torch.randint(1000, (k, 64))


def _wrn_16_4() -> nn.Module:
    return PreActivationResNet(2, (16, 64, 128, 256))


def _with_group_norm() -> nn.Module:
    model = resnet32()
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.GroupNorm(8, child.num_features))
    return model


def _vit() -> nn.Module:
    from torchvision.models import VisionTransformer

    return VisionTransformer(
        image_size=32, patch_size=4, num_layers=4, num_heads=4, hidden_dim=128, mlp_dim=256, num_classes=10
    )


class _Logits(nn.Module):
    """A transformers model that takes token ids alone and returns a tensor."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> Any:
        return self.model(input_ids=tokens).logits


def _bert() -> nn.Module:
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=1000,
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=512,
        max_position_embeddings=64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        num_labels=10,
    )
    return _Logits(BertForSequenceClassification(config))


_CIFAR = _images(3, 32, 32)
LAST = "ResNet-32 NHWC"

CASES = {
    case.name: case
    for case in (
        Case("lenet", "LeNet", lambda: LeNet(10), _images(1, 28, 28), 100, 10, repeats=4),
        Case("mlp", "MLP, 784-512-512-10", lambda: Mlp([784, 512, 512, 10]), _images(784), 100, 100, repeats=20),
        Case("resnet32", "ResNet-32", resnet32, _CIFAR, 64, 64, coupled=True),
        Case("resnet32-quarter", "ResNet-32", resnet32, _CIFAR, 64, 16, coupled=True),
        Case("resnet32-paper", LAST, resnet32, _CIFAR, 100, 100, coupled=True, channels_last=True),
        Case("resnet32-paper-quarter", LAST, resnet32, _CIFAR, 100, 25, coupled=True, channels_last=True),
        Case(
            "resnet32-bfloat16",
            f"{LAST}, bf16",
            resnet32,
            _CIFAR,
            100,
            100,
            True,
            channels_last=True,
            bfloat16=True,
        ),
        Case("resnet32-group-norm", f"{LAST}, GN", _with_group_norm, _CIFAR, 100, 100, channels_last=True),
        Case("wrn-16-4", "WRN-16-4", _wrn_16_4, _CIFAR, 16, 16, coupled=True),
        Case("vit", "ViT, 4 layers of 128", _vit, _CIFAR, 32, 32, repeats=2),
        Case("bert", "BERT, 4 layers of 128", _bert, _tokens, 32, 32, repeats=2, needs="transformers"),
    )
}
