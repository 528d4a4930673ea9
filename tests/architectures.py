"""Networks and batches for tests of exactness: small, float64, and as unlike each other as users' models are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from l2rw_core.models import LeNet, Mlp, resnet32
from l2rw_core.scoring import ENGINES

EXACT = tuple(name for name, engine in ENGINES.items() if not engine.off_by)


class TiedLanguageModel(nn.Module):
    """Next-token logits from a mean of embeddings; the output layer is the embedding itself."""

    def __init__(self, tokens: int = 11, width: int = 6) -> None:
        super().__init__()
        self.embed = nn.Embedding(tokens, width)
        self.mix = nn.Linear(width, width)
        self.output = nn.Linear(width, tokens, bias=False)
        self.output.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.output(torch.tanh(self.mix(self.embed(tokens).mean(1))))


class Recurrent(nn.Module):
    def __init__(self, cell: type[nn.RNNBase]) -> None:
        super().__init__()
        self.cell = cell(4, 5, batch_first=True)
        self.output = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.cell(x)[0][:, -1])


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.2, activation="gelu", batch_first=True)
        self.output = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.encoder(x).mean(1))


class Branching(nn.Module):
    """One branch is never reached, one parameter is frozen, one weight is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Linear(4, 4)
        self.frozen = nn.Linear(4, 4)
        self.frozen.weight.requires_grad_(False)
        self.unreached = nn.Linear(4, 3)
        self.output = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.frozen(torch.relu(self.shared(torch.relu(self.shared(x))))))


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(4, 3), nn.Linear(2, 3)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.left(left) * torch.sigmoid(self.right(right))


@dataclass
class Case:
    """A model with a training batch of 7 and a clean batch of 5, all in float64."""

    model: nn.Module
    loss_fn: nn.Module
    batch: tuple
    clean: tuple


def _group_norm() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
    )


def _dropout_mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(4, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 16), nn.Dropout(0.3), nn.Linear(16, 3)
    )


def _images(*shape: int):
    return lambda n: torch.rand(n, *shape, dtype=torch.float64)


def _one_layer_under_two_names() -> nn.Module:
    shared = nn.Linear(8, 8)
    return nn.Sequential(nn.Linear(4, 8), shared, nn.Tanh(), shared, nn.Linear(8, 3))


ARCHITECTURES = {
    "mlp": (lambda: Mlp([4, 8, 8, 3], nn.Tanh), _images(4), 3),
    "lenet": (lambda: LeNet(3), _images(1, 28, 28), 3),
    "lenet_binary": (LeNet, _images(1, 28, 28), 1),
    "resnet32": (resnet32, _images(3, 8, 8), 10),
    "group_norm": (_group_norm, _images(3, 8, 8), 3),
    "attention": (Attention, _images(6, 8), 3),
    "tied": (TiedLanguageModel, lambda n: torch.randint(11, (n, 5)), 11),
    "gru": (lambda: Recurrent(nn.GRU), _images(6, 4), 3),
    "lstm": (lambda: Recurrent(nn.LSTM), _images(6, 4), 3),
    "dropout": (_dropout_mlp, _images(4), 3),
    "branching": (Branching, _images(4), 3),
    "two_names": (_one_layer_under_two_names, _images(4), 3),
    "two_inputs_tuple": (TwoInputs, lambda n: (_images(4)(n), _images(2)(n)), 3),
    "two_inputs_dict": (TwoInputs, lambda n: {"left": _images(4)(n), "right": _images(2)(n)}, 3),
}
WITHOUT_RANDOMNESS = [name for name in ARCHITECTURES if name not in ("attention", "dropout", "two_names")]
"""Those that PyTorch's own `functional_call` can repeat; it spoils a model that holds a module under two names."""
BATCH_INDEPENDENT = [name for name in WITHOUT_RANDOMNESS if name != "resnet32"]


def make_case(name: str, seed: int = 0, n: int = 7, m: int = 5) -> Case:
    """A fresh case: random parameters, random inputs, random labels."""
    build, inputs, classes = ARCHITECTURES[name]
    torch.manual_seed(seed)
    model = build().double().train()
    if classes == 1:
        return Case(
            model,
            nn.BCEWithLogitsLoss(reduction="none"),
            (inputs(n), torch.randint(2, (n,)).double()),
            (inputs(m), torch.randint(2, (m,)).double()),
        )
    labels = lambda k: torch.randint(classes, (k,))  # noqa: E731
    return Case(model, nn.CrossEntropyLoss(reduction="none"), (inputs(n), labels(n)), (inputs(m), labels(m)))
