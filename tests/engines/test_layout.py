"""A step on images whose channels lie last computes nothing in another layout than plain training does."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from l2rw_core import Reweighter, alignment
from l2rw_core.models import resnet32

N = 6
LOSS = nn.CrossEntropyLoss(reduction="none")


class OtherLayouts(TorchDispatchMode):
    """Operators that made N images whose channels do not lie last; such kernels, and those after them, are slow."""

    def __init__(self) -> None:
        super().__init__()
        self.operators: set[tuple[str, tuple[int, ...]]] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        images = [t for t in tree_leaves(out) if isinstance(t, torch.Tensor) and t.ndim == 4 and len(t) == N]
        for t in images:
            if 0 not in t.stride() and not t.is_contiguous(memory_format=torch.channels_last):
                self.operators.add((str(func), tuple(t.shape)))
        return out


def network(norm, activation, pool):
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3), norm(8), activation(), pool(), nn.Conv2d(8, 16, 3, bias=False), norm(16), activation()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)),
    )


MODELS = {
    "resnet32": resnet32,
    "batch norm": lambda: network(nn.BatchNorm2d, nn.ReLU, lambda: nn.MaxPool2d(2)),
    "group norm": lambda: network(lambda c: nn.GroupNorm(2, c), nn.ReLU, lambda: nn.AvgPool2d(2)),
}


@pytest.mark.parametrize("name", MODELS)
def test_slopes_lie_in_memory_as_their_images_do(name):
    torch.manual_seed(0)
    model = MODELS[name]().to(memory_format=torch.channels_last)
    batch, clean = ((_images(k), torch.randint(10, (k,))) for k in (N, N))
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    reweighter = Reweighter(model, optimizer, LOSS)
    reweighter.step(batch, clean)
    with OtherLayouts() as plain:
        LOSS(model(batch[0]), batch[1]).mean().backward()
    with OtherLayouts() as reweighted:
        reweighter.step(batch, clean)
    assert reweighter.engine == "forward"
    assert {name for name, _ in reweighted.operators - plain.operators} <= {
        # views of max-pooling's choice, whose rows are pixels
        "aten.permute.default", "aten.view.default", "aten.gather.default", "aten._unsafe_view.default",
    }  # fmt: skip


def _images(k: int) -> torch.Tensor:
    return torch.rand(k, 3, 20, 20).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("last", [False, True], ids=["channels first", "channels last"])
@pytest.mark.parametrize("trained", ["all", "weight", "nothing of it"])
@pytest.mark.parametrize("shape", [(6,), (6, 5), (6, 4, 4), (6, 3, 2, 2)], ids=len)
def test_group_norm(shape, trained, last):
    torch.manual_seed(0)
    layer = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)[len(shape) - 1]
    norm = nn.GroupNorm(2, 8, affine=trained != "nothing of it")
    if norm.affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias).requires_grad_(trained == "all")
    first = layer(6, 8) if layer is nn.Linear else layer(6, 8, 1)
    model = nn.Sequential(first, norm, nn.Tanh(), nn.Flatten(), nn.LazyLinear(3)).double()
    batch, clean = ((torch.randn(k, *shape).double(), torch.randint(3, (k,))) for k in (7, 5))
    model(batch[0])
    if last and len(shape) == 3:
        model, batch = (
            model.to(memory_format=torch.channels_last),
            (batch[0].to(memory_format=torch.channels_last), batch[1]),
        )
    u, right = (alignment(model, LOSS, batch, clean, engine)[1] for engine in ("forward", "loop"))
    torch.testing.assert_close(u, right, rtol=1e-9, atol=1e-12)
    with torch.autocast("cpu", torch.bfloat16):
        u = alignment(model.float(), LOSS, *((x.float(), y) for x, y in (batch, clean)))[1]
    assert (u - right).norm() < 0.05 * right.norm()
