"""What a step saw, for TensorBoard."""

from __future__ import annotations

from typing import Any

from l2rw_core.weights import Step


def write_step(writer: Any, step: Step, number: int) -> None:
    """Write what a step saw to TensorBoard: losses, effective examples, share of zero weights, and the weights.

    Args:
        writer: a `torch.utils.tensorboard.SummaryWriter` (package ``tensorboard``), or anything with its `add_scalar`
            and `add_histogram`.
        step: what `Reweighter.step` returned.
        number: of the step.
    """
    values = {
        "loss": step.loss,
        "clean_loss": step.clean_loss,
        "effective_examples": step.effective_examples,
        "without_weight": (step.weights == 0).double().mean(),
    }
    for name, value in values.items():
        writer.add_scalar(f"l2rw/{name}", float(value), number)
    writer.add_histogram("l2rw/weights", step.weights.float(), number)
