"""A module for Lightning's trainer whose every step weighs the batch by a clean one."""

from __future__ import annotations

from l2rw_core.extras import require

require("lightning", "lightning")

import functools
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from l2rw_core.engines.passes import LossFn, described, repeating
from l2rw_core.reweight import Reweighter

_DROPPED = ("monitor", "strict", "reduce_on_plateau")
"""Options of a scheduler that Lightning drops under manual optimization."""


def _recording_options(configure: Callable[[ReweightedModule], Any]) -> Callable[[ReweightedModule], Any]:
    """A `configure_optimizers` whose module keeps the options of schedulers that Lightning drops."""

    @functools.wraps(configure)
    def configure_optimizers(self: ReweightedModule) -> Any:
        return self._record_options(configure(self))

    configure_optimizers.records_options = True
    return configure_optimizers


class ReweightedModule(LightningModule):
    """Trains `model` with `Reweighter`: give the trainer two loaders, the second one trusted.

    Both loaders yield ``(inputs, targets)``; batches of the first may have ids as a third part, which come back in
    ``module.reweighter.last.ids``. Where batches are dictionaries, `labels_key` says what the targets are.
    Lightning cycles over the clean loader, or over the training loader should that be the shorter one. Loaders need no
    length; where the clean one never ends, ``CombinedLoader(loaders, "min_size")`` ends an epoch with the other one.
    Subclass to add a ``validation_step``, or a ``configure_optimizers`` of your own.

    What Lightning does by itself under automatic optimization, this module does under manual optimization:

    ============ ======================================================================================================
    accumulation `accumulate` batches an update, the last update of an epoch may have fewer. Each batch shares out its
                 own weight of 1, and the sum is divided by `accumulate`. ``Trainer(accumulate_grad_batches=...)`` is
                 refused by Lightning
    clipping     `clip_norm`, of the unscaled gradients, before the optimizer moves. ``Trainer(gradient_clip_val=...)``
                 is refused by Lightning
    schedules    as configured: after an update (``"interval": "step"``) or after an epoch, every `frequency`; a batch
                 without any weight counts. ``ReduceLROnPlateau`` looks at the value that was logged under the name of
                 its `monitor`, at the end of an epoch after validation
    precision    the trainer's. With a gradient scaler (``"16-mixed"``) an update without any gradient is left out
    devices      one; several are refused, since weights would be shared out on each of them apart
    checkpoints  hold the number of steps, for the warm-up
    compilation  none: under ``torch.compile``, of this module or of `model`, the step runs as it was written
    ============ ======================================================================================================

    Args:
        model: any module.
        loss_fn: ``loss_fn(outputs, targets)`` of shape (n,).
        optimizer: makes an optimizer from parameters, for example ``partial(torch.optim.AdamW, lr=1e-3)``. Not needed
            if a subclass has ``configure_optimizers``.
        scheduler: makes a learning-rate scheduler from the optimizer; it is stepped after each epoch.
        monitor: name of the logged value that a ``ReduceLROnPlateau`` made by `scheduler` looks at, for example
            ``"clean_loss"`` or what a ``validation_step`` logs.
        accumulate: batches an update.
        clip_norm: largest norm of the gradient.
        engine, warmup, check: as for `l2rw_core.Reweighter`; `warmup` counts batches.
        labels_key: for batches that are dictionaries, the key of the targets; several keys make a tuple of targets.
        inputs_key: the key of the input; several keys are named arguments of `model`, by default all that is left.
        ids_key: the key of the ids in training batches.

    Raises:
        ValueError: if `accumulate` is no positive whole number, `clip_norm` is not positive, a `monitor` has no
            `scheduler`, or another key no `labels_key`; when training starts, if the trainer uses several devices,
            optimization is automatic, the loaders are not a dictionary of ``"train"`` and ``"clean"``, a batch has
            other parts, there are several optimizers, or a ``ReduceLROnPlateau`` has no monitor; and if nothing was
            logged under the monitor's name.

    Example::

        loss_fn = nn.CrossEntropyLoss(reduction="none")
        optimizer = partial(torch.optim.AdamW, lr=1e-3)
        module = ReweightedModule(model, loss_fn, optimizer)
        loaders = {"train": train_loader, "clean": clean_loader}
        Trainer(max_epochs=20).fit(module, loaders)
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
        monitor: str | None = None,
        check: str = "every",
        labels_key: str | Sequence[str] | None = None,
        inputs_key: str | Sequence[str] | None = None,
        ids_key: str | None = None,
    ) -> None:
        super().__init__()
        if isinstance(accumulate, bool) or not isinstance(accumulate, int) or accumulate < 1:
            raise ValueError(f"accumulate must be a whole number of batches, at least 1, got {accumulate!r}")
        if clip_norm is not None and not clip_norm > 0:
            raise ValueError(f"clip_norm must be positive, got {clip_norm}")
        if monitor is not None and scheduler is None:
            raise ValueError(
                f"monitor={monitor!r} is for a scheduler, and there is none: give scheduler= too, "
                "or name the monitor in configure_optimizers"
            )
        if labels_key is None and (inputs_key, ids_key) != (None, None):
            raise ValueError("inputs_key and ids_key are for batches that are dictionaries: give labels_key= too")
        self.automatic_optimization = False
        self.model = model
        self.accumulate = accumulate
        self.clip_norm = clip_norm
        self.reweighter = Reweighter(model, None, loss_fn, engine, warmup, check)
        self._make_optimizer = optimizer
        self._make_scheduler = scheduler
        self._monitor = monitor
        self._options: list[dict[str, Any]] = []
        self._labels_key, self._inputs_key, self._ids_key = labels_key, inputs_key, ids_key

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """A `configure_optimizers` of one's own is recorded too."""
        super().__init_subclass__(**kwargs)
        if not hasattr(cls.configure_optimizers, "records_options"):
            cls.configure_optimizers = _recording_options(cls.configure_optimizers)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the model gives."""
        return self.model(*args, **kwargs)

    @_recording_options
    def configure_optimizers(self) -> Any:
        """The optimizer and scheduler that were asked for."""
        if self._make_optimizer is None:
            raise ValueError("give an optimizer, such as partial(torch.optim.AdamW, lr=1e-3), or override this method")
        optimizer = self._make_optimizer(self.model.parameters())
        if self._make_scheduler is None:
            return optimizer
        scheduler = self._make_scheduler(optimizer)
        options = scheduler if isinstance(scheduler, dict) else {"scheduler": scheduler}
        return [optimizer], [options if self._monitor is None else {"monitor": self._monitor} | options]

    def _record_options(self, configured: Any) -> Any:
        """Keep the options of schedulers, in any form that Lightning takes, and hand on those that it does not drop."""
        if isinstance(configured, dict):
            if "lr_scheduler" not in configured:
                return configured
            return configured | {
                "lr_scheduler": self._record_scheduler(configured["lr_scheduler"], configured.get("monitor"))
            }
        if isinstance(configured, list | tuple):
            if configured and all(isinstance(part, dict) for part in configured):
                return [self._record_options(part) for part in configured]
            if len(configured) == 2 and isinstance(configured[0], list):
                optimizers, schedulers = configured
                return optimizers, [
                    self._record_scheduler(s) for s in (schedulers if isinstance(schedulers, list) else [schedulers])
                ]
        return configured

    def _record_scheduler(self, scheduler: Any, monitor: str | None = None) -> dict[str, Any]:
        options = scheduler if isinstance(scheduler, dict) else {"scheduler": scheduler}
        self._options.append({"monitor": monitor} | options)
        return {name: value for name, value in options.items() if name not in _DROPPED}

    def _restore_options(self) -> None:
        """Put the options that were kept into Lightning's record of each scheduler."""
        for config in self.trainer.lr_scheduler_configs:
            config.reduce_on_plateau |= isinstance(config.scheduler, ReduceLROnPlateau)
            for options in (s for s in self._options if s.get("scheduler") is config.scheduler):
                config.monitor = options["monitor"] or config.monitor
                config.strict = options.get("strict", config.strict)
                config.reduce_on_plateau = options.get("reduce_on_plateau", config.reduce_on_plateau)
            if config.reduce_on_plateau and config.monitor is None:
                raise ValueError(
                    f"{type(config.scheduler).__name__} has to know which logged value it looks at: "
                    'give monitor=, such as "clean_loss", beside scheduler=, or "monitor" in configure_optimizers'
                )
        self._options.clear()

    def on_fit_start(self) -> None:
        """Refuse what would train otherwise than asked."""
        if self.trainer.world_size > 1:
            raise ValueError(
                f"{self.trainer.world_size} devices would share out weights apart: use Trainer(devices=1), "
                "or l2rw_core.loops.distributed in a loop of your own"
            )
        if self.automatic_optimization:
            raise ValueError(
                "ReweightedModule makes backward pass and step itself: leave automatic_optimization as it is, and give "
                "accumulate= and clip_norm= to this module"
            )
        if getattr(self, "_compiler_ctx", None) is not None:
            vars(self).pop("training_step", None)  # the compiled one: a step that looks at values cannot be compiled
        if isinstance(self.optimizers(), list):
            raise ValueError("ReweightedModule trains with one optimizer, and configure_optimizers gave several")
        self._restore_options()

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """One batch; logs ``train_loss`` (weighted) and ``clean_loss``."""
        train, clean = _loaders(batch)
        inputs, labels, ids = self._parts(train, "training")
        loss = self.reweighter.loss((inputs, labels), self._parts(clean, "clean")[:2], ids)
        with torch.autocast(loss.device.type, enabled=False), repeating(self.reweighter.engine):
            self.manual_backward(loss / self.accumulate)
        step = self.reweighter.last
        self.log_dict({"train_loss": step.loss, "clean_loss": step.clean_loss}, batch_size=len(step.losses))
        if (batch_idx + 1) % self.accumulate == 0 or self.trainer.is_last_batch:
            self._update(batch_idx + 1)
        return step.loss

    def _parts(self, batch: Any, role: str) -> tuple[Any, Any, Any]:
        """Inputs, labels and ids."""
        if isinstance(batch, Mapping):
            return self._named_parts(batch, role)
        if self._labels_key is not None:
            raise ValueError(
                f"labels_key={self._labels_key!r} is for batches that are dictionaries, and a {role} batch is "
                f"{described(batch)}: leave it out"
            )
        if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
            raise ValueError(
                f"a {role} batch must be (inputs, labels) or (inputs, labels, ids), got {described(batch)}: put "
                "several inputs into a tuple of their own, or make a dictionary of them and give labels_key="
            )
        return batch[0], batch[1], batch[2] if len(batch) == 3 else None

    def _named_parts(self, batch: Mapping[str, Any], role: str) -> tuple[Any, Any, Any]:
        names = ", ".join(map(str, batch))
        if self._labels_key is None:
            raise ValueError(
                f"a {role} batch is a dictionary of {names}: say which of them are the labels by "
                "ReweightedModule(..., labels_key=), which are ids by ids_key=, and which are inputs by inputs_key= if "
                "the model does not take all others by name"
            )
        of_labels, of_inputs = _keys(self._labels_key), _keys(self._inputs_key)
        of_ids = _keys(self._ids_key) if role == "training" else ()
        missing = [key for key in (*of_labels, *of_inputs, *of_ids) if key not in batch]
        if missing:
            raise ValueError(
                f"a {role} batch has no {', '.join(missing)}: it has {names}; labels_key, inputs_key and ids_key "
                "have to name what is there"
            )
        labels = tuple(batch[key] for key in of_labels)
        if isinstance(self._inputs_key, str):
            inputs = batch[self._inputs_key]
        else:
            keys = of_inputs or [key for key in batch if key not in (*of_labels, self._ids_key)]
            inputs = {key: batch[key] for key in keys}
        ids = batch[of_ids[0]] if of_ids else None
        return inputs, labels[0] if isinstance(self._labels_key, str) else labels, ids

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
        if self._options:  # a subclass may have left out on_fit_start
            self._restore_options()
        for config in self.trainer.lr_scheduler_configs:
            if config.interval == interval and count % config.frequency == 0:
                if config.reduce_on_plateau:
                    self._step_plateau(config.scheduler, config.monitor, config.strict)
                else:
                    self.lr_scheduler_step(config.scheduler, None)

    def _step_plateau(self, scheduler: Any, monitor: str, strict: bool) -> None:
        metrics = self.trainer.callback_metrics
        if monitor in metrics:
            self.lr_scheduler_step(scheduler, metrics[monitor])
        elif self.trainer.fit_loop.restarting:
            return  # a checkpoint does not hold what was logged: Lightning leaves this look out too
        elif strict:
            raise ValueError(
                f"{type(scheduler).__name__} looks at {monitor!r}, and nothing was logged under that name; there is "
                f"{', '.join(sorted(metrics)) or 'nothing'}: log it before the schedule moves, or name another monitor"
            )
        else:
            warnings.warn(f"{monitor!r} was not logged: the learning rate stays", RuntimeWarning, stacklevel=2)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The warm-up goes by the number of steps."""
        checkpoint["reweighter_steps"] = self.reweighter.steps

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on where training stopped."""
        self.reweighter.steps = checkpoint.get("reweighter_steps", 0)


def _loaders(batch: Any) -> tuple[Any, Any]:
    if not isinstance(batch, dict) or set(batch) != {"train", "clean"}:
        raise ValueError(
            'give the trainer two loaders by name, fit(module, {"train": loader, "clean": clean_loader}); '
            f"a step got {described(batch)}"
        )
    for name, part in batch.items():
        if part is None:
            raise ValueError(
                f"the {name} loader has run out before the other one: leave the mode of the CombinedLoader at "
                '"max_size_cycle", or take "min_size"'
            )
    return batch["train"], batch["clean"]


def _keys(key: str | Sequence[str] | None) -> tuple[str, ...]:
    return (key,) if isinstance(key, str) else tuple(key or ())
