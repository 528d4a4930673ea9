"""A module for Lightning's trainer whose every step weighs the batch by a clean one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer

from l2rw_core.passes import LossFn
from l2rw_core.reweight import Reweighter


class ReweightedModule(LightningModule):
    """Trains `model` with `Reweighter`: give the trainer two loaders, the second one trusted.

    Both loaders yield ``(inputs, targets)``; batches of the first may have ids as a third part, which come back in
    ``module.reweighter.last.ids``. Lightning cycles over the clean loader, or over the training loader should that be
    the shorter one. Subclass to add a ``validation_step``, or a ``configure_optimizers`` of your own.

    What Lightning does by itself under automatic optimization, this module does under manual optimization:

    ============ ======================================================================================================
    accumulation `accumulate` batches an update, the last update of an epoch may have fewer. Each batch shares out its
                 own weight of 1, and the sum is divided by `accumulate`. ``Trainer(accumulate_grad_batches=...)`` is
                 refused by Lightning
    clipping     `clip_norm`, of the unscaled gradients, before the optimizer moves. ``Trainer(gradient_clip_val=...)``
                 is refused by Lightning
    schedules    as configured: after an update (``"interval": "step"``) or after an epoch, every `frequency`; a batch
                 without any weight counts
    precision    the trainer's. With a gradient scaler (``"16-mixed"``) an update without any gradient is left out
    devices      one; several are refused, since weights would be shared out on each of them apart
    checkpoints  hold the number of steps, for the warm-up
    ============ ======================================================================================================

    Args:
        model: any module.
        loss_fn: ``loss_fn(outputs, targets)`` of shape (n,).
        optimizer: makes an optimizer from parameters, for example ``partial(torch.optim.AdamW, lr=1e-3)``. Not needed
            if a subclass has ``configure_optimizers``.
        scheduler: makes a learning-rate scheduler from the optimizer; it is stepped after each epoch.
        accumulate: batches an update.
        clip_norm: largest norm of the gradient.
        engine, warmup: as for `l2rw_core.Reweighter`; `warmup` counts batches.

    Raises:
        ValueError: if `accumulate` or `clip_norm` is not positive; when training starts, if the trainer uses several
            devices, the loaders are not a dictionary of ``"train"`` and ``"clean"``, or there are several optimizers.

    Example::

        module = ReweightedModule(model, nn.CrossEntropyLoss(reduction="none"), partial(torch.optim.AdamW, lr=1e-3))
        Trainer(max_epochs=20).fit(module, {"train": train_loader, "clean": clean_loader})
    """

    def __init__(
        self,
        model: nn.Module,
        loss_fn: LossFn,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] | None = None,
        scheduler: Callable[[Optimizer], Any] | None = None,
        accumulate: int = 1,
        clip_norm: float | None = None,
        engine: str = "forward",
        warmup: int = 0,
    ) -> None:
        super().__init__()
        if accumulate < 1:
            raise ValueError(f"accumulate must be a number of batches, at least 1, got {accumulate}")
        if clip_norm is not None and not clip_norm > 0:
            raise ValueError(f"clip_norm must be positive, got {clip_norm}")
        self.automatic_optimization = False
        self.model = model
        self.accumulate = accumulate
        self.clip_norm = clip_norm
        self.reweighter = Reweighter(model, None, loss_fn, engine, warmup)
        self._make_optimizer = optimizer
        self._make_scheduler = scheduler

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the model gives."""
        return self.model(*args, **kwargs)

    def configure_optimizers(self) -> Any:
        """The optimizer and scheduler that were asked for."""
        if self._make_optimizer is None:
            raise ValueError("give an optimizer, such as partial(torch.optim.AdamW, lr=1e-3), or override this method")
        optimizer = self._make_optimizer(self.model.parameters())
        if self._make_scheduler is None:
            return optimizer
        return [optimizer], [self._make_scheduler(optimizer)]

    def on_fit_start(self) -> None:
        """Refuse what would train otherwise than asked."""
        if self.trainer.world_size > 1:
            raise ValueError(
                f"{self.trainer.world_size} devices would share out weights apart: use Trainer(devices=1), "
                "or l2rw_core.distributed in a loop of your own"
            )
        if isinstance(self.optimizers(), list):
            raise ValueError("ReweightedModule trains with one optimizer, and configure_optimizers gave several")

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """One batch; logs ``train_loss`` (weighted) and ``clean_loss``."""
        train, clean = _parts(batch)
        loss = self.reweighter.loss(train[:2], clean[:2], *train[2:])
        with torch.autocast(loss.device.type, enabled=False):
            self.manual_backward(loss / self.accumulate)
        if (batch_idx + 1) % self.accumulate == 0 or self.trainer.is_last_batch:
            self._update(batch_idx + 1)
        step = self.reweighter.last
        self.log_dict({"train_loss": step.loss, "clean_loss": step.clean_loss}, batch_size=len(step.losses))
        return step.loss

    def _update(self, batches: int) -> None:
        optimizer = self.optimizers()
        scaled = getattr(self.trainer.precision_plugin, "scaler", None) is not None
        if not scaled or any(p.grad is not None for p in self.model.parameters()):
            optimizer.step()
        optimizer.zero_grad()
        self._schedule("step", batches)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip: here gradients are no longer scaled."""
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)

    def on_train_epoch_end(self) -> None:
        """Schedules by the epoch; a subclass that overrides this calls it too."""
        self._schedule("epoch", self.current_epoch + 1)

    def _schedule(self, interval: str, count: int) -> None:
        for config in self.trainer.lr_scheduler_configs:
            if config.interval == interval and count % config.frequency == 0:
                metric = self.trainer.callback_metrics.get(config.monitor) if config.reduce_on_plateau else None
                self.lr_scheduler_step(config.scheduler, metric)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The warm-up goes by the number of steps."""
        checkpoint["reweighter_steps"] = self.reweighter.steps

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on where training stopped."""
        self.reweighter.steps = checkpoint.get("reweighter_steps", 0)


def _parts(batch: Any) -> tuple[Any, Any]:
    if not isinstance(batch, dict) or set(batch) != {"train", "clean"}:
        raise ValueError(
            'give the trainer two loaders by name, fit(module, {"train": loader, "clean": clean_loader}); '
            f"a step got a {type(batch).__name__}" + (f" with {', '.join(map(str, batch))}" if batch else "")
        )
    return batch["train"], batch["clean"]
