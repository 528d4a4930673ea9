"""Exact reweighting on several processes: each holds a share of the batch, and all take the step of the whole batch.

A reweighted step needs three sums over the examples of all processes. Each is one all-reduce:

====================== =========================================================== =====================
sum                    what it gives                                               numbers sent
====================== =========================================================== =====================
clean gradients        v, the gradient of the mean loss of the whole clean batch   one a parameter
``max(u_i, 0)``        weights that sum to 1 over the whole batch (equation 9)     four, and a flag
weighted gradients     the update                                                  one a parameter
====================== =========================================================== =====================

Shares may differ in size. The parameters are those of one process with the whole batch, up to rounding, for networks
whose examples do not interact. Batch normalisation lets them interact: each process normalises by its own share and
keeps its own running statistics, so save those of one process. PyTorch's ``SyncBatchNorm`` does not help: it runs on
GPUs only, and has neither a forward-mode rule nor a second derivative, one of which an engine needs. Group and layer
normalisation need no such care.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from l2rw_core.engines.passes import Batch, CleanGradient, LossFn, Tensors
from l2rw_core.reweight import Reweighter
from l2rw_core.scoring import Scores, Scoring, clean_gradient
from l2rw_core.weights import Step, as_ids, scaled


@dataclass(frozen=True)
class SharedStep(Step):
    """A `Step` of several processes.

    ``weights``, ``alignment`` and ``losses`` are those of this process's own examples, and the weights of all processes
    together sum to 1; ``loss``, ``clean_loss``, ``examples`` and ``effective_examples`` are of the whole batch.
    """

    effective_of_all: float = 0.0
    examples_of_all: int = 0

    @property
    def examples(self) -> int:
        """As in `Step`, of all processes."""
        return self.examples_of_all

    @property
    def effective_examples(self) -> float:
        """As in `Step`, over the examples of all processes."""
        return self.effective_of_all


class DistributedReweighter(Reweighter):
    """A `Reweighter` on each of k processes that makes the update of a single one with all their examples.

    Parameters and buffers are copied from the group's first process when this is built. ``step(batch, clean_batch)``
    takes this process's share of both batches, at least one example of each, and of the ids, if there are any; all
    processes have to call it equally often. If no example of the whole batch has a positive alignment, no process
    changes anything. If one process raises an error about its share, all of them do, and no model has changed.

    In a loop of one's own, `reduce_gradients` goes between ``backward()`` and the optimizer's ``step()``.

    Args:
        model, optimizer, loss_fn: as for `Reweighter`. A model that is wrapped in ``DistributedDataParallel`` is
            unwrapped. Parameters of a loss that is a module, and what else the optimizer holds, are shared too.
        engine: any but ``"lookahead"``; see `l2rw_core.alignment`.
        process_group: of `torch.distributed`; by default all processes.
        warmup: as for `Reweighter`: steps in which all examples of all processes have the same weight.
        check: as for `Reweighter`. If a process leaves an engine, all of them make the step anew, each with its own.

    Raises:
        RuntimeError: if `torch.distributed` was not initialised.
        ValueError: for the engine ``"lookahead"``, or if the processes hold different networks.

    Example, started with ``torchrun --nproc-per-node 2 train.py``::

        torch.distributed.init_process_group("gloo")  # "nccl" on GPUs
        loss_fn = nn.CrossEntropyLoss(reduction="none")
        reweighter = DistributedReweighter(model, optimizer, loss_fn)
        for batch in loader:  # with a DistributedSampler
            step = reweighter.step(batch, clean_batch)
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer | None,
        loss_fn: LossFn,
        engine: str = "forward",
        process_group: dist.ProcessGroup | None = None,
        warmup: int = 0,
        check: str = "every",
    ) -> None:
        if engine == "lookahead":
            raise ValueError('engine "lookahead" needs the whole clean batch in one process; choose "forward"')
        if not (dist.is_available() and dist.is_initialized()):
            raise RuntimeError("start with torchrun, and call torch.distributed.init_process_group first")
        model = model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model
        super().__init__(model, optimizer, loss_fn, engine, warmup, check)
        self.process_group = process_group
        self.health = None  # a process sees its own share of a batch alone
        _copy_from_first(model, self._others(), process_group)

    def reduce_gradients(self) -> None:
        """Replace each parameter's ``.grad`` by the sum over all processes, or by ``None`` if no process has one."""
        parameters = _trainable(self.model) | self._others()
        reached = [p.grad is not None for p in parameters.values()]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters.values()]
        flat = torch.cat([_flat(gradients), gradients[0].new_tensor(reached, dtype=_dtype(gradients))])
        dist.all_reduce(flat, group=self.process_group)
        reached_anywhere = flat[-len(reached) :].bool().tolist()
        for p, gradient, is_reached in zip(
            parameters.values(), _unflat(flat, gradients), reached_anywhere, strict=True
        ):
            p.grad = gradient if is_reached else None

    def _others(self) -> Tensors:
        """What is trained beside the model, by name: parameters of the loss, and what else the optimizer holds."""
        of_loss = self.loss_fn.parameters() if isinstance(self.loss_fn, nn.Module) else ()
        of_optimizer = (
            [] if self.optimizer is None else [p for group in self.optimizer.param_groups for p in group["params"]]
        )
        own = {id(p) for p in self.model.parameters()}
        others = {id(p): p for p in (*of_loss, *of_optimizer) if p.requires_grad and id(p) not in own}
        return {f"beside the model: {k}": p for k, p in enumerate(others.values())}

    def _scoring(self, batch: Batch, clean_batch: Batch) -> Scoring:
        return super()._scoring(batch, self._whole_clean_gradient(clean_batch))

    def _weigh(self, scoring: Scoring, ids: Any) -> tuple[Tensor, Scores, Step]:
        clean = scoring.clean
        scores, failure = _attempt(self._scores, scoring)
        positive, failure = (None, failure) if failure else _attempt(self._unscaled, scores.alignment)
        if ids is not None and not failure:
            ids, failure = _attempt(as_ids, ids, len(positive))
        mine = torch.zeros(4, dtype=torch.float64, device=clean.loss.device)
        if not failure:
            p = positive.double()
            mine = torch.stack([p.sum(), p.square().sum(), p @ scores.losses.detach().double(), p.new_tensor(len(p))])
        total, squares, weighted_losses, examples = self._sum(mine, failure)
        weights = scaled(positive, total)
        effective = float(total**2 / squares) if squares > 0 else 0.0
        step = SharedStep(
            loss=scaled(weighted_losses, total).to(scores.losses.dtype),
            weights=weights,
            alignment=scores.alignment,
            losses=scores.losses.detach(),
            clean_loss=clean.loss,
            ids=ids,
            engine=scores.engine,
            effective_of_all=effective,
            examples_of_all=int(examples),
        )
        with torch.enable_grad():
            return (weights * scores.losses).sum(), scores, step

    def _fits(self, scoring: Scoring, scores: Scores, step: Step, loss: Tensor) -> bool:
        fits, failure = _attempt(super()._fits, scoring, scores, step, loss)
        nobody = not self._sum(torch.tensor([float(not fits)], device=loss.device), failure)
        if nobody:
            self.reduce_gradients()
        elif fits:
            scoring.rewind()
        return nobody

    def _whole_clean_gradient(self, clean_batch: Batch) -> CleanGradient:
        parameters = _trainable(self.model)
        like = list(parameters.values())
        own, failure = _attempt(clean_gradient, self.model, self.loss_fn, clean_batch)
        mine = torch.zeros(sum(map(torch.numel, like)) + 2, dtype=_dtype(like), device=like[0].device)
        if not failure:
            gradient = own.unscaled
            mine[:-2] = own.examples * _flat([gradient[name] for name in parameters])
            mine[-2], mine[-1] = own.examples * own.loss, own.examples
        whole = self._sum(mine, failure)
        loss = (whole[-2] / whole[-1]).to(own.loss.dtype)
        v = _unflat(whole[:-2] / whole[-1], like)
        return CleanGradient(loss, dict(zip(parameters, v, strict=True)), int(whole[-1]))

    def _sum(self, mine: Tensor, failure: Exception | None) -> Tensor:
        """The sum of `mine` over the processes. A failure travels with it, so that nobody waits for who has failed."""
        flat = torch.cat([mine, mine.new_tensor([failure is not None])])
        dist.all_reduce(flat, group=self.process_group)
        if failure:
            raise failure
        if flat[-1]:
            raise RuntimeError(
                f"{int(flat[-1])} other process(es) failed in this step, and say why; nothing was changed"
            )
        return flat[:-1]


def _attempt(function: Callable, *arguments: Any) -> tuple[Any, Exception | None]:
    try:
        return function(*arguments), None
    except Exception as error:
        return None, error


def _trainable(model: nn.Module) -> Tensors:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def _dtype(tensors: list[Tensor]) -> torch.dtype:
    """Of a buffer that holds all `tensors` and counts of examples: half precision is summed in single precision."""
    return reduce(torch.promote_types, (t.dtype for t in tensors), torch.float32)


def _flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([t.detach().flatten().to(_dtype(tensors)) for t in tensors])


def _unflat(flat: Tensor, like: list[Tensor]) -> list[Tensor]:
    parts = flat[: sum(map(torch.numel, like))].split([t.numel() for t in like])
    return [torch.empty_like(t).copy_(part.view(t.shape)) for part, t in zip(parts, like, strict=True)]


def _copy_from_first(model: nn.Module, others: Tensors, group: dist.ProcessGroup | None) -> None:
    """Start every process from the values of the group's first one; ValueError if their networks differ."""
    pairs = [*model.named_parameters(), *model.named_buffers(), *others.items()]
    tensors = {name: t.detach() for name, t in pairs}
    trainable = _trainable(model) | others
    mine = [(name, tuple(t.shape), str(t.dtype), name in trainable) for name, t in tensors.items()]
    all_of_them: list[Any] = [None] * dist.get_world_size(group)
    dist.all_gather_object(all_of_them, mine, group=group)
    if any(other != mine for other in all_of_them):
        raise ValueError("the processes hold different networks: build the same one, with the same frozen parameters")
    for t in tensors.values():
        values = t.contiguous()
        dist.broadcast(values, group_src=0, group=group)
        t.copy_(values)
