"""What one of several processes does in the tests of data-parallel training. It imports no test."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from architectures import make_case
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from l2rw_core.loops.distributed import DistributedReweighter

STEPS = {"mlp": 50, "group_norm": 50, "lenet": 5, "tied": 5, "branching": 5}
N, M = {2: (7, 5), 4: (3, 4, 1, 4)}, {2: (2, 6), 4: (3, 1, 2, 2)}
"""Examples of the training and of the clean batch that each process holds; in all 12 and 8."""


FEW, FEW_CLEAN = {2: (2, 5), 4: (1, 3, 1, 2)}, {2: (4, 1), 4: (2, 1, 1, 1)}
"""The same for smaller batches, in all 7 and 5."""

APART = ("forward", "ghost", "reverse", "two_pass")


def share(batch: tuple, sizes: tuple[int, ...], rank: int) -> tuple:
    start = sum(sizes[:rank])
    return tuple(part[start : start + sizes[rank]] for part in batch)


def sgd(model: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-2)


def case_of(name: str, step: int = 0):
    return make_case(name, step, n=12, m=8)


def train(name: str, group: dist.ProcessGroup, engine: str = "forward", steps: int = 5, warmup: int = 0) -> dict:
    """Each step has another batch. Processes start from parameters of their own, and take over those of the first."""
    rank, world = dist.get_rank(group), dist.get_world_size(group)
    case = make_case(name, seed=rank)
    reweighter = DistributedReweighter(case.model, sgd(case.model), case.loss_fn, engine, group, warmup)
    effective = []
    for k in range(steps):
        whole = case_of(name, k)
        (ids,) = share((torch.arange(12),), N[world], rank)
        step = reweighter.step(share(whole.batch, N[world], rank), share(whole.clean, M[world], rank), ids)
        effective.append(step.effective_examples)
    return {"state": case.model.state_dict(), "step": vars(step), "effective": effective, "engine": reweighter.engine}


class Scale(nn.Module):
    """A loss that learns how to scale each output."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(3).double())

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(outputs * self.log_scale.exp(), targets, reduction="none")


def swish(x: torch.Tensor) -> torch.Tensor:
    return x * torch.sigmoid(x)


class Swish(nn.Module):
    """Its slopes are out of sight of the engine that is asked for first if it is scripted: an engine of its own."""

    def __init__(self, scripted: bool) -> None:
        super().__init__()
        self.function = torch.jit.script(swish) if scripted else swish

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


def small_net(seed: int = 0, activation: nn.Module | None = None, normalised: bool = False) -> nn.Module:
    torch.manual_seed(seed)
    norm = nn.BatchNorm1d(6) if normalised else nn.Identity()
    return nn.Sequential(nn.Linear(4, 6), norm, activation or nn.Tanh(), nn.Linear(6, 3)).double()


def small(step: int = 0) -> tuple:
    """A training batch of 7 and a clean one of 5."""
    generator = torch.Generator().manual_seed(step)
    return tuple(
        (torch.randn(n, 4, generator=generator).double(), torch.randint(3, (n,), generator=generator)) for n in (7, 5)
    )


def small_shares(group: dist.ProcessGroup, step: int = 0) -> tuple:
    rank, world = dist.get_rank(group), dist.get_world_size(group)
    batch, clean = small(step)
    return share(batch, FEW[world], rank), share(clean, FEW_CLEAN[world], rank)


def all_sgd(model: nn.Module, loss_fn: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD([*model.parameters(), *loss_fn.parameters()], lr=0.5, momentum=0.9)


def small_run(group: dist.ProcessGroup, model: nn.Module, wrap: Any = None) -> dict:
    """Five steps with a loss that is trained too; each process starts from a scale of its own."""
    loss_fn = Scale()
    with torch.no_grad():
        loss_fn.log_scale += dist.get_rank(group)
    optimizer = all_sgd(model, loss_fn)
    reweighter = DistributedReweighter(wrap(model) if wrap else model, optimizer, loss_fn, process_group=group)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for k in range(5):
            reweighter.step(*small_shares(group, k))
    state = {**model.state_dict(), "log_scale": loss_fn.log_scale.detach()}
    return {"state": state, "engine": reweighter.engine, "said": [str(w.message) for w in said]}


def one_leaves_its_engine(group: dist.ProcessGroup) -> dict:
    return small_run(group, small_net(activation=Swish(scripted=dist.get_rank(group) == 0)))


def loss_of_its_own_in_a_loop(group: dist.ProcessGroup) -> dict:
    model, loss_fn = small_net(), Scale()
    optimizer = all_sgd(model, loss_fn)
    reweighter = DistributedReweighter(model, None, loss_fn, process_group=group)
    for k in range(5):
        optimizer.zero_grad()
        reweighter.loss(*small_shares(group, k)).backward()
        reweighter.reduce_gradients()
        optimizer.step()
    return {"state": {**model.state_dict(), "log_scale": loss_fn.log_scale.detach()}}


def no_engine(group: dist.ProcessGroup, later: bool) -> dict:
    """The last process clips a gradient in a hook, from the start or after a step: no weights fit that."""
    model, loss_fn = small_net(normalised=True), Scale()
    optimizer = all_sgd(model, loss_fn)
    reweighter = DistributedReweighter(model, optimizer, loss_fn, process_group=group)
    batches = small()  # normalisation needs more than one example
    if later:
        reweighter.step(*batches)
    hook = None
    if dist.get_rank(group) == dist.get_world_size(group) - 1:
        hook = model[0].weight.register_hook(lambda g: g.clamp(-1e-3, 1e-3))

    def held() -> list[torch.Tensor]:
        momenta = [v for values in optimizer.state.values() for v in values.values() if isinstance(v, torch.Tensor)]
        return [*model.state_dict().values(), *loss_fn.parameters(), *momenta]

    before, error = [t.detach().clone() for t in held()], ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reweighter.step(*batches)
    except (ValueError, RuntimeError) as raised:
        error = f"{type(raised).__name__}: {raised}"
    unchanged = all(torch.equal(a, b) for a, b in zip(before, held(), strict=True))
    unchanged &= all(p.grad is None for p in (*model.parameters(), *loss_fn.parameters()))
    steps = reweighter.steps
    if hook is not None:
        hook.remove()
    after = float(reweighter.step(*batches).weights.sum())
    return {"error": error, "unchanged": unchanged, "steps": steps, "after": after}


def own_loop(group: dist.ProcessGroup) -> dict:
    rank, world = dist.get_rank(group), dist.get_world_size(group)
    case = make_case("branching")
    optimizer = sgd(case.model)
    reweighter = DistributedReweighter(case.model, None, case.loss_fn, process_group=group)
    for k in range(3):
        whole = case_of("branching", k)
        optimizer.zero_grad()
        reweighter.loss(share(whole.batch, N[world], rank), share(whole.clean, M[world], rank)).backward()
        reweighter.reduce_gradients()
        optimizer.step()
    return {"state": case.model.state_dict()}


class Signed(nn.Module):
    """f_i = t_i (w . x_i): with positive inputs, the targets' signs are those of the alignments."""

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return outputs.flatten() * targets


def signed(group: dist.ProcessGroup, targets: list[float]) -> dict:
    """A second step, with momentum, whose alignments have the sign that `targets` says, one a process."""
    torch.manual_seed(0)
    model = nn.Linear(3, 1, bias=False).double()
    optimizer = sgd(model)
    reweighter = DistributedReweighter(model, optimizer, Signed(), process_group=group)
    x, one = torch.rand(2, 3, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    reweighter.step((x, one), (x, one))
    before = model.weight.detach().clone()
    step = reweighter.step((x, one * targets[dist.get_rank(group)]), (x, one))
    return {
        "moved": not torch.equal(before, model.weight),
        "weights": step.weights,
        "effective": step.effective_examples,
        "weight": model.weight.detach(),
    }


def halved(world: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """An example and a clean example of each process, whose clean losses are far apart; labels of the clean ones."""
    x = torch.rand(world, 3, generator=torch.Generator().manual_seed(1))
    return x, torch.eye(3)[torch.arange(world) % 3] + 0.1, 2.0 ** (-5 * torch.arange(world))


def half_precision(group: dist.ProcessGroup) -> dict:
    rank, world = dist.get_rank(group), dist.get_world_size(group)
    torch.manual_seed(0)
    model = nn.Linear(3, 1, bias=False)
    nn.init.ones_(model.weight)
    reweighter = DistributedReweighter(model, sgd(model), Signed(), process_group=group)
    x, clean_x, clean_y = (part[rank : rank + 1] for part in halved(world))
    with torch.autocast("cpu", torch.float16):
        step = reweighter.step((x, torch.ones(1)), (clean_x, clean_y))
    return {"alignment": step.alignment}


def failure(group: dist.ProcessGroup) -> dict:
    """The last process has a bad input in its training or in its clean share, and afterwards has not."""
    rank, world = dist.get_rank(group), dist.get_world_size(group)
    case = make_case("mlp", n=12, m=8)
    reweighter = DistributedReweighter(case.model, sgd(case.model), case.loss_fn, process_group=group)
    before = {name: value.clone() for name, value in case.model.state_dict().items()}
    batch, clean = share(case.batch, N[world], rank), share(case.clean, M[world], rank)
    errors = []
    for bad in ("training", "clean"):
        spoil = lambda pair, role: (pair[0] * torch.nan, pair[1]) if rank == world - 1 and bad == role else pair  # noqa: B023, E731
        try:
            reweighter.step(spoil(batch, "training"), spoil(clean, "clean"))
        except (ValueError, RuntimeError) as error:
            errors.append(f"{type(error).__name__}: {error}")
    unchanged = all(torch.equal(before[name], value) for name, value in case.model.state_dict().items())
    return {"errors": errors, "unchanged": unchanged, "after": float(reweighter.step(batch, clean).weights.sum())}


def different_networks(group: dist.ProcessGroup) -> dict:
    model = nn.Linear(3, 1 + (dist.get_rank(group) == 0))
    try:
        DistributedReweighter(model, sgd(model), Signed(), process_group=group)
    except ValueError as error:
        return {"error": str(error)}
    return {"error": ""}


def everything(group: dist.ProcessGroup) -> dict[str, dict]:
    world = dist.get_world_size(group)
    return {
        **{name: train(name, group, steps=steps) for name, steps in STEPS.items()},
        **{f"mlp {engine}": train("mlp", group, engine) for engine in ("two_pass", "ghost", "reverse")},
        "mlp warm-up": train("mlp", group, warmup=3),
        "own loop": own_loop(group),
        "all opposed": signed(group, [-1.0] * world),
        "one agrees": signed(group, [1.0] + [-1.0] * (world - 1)),
        "half precision": half_precision(group),
        "failure": failure(group),
        "different networks": different_networks(group),
        "loss of its own": small_run(group, small_net(dist.get_rank(group))),
        "loss of its own, own loop": loss_of_its_own_in_a_loop(group),
        "wrapped": small_run(group, small_net(), wrap=lambda m: DistributedDataParallel(m, process_group=group)),
        "engines apart": train("mlp", group, APART[dist.get_rank(group)]),
        "one leaves its engine": one_leaves_its_engine(group),
        "no engine": no_engine(group, later=False),
        "no engine later": no_engine(group, later=True),
    }


def work(rank: int, folder: Path) -> None:
    """Four processes do everything together, then two of them do; results go to ``<folder>/<processes>-<rank>.pt``."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=4)
    pair = dist.new_group([0, 1])
    torch.save(everything(dist.group.WORLD), folder / f"4-{rank}.pt")
    if rank < 2:
        torch.save(everything(pair), folder / f"2-{rank}.pt")
    dist.destroy_process_group()
