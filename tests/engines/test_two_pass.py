"""PyTorch's dual numbers in a pass of their own: what they need beside them, and what they leave alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from l2rw_core.scoring import score

LOSS = nn.CrossEntropyLoss(reduction="none")


class Encoder(nn.Module):
    """A Transformer layer, for which PyTorch has one fused function when it evaluates."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.2, batch_first=True)
        self.output = nn.Linear(8, 3)

    def forward(self, x):
        return self.output(self.layer(x).mean(1))


def batches(n: int = 6, m: int = 4):
    draw = torch.Generator().manual_seed(0)
    return tuple((torch.randn(k, 5, 8, generator=draw).double(), torch.arange(k) % 3) for k in (n, m))


@pytest.mark.parametrize("training", [False, True])
def test_a_transformer_has_its_slopes_in_either_mode(training):
    torch.manual_seed(0)
    model = Encoder().double().train(training)
    found = {}
    for engine in ("two_pass", "reverse"):
        torch.manual_seed(1)
        found[engine] = score(model, LOSS, *batches(), engine)
        assert found[engine].engine == engine
    assert found["reverse"].alignment.abs().max() > 0
    torch.testing.assert_close(found["two_pass"].alignment, found["reverse"].alignment, rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(found["two_pass"].losses, found["reverse"].losses, rtol=1e-12, atol=0)


def test_losses_have_their_graph_and_slopes_have_none():
    model = nn.Sequential(nn.Flatten(), nn.Linear(40, 3)).double()
    found = score(model, LOSS, *batches(), "two_pass")
    assert not found.alignment.requires_grad
    found.losses.sum().backward()
    assert all(p.grad.any() for p in model.parameters())


def test_running_statistics_count_the_batch_once_though_it_passes_twice():
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm1d(5), nn.Flatten(), nn.Linear(40, 3)).double()
    batch, clean = batches()
    found = score(model, LOSS, batch, clean, "two_pass")
    assert int(model[0].num_batches_tracked) == 0
    model(batch[0])
    assert all(torch.equal(found.buffers[name], value) for name, value in model.named_buffers())


def test_losses_that_no_parameter_reaches_are_refused():
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

        def forward(self, x):
            out = torch.zeros(len(x), 3)
            return out + self.weight if len(x) == 4 else out  # the clean batch alone

    batch, clean = batches()
    with pytest.raises(ValueError, match="the training loss does not depend on any trainable parameter"):
        score(Constant(), LOSS, batch, clean, "two_pass")
