"""What one of several processes does in the tests of data-parallel training. It imports no test."""

from __future__ import annotations

import os
from pathlib import Path

import torch
import torch.distributed as dist
from architectures import make_case
from torch import nn

from l2rw_core.loops.distributed import DistributedReweighter

STEPS = {"mlp": 50, "group_norm": 50, "lenet": 5, "tied": 5, "branching": 5}
N, M = {2: (7, 5), 4: (3, 4, 1, 4)}, {2: (2, 6), 4: (3, 1, 2, 2)}
"""Examples of the training and of the clean batch that each process holds; in all 12 and 8."""


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
        "failure": failure(group),
        "different networks": different_networks(group),
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
