"""Models that `torch.compile` has compiled are weighed as the models that they were."""

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from l2rw_core import Reweighter

CROSS_ENTROPY = nn.CrossEntropyLoss(reduction="none")


class Counting:
    """A backend that runs what it is given, and counts the runs."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self, graph: torch.fx.GraphModule, examples: list[Tensor]) -> Callable[..., Any]:
        def run(*values: Any) -> Any:
            self.runs += 1
            return graph.forward(*values)

        return run


def network(normalised: bool) -> nn.Sequential:
    torch.manual_seed(0)
    between = [nn.BatchNorm1d(7)] if normalised else []
    return nn.Sequential(nn.Linear(5, 7), *between, nn.GELU(), nn.Linear(7, 3)).double()


def compiled(model: nn.Module, in_place: bool, backend: Counting) -> nn.Module:
    torch._dynamo.reset()
    if not in_place:
        return torch.compile(model, backend=backend)
    model.compile(backend=backend)
    return model


def train(model: nn.Module, engine: str) -> tuple[Tensor, str]:
    """Alignments of three steps, and the engine that computed the last of them."""
    reweighter = Reweighter(model, torch.optim.SGD(model.parameters(), 0.1, momentum=0.9), CROSS_ENTROPY, engine)
    draw = torch.Generator().manual_seed(1)
    x, y = torch.randn(10, 5, generator=draw, dtype=torch.float64), torch.arange(10) % 3
    clean = torch.randn(6, 5, generator=draw, dtype=torch.float64), torch.arange(6) % 3
    return torch.stack([reweighter.step((x, y), clean).alignment for _ in range(3)]), reweighter.engine


@pytest.mark.parametrize("in_place", [False, True], ids=["wrapped", "in place"])
@pytest.mark.parametrize("normalised", [False, True], ids=["independent", "normalised"])
@pytest.mark.parametrize("engine", ["forward", "two_pass", "ghost", "reverse", "lookahead"])
def test_compilation_changes_neither_weights_nor_training_nor_engine(
    engine: str, normalised: bool, in_place: bool
) -> None:
    plain = network(normalised)
    other, backend = copy.deepcopy(plain), Counting()
    wanted, used = train(plain, engine)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        found, used_compiled = train(compiled(other, in_place, backend), engine)
    assert used_compiled == used
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)
    for after, expected in zip(other.state_dict().values(), plain.state_dict().values(), strict=True):
        torch.testing.assert_close(after, expected, rtol=1e-10, atol=1e-12)
    if engine in ("forward", "two_pass", "ghost") and not in_place:  # older versions of PyTorch call that uncompiled
        assert backend.runs > 0, "the clean pass takes the compiled code"


def test_the_model_is_compiled_again_after_a_step() -> None:
    backend = Counting()
    model = compiled(network(False), False, backend)
    train(model, "forward")
    before = backend.runs
    model(torch.zeros(4, 5, dtype=torch.float64))
    assert backend.runs > before


@pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor that is not a leaf"
)  # PyTorch's compiler looks at it
def test_a_compiled_loss_is_weighed_too() -> None:
    torch._dynamo.reset()
    backend, model = Counting(), network(False)
    x, y = torch.randn(8, 5, dtype=torch.float64), torch.arange(8) % 3
    loss_fn = torch.compile(lambda outputs, targets: CROSS_ENTROPY(outputs, targets), backend=backend)
    steps = [Reweighter(model, None, loss) for loss in (CROSS_ENTROPY, loss_fn)]
    for reweighter in steps:
        reweighter.loss((x, y), (x[:4], y[:4]))
    torch.testing.assert_close(steps[1].last.alignment, steps[0].last.alignment, rtol=1e-10, atol=1e-12)
    assert (steps[1].engine, backend.runs > 0) == ("forward", True)
