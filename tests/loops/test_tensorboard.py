"""What a step saw, as TensorBoard reads it."""

import pytest
import torch
from torch import nn

from l2rw_core import Reweighter
from l2rw_core.loops.tensorboard import write_step
from l2rw_core.models import Mlp


def test_a_step_on_tensorboard(tmp_path):
    tensorboard = pytest.importorskip("torch.utils.tensorboard", reason="the extra tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    torch.manual_seed(0)
    model = Mlp([4, 8, 3])
    x, y = torch.rand(7, 4), torch.arange(7) % 3
    loss_fn = nn.CrossEntropyLoss(reduction="none")
    step = Reweighter(model, torch.optim.SGD(model.parameters(), 0.1), loss_fn).step((x, y), (x[:4], y[:4]))
    with tensorboard.SummaryWriter(str(tmp_path)) as writer:
        write_step(writer, step, 5)
    found = EventAccumulator(str(tmp_path)).Reload()
    (entry,) = found.Scalars("l2rw/effective_examples")
    assert (entry.step, entry.value) == (5, pytest.approx(step.effective_examples))
    (zeros,) = found.Scalars("l2rw/without_weight")
    assert zeros.value == pytest.approx(float((step.weights == 0).double().mean()))
    assert found.Histograms("l2rw/weights")[0].histogram_value.num == 7
