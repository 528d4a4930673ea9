"""What goes wrong quietly while examples are weighed: said once each, through the logger ``l2rw_core``."""

from __future__ import annotations

import logging
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from l2rw_core.weights import Step

LOOK_EVERY = 100
"""Steps between two looks: numbers are read from the device then only, so that a GPU is not waited for at each step."""
IDLE_IN_A_ROW = 20
LARGEST_SHARE = 0.9
"""Of the weight of a batch, on one example."""
FEWEST = 5
"""Examples of a batch, below which a large share on one of them is no surprise."""
RISE = 1.5
"""Clean loss, over its lowest mean of `LOOK_EVERY` steps."""
SAME = 1e-4
"""Largest distance of losses that count as equal, over the mean loss of the batch."""

logger = logging.getLogger("l2rw_core")


class Health:
    """Sees the steps of one training and warns of what looks wrong. It changes nothing, and says each thing once."""

    def __init__(self) -> None:
        self.steps = 0
        """Steps seen."""
        self._said: set[str] = set()
        self._largest: list[Tensor] = []
        self._clean_losses: list[Tensor] = []
        self._labels: tuple[list[Tensor], list[Tensor]] = ([], [])
        self._clean_classes: set[float] = set()
        self._first = self._lowest = 0.0

    def on_step(self, step: Step, targets: Any, clean_targets: Any, training: bool) -> None:
        """Take in one step, the targets of its two batches, and whether the model was in training mode."""
        self.steps += 1
        if not training:
            self._say(
                "eval",
                "the model is in eval mode: normalisation goes by its running statistics and dropout is off. "
                "Call model.train() if that is not meant, for example after an evaluation.",
            )
        if self._largest and self._largest[-1].device != step.weights.device:
            self._forget()
        # A half stands for a small batch that has weight: neither none nor too much on one example.
        self._largest.append(step.weights.max() if len(step.weights) >= FEWEST else step.weights.sum() / 2)
        self._clean_losses.append(step.clean_loss)
        for window, labels in zip(self._labels, (targets, clean_targets), strict=True):
            if isinstance(labels, Tensor) and labels.ndim == 1:
                window.append(labels)
        if self.steps % LOOK_EVERY == 0:
            self._look()
            self._look_at_outputs(step.losses, targets)
            self._forget()

    def _forget(self) -> None:
        for window in (self._largest, self._clean_losses, *self._labels):
            window.clear()

    def _look(self) -> None:
        largest, clean_losses = (torch.stack(window).tolist() for window in (self._largest, self._clean_losses))
        self._look_at_weights(largest)
        self._look_at_clean_loss(sum(clean_losses) / len(clean_losses))
        self._look_at_classes()

    def _look_at_weights(self, largest: list[float]) -> None:
        idle = max((len(list(run)) for none, run in groupby(w == 0 for w in largest) if none), default=0)
        if idle >= IDLE_IN_A_ROW:
            self._say(
                "idle",
                f"{idle} batches in a row had no weight at all, so nothing was learned from them: no example agreed "
                "with the clean gradient. Usually the labels of the two sets are coded differently, their inputs are "
                "scaled differently, or the clean set is fitted already; larger batches help where few labels are "
                "right.",
            )
        if sum(w > LARGEST_SHARE for w in largest) > LARGEST_SHARE * len(largest):
            self._say(
                "one",
                f"in most of the last {len(largest)} steps one example had over {LARGEST_SHARE:.0%} of the weight: "
                "gradients of very unequal size, from an outlier or a loss that explodes. Scale the inputs, clip the "
                "loss, or lower the learning rate.",
            )

    def _look_at_clean_loss(self, mean: float) -> None:
        if self.steps == LOOK_EVERY:
            self._first = self._lowest = mean
        if mean > RISE * self._lowest and mean - self._lowest > 0.1 * self._first:
            self._say(
                "rising",
                f"the clean loss has risen from {self._lowest:.3g} to {mean:.3g}, means over {LOOK_EVERY} steps: lower "
                "the learning rate, and check that clean and training labels mean the same.",
            )
        self._lowest = min(self._lowest, mean)

    def _look_at_classes(self) -> None:
        labels, clean_labels = (_classes(window) for window in self._labels)
        self._clean_classes |= clean_labels
        missing = sorted(labels - self._clean_classes)
        if missing and self._clean_classes:
            names = ", ".join(f"{c:g}" for c in missing[:8]) + (" and others" if len(missing) > 8 else "")
            self._say(
                "classes",
                f"no clean batch of {self.steps} steps had an example of class {names}: nothing speaks for it, so even "
                "its right labels get little weight. Add clean examples, or check the set with check_clean_set.",
            )

    def _look_at_outputs(self, losses: Tensor, targets: Any) -> None:
        """Of the last batch: a model that answers every input alike gives one loss to all examples of a label."""
        if not (isinstance(targets, Tensor) and targets.shape == losses.shape and _classes([targets])):
            return
        classes, at = targets.to(losses.device).unique(return_inverse=True)
        if len(losses) - len(classes) < FEWEST:
            return
        ends = losses.new_empty(2, len(classes))
        for end, which in zip(ends, ("amin", "amax"), strict=True):
            end.scatter_reduce_(0, at, losses, which, include_self=False)
        if (ends[1] - ends[0]).max() < SAME * losses.mean():
            self._say(
                "same",
                f"in a batch of {len(losses)} all examples of a label have the same loss, so the model no longer looks "
                "at its inputs, and weights go by label alone. Usually its units have died of too large a step, or the "
                "inputs are all the same: start again with a lower learning rate, a warm-up, or less momentum.",
            )

    def _say(self, what: str, message: str) -> None:
        if what not in self._said:
            self._said.add(what)
            logger.warning("step %d: %s", self.steps, message)


def _classes(labels: list[Tensor]) -> set[float]:
    """The classes in batches of labels; none where targets are measurements."""
    if not labels:
        return set()
    classes = torch.cat(labels).unique()
    if classes.is_floating_point() and not ((classes == 0) | (classes == 1)).all():
        return set()
    return set(classes.tolist())
