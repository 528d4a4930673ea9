"""Every layer of PyTorch's own database of modules, with its own sample inputs, against ordinary backward passes.

A layer stands between two trained ones that do not look at its kind: a scale of what enters it, and a random projection
of what comes out. So layers without parameters are tried too.
"""

import warnings

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from l2rw_core.scoring import score

modules = pytest.importorskip("torch.testing._internal.common_modules", exc_type=ImportError)

N, SAMPLES, PARTS = 3, 3, 4

OTHERS: dict[str, str] = {"nn.MultiMarginLoss": "loop", "nn.MultiLabelMarginLoss": "loop", "nn.CTCLoss": "loop"}
"""Layer -> the engine where it ends, if that is not the fastest one. These have no second derivative either."""


class Between(nn.Module):
    """A layer whose floating inputs are scaled by a trained number, so that there is always something to train."""

    def __init__(self, layer: nn.Module, arguments) -> None:
        super().__init__()
        self.layer, self.scale = layer, nn.Parameter(torch.tensor(0.9).double())
        self.arguments = arguments

    def forward(self, _):
        def scaled(t):
            grows = isinstance(t, Tensor) and t.is_floating_point() and t.requires_grad
            return t.detach() * self.scale if grows else t.detach().clone() if isinstance(t, Tensor) else t

        args, kwargs = tree_map(scaled, self.arguments)
        out = tree_leaves(self.layer(*args, **kwargs))
        return torch.cat([t.flatten() for t in out if isinstance(t, Tensor) and t.is_floating_point()])


def projected(out: Tensor, factors: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(len(factors), out.numel(), generator=generator).double() @ out * factors


BATCH = torch.zeros(N), torch.arange(1, N + 1).double()
CLEAN = torch.zeros(N), torch.full((N,), 2.0).double()


def alignments(model: nn.Module, engine: str):
    torch.manual_seed(5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return score(model, projected, BATCH, CLEAN, engine, check=engine != "loop")


def cases(info, training: bool):
    made = 0
    for sample in info.module_inputs_func(
        info, device="cpu", dtype=torch.float64, requires_grad=True, training=training
    ):
        if sample.forward_input is None or made == SAMPLES:
            continue
        torch.manual_seed(0)
        options = {"device": "cpu", "dtype": torch.float64}
        layer = info.module_cls(*sample.constructor_input.args, **sample.constructor_input.kwargs)
        layer = layer.to(**options).train(training)
        model = Between(layer, (sample.forward_input.args, sample.forward_input.kwargs))
        try:
            expected = alignments(model, "loop")
        except ValueError:  # nothing in it depends on what is trained
            continue
        made += 1
        yield model, expected


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("part", range(PARTS))
def test_every_layer_has_the_slopes_of_ordinary_backward_passes(part, training):
    wrong, tried = [], 0
    for info in modules.module_db[part::PARTS]:
        for model, expected in cases(info, training):
            found = alignments(model, "forward")
            scale = max(float(expected.alignment.abs().max()), 1e-20)
            off = float((found.alignment - expected.alignment).abs().max()) / scale
            if not off < 1e-9:
                wrong.append(f"{info.name}: off by {off:.1g} by {found.engine}")
            if found.engine != OTHERS.get(info.name, "forward"):
                wrong.append(f"{info.name}: ends in {found.engine}")
            tried += 1
    assert wrong == []
    assert tried > 40
