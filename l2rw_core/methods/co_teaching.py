"""Two networks that choose each other's examples."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from l2rw_core.methods.base import Method, Minibatch, Update


@dataclass
class CoTeaching(Method):
    """Each of two networks trains on the examples that the other finds easiest (Han et al., 2018).

    Of a batch of n each network picks the ``(1 - r) n`` of lowest loss for the other, with r growing linearly to the
    share of wrong labels over the first twentieth of the run, and constant from there. That share is told, as in the
    paper. The second network differs in its initial parameters; the first is the one that is evaluated.
    """

    uses_truth: ClassVar[bool] = True
    knows_length: ClassVar[bool] = True
    growth: ClassVar[float] = 0.05

    def __post_init__(self) -> None:
        if self.task.share_right is None:
            raise ValueError("co_teaching is told the share of wrong labels: it needs task.share_right")
        counts = self.task.class_counts.to(self.task.share_right)
        self.share_wrong = float(1 - (counts * self.task.share_right).sum() / counts.sum())
        self.peer = copy.deepcopy(self.model)
        _draw_anew(self.peer)
        self.peer_optimizer = type(self.optimizer)(_same_groups(self.optimizer, self.model, self.peer))

    def step(self, batch: Minibatch, clean_batch: tuple[Tensor, Tensor], step: int) -> Update:
        for own, of_peer in zip(self.optimizer.param_groups, self.peer_optimizer.param_groups, strict=True):
            of_peer["lr"] = own["lr"]
        losses = self.objective(self.model(batch.x), batch.y)
        of_peer = self.objective(self.peer(batch.x), batch.y)
        weights, for_peer = (self.weights(f.detach(), batch, step) for f in (of_peer, losses))
        self.descend(losses, weights)
        self.peer_optimizer.zero_grad(set_to_none=True)
        (for_peer * of_peer).sum().backward()
        self.peer_optimizer.step()
        return Update(losses.detach(), weights)

    def weights(self, losses: Tensor, batch: Minibatch, step: int) -> Tensor:
        """(n,) weights for one network, from the (n,) losses of the other."""
        left_out = self.share_wrong * min(step / max(self.growth * self.task.total_steps, 1), 1.0)
        count = max(1, round((1 - left_out) * len(losses)))
        w = torch.zeros_like(losses)
        w[losses.topk(count, largest=False).indices] = 1 / count
        return w

    def state_dict(self) -> dict[str, Any]:
        return {"peer": self.peer.state_dict(), "peer_optimizer": self.peer_optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.peer.load_state_dict(state["peer"])
        self.peer_optimizer.load_state_dict(state["peer_optimizer"])


def _draw_anew(model: nn.Module) -> None:
    """Other initial parameters of the same kind: each tensor's entries in another order, which keeps their spread."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.flatten()[torch.randperm(p.numel(), generator=generator).to(p.device)].view_as(p))


def _same_groups(optimizer: torch.optim.Optimizer, model: nn.Module, copied: nn.Module) -> list[dict[str, Any]]:
    """The optimizer's groups, with the parameters of a copy of its model."""
    of_copy = dict(zip(model.parameters(), copied.parameters(), strict=True))
    return [{**group, "params": [of_copy[p] for p in group["params"]]} for group in optimizer.param_groups]
