"""Meta-Weight-Net: the weight as a learned function of the loss (Shu et al., 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from l2rw_core.engines.passes import call, write_buffers
from l2rw_core.methods.base import Method, Minibatch, Update
from l2rw_core.scoring import directional_derivative


@dataclass
class MetaWeightNet(Method):
    """A small network V maps each loss to a weight; V follows the clean loss one virtual step ahead.

    With ``theta_hat = theta - alpha (1/n) sum_i V(f_i) grad f_i(theta)``, the clean loss at theta_hat has the gradient
    ``-(alpha/n) sum_i u_i grad_V V(f_i)`` with ``u_i = < grad f^v(theta_hat), grad f_i(theta) >``. All u_i are one
    forward-mode derivative of the training losses, as in `l2rw_core.alignment`, so no graph of a graph is kept. V has
    100 hidden units, a sigmoid output, and Adam at 1e-3 with decay 1e-4; alpha is the optimizer's learning rate.
    Weights are V(f_i) / n, and do not sum to 1.
    """

    uses_clean: ClassVar[bool] = True
    hidden: ClassVar[int] = 100

    def __post_init__(self) -> None:
        like = next(self.model.parameters())
        self.net = nn.Sequential(nn.Linear(1, self.hidden), nn.ReLU(), nn.Linear(self.hidden, 1), nn.Sigmoid()).to(like)
        self.net_optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-3, weight_decay=1e-4)

    def step(self, batch: Minibatch, clean_batch: tuple[Tensor, Tensor], step: int) -> Update:
        pair = batch.x, batch.y
        devices = [batch.x.device] if batch.x.is_cuda else []
        with torch.random.fork_rng(devices):  # the scored pass below draws the same dropout masks again
            losses = self.loss_fn(self._evaluate(dict(self.model.named_parameters()), batch.x), batch.y)
            direction = self._clean_gradient_ahead(losses, clean_batch)
        losses, u, buffers = directional_derivative(self.model, self.loss_fn, pair, direction)
        self._follow_clean_loss(losses.detach(), u)
        with torch.no_grad():
            weights = self.shares(self.value(losses))
        self.descend(losses, weights)
        write_buffers(self.model, buffers)
        return Update(losses.detach(), weights)

    def value(self, losses: Tensor) -> Tensor:
        """(n,) V of (n,) detached losses, between 0 and 1."""
        return self.net(losses.detach()[:, None])[:, 0]

    def shares(self, values: Tensor) -> Tensor:
        """(n,) weights of (n,) values of V."""
        return values / len(values)

    def _clean_gradient_ahead(self, losses: Tensor, clean_batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """grad f^v at theta_hat."""
        theta = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        with torch.no_grad():
            weights = self.shares(self.value(losses))
        g = torch.autograd.grad((weights * losses).sum(), list(theta.values()), materialize_grads=True)
        alpha = self.optimizer.param_groups[0]["lr"]
        theta_hat = {
            name: (p - alpha * d).detach().requires_grad_() for (name, p), d in zip(theta.items(), g, strict=True)
        }
        x, y = clean_batch
        clean_loss = self.loss_fn(self._evaluate(theta_hat, x), y).mean()
        ahead = torch.autograd.grad(clean_loss, list(theta_hat.values()), materialize_grads=True)
        return dict(zip(theta_hat, ahead, strict=True))

    def _evaluate(self, parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        """Outputs in training mode; running statistics stay as they are."""
        return call(self.model, parameters, (x,))[0]

    def _follow_clean_loss(self, losses: Tensor, u: Tensor) -> None:
        alpha = self.optimizer.param_groups[0]["lr"]
        self.net_optimizer.zero_grad()
        (-alpha * u * self.shares(self.value(losses))).sum().backward()
        self.net_optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        return {"net": self.net.state_dict(), "net_optimizer": self.net_optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.net.load_state_dict(state["net"])
        self.net_optimizer.load_state_dict(state["net_optimizer"])


@dataclass
class MetaWeightNetNormalised(MetaWeightNet):
    """Meta-Weight-Net whose weights are divided by their sum, in the virtual step and in the real one.

    So the authors' first script has it; their later one leaves the division out.
    """

    def shares(self, values: Tensor) -> Tensor:
        return values / values.sum().clamp(min=torch.finfo(values.dtype).tiny)
