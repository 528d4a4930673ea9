"""A Trainer of Hugging Face whose every training step weighs the batch by a clean one."""

from __future__ import annotations

from l2rw_core.extras import require

require("transformers", "accelerate", "transformers")

import inspect
from collections.abc import Sequence, Sized
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback

from l2rw_core.datasets import BatchStream
from l2rw_core.engines.passes import LossFn, repeating
from l2rw_core.reweight import Reweighter

IGNORED = -100
"""The label that transformers does not count."""


def label_losses(outputs: Any, labels: Tensor) -> Tensor:
    """Cross-entropy of each example; of a sequence, its mean over the tokens whose label is not -100.

    Args:
        outputs: with `logits` of shape (n, K) or (n, length, K).
        labels: (n,) or (n, length) integers. An example without any counted token has loss 0.

    Returns:
        (n,) losses.

    Raises:
        ValueError: if a label is out of range.
    """
    return _cross_entropy(outputs.logits, labels)


def next_token_losses(outputs: Any, labels: Tensor) -> Tensor:
    """As `label_losses`, for models that predict the next token: the logits of a place belong to the label after it."""
    return _cross_entropy(outputs.logits[:, :-1], labels[:, 1:])


def span_losses(outputs: Any, labels: Sequence[Tensor]) -> Tensor:
    """Of each question, the mean of the cross-entropies of where its answer begins and where it ends.

    Args:
        outputs: with `start_logits` and `end_logits` of shape (n, length).
        labels: two of shape (n,), the first and the last token of the answer. A place behind the end counts nothing.

    Returns:
        (n,) losses.

    Raises:
        ValueError: if the outputs are others.
    """
    if getattr(outputs, "start_logits", None) is None or getattr(outputs, "end_logits", None) is None:
        raise ValueError("the model gives no start_logits and end_logits: give loss_fn(outputs, (starts, ends))")
    ends = []
    for logits, places in zip((outputs.start_logits, outputs.end_logits), labels, strict=True):
        length = logits.shape[1]
        places = places.view(len(logits)).clamp(0, length)
        ends.append(F.cross_entropy(logits, places, reduction="none", ignore_index=length))
    return (ends[0] + ends[1]) / 2


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    classes, counted = logits.shape[-1], labels != IGNORED
    if ((labels[counted] < 0) | (labels[counted] >= classes)).any():
        raise ValueError(
            f"a label is out of range: the model has {classes} outputs, so labels go from 0 to {classes - 1}"
        )
    each = F.cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="none", ignore_index=IGNORED)
    each, counted = each.view(len(labels), -1), counted.view(len(labels), -1)
    return each.sum(1) / counted.sum(1).clamp(min=1)


_LOSSES: dict[str, LossFn] = {
    "ForAudioClassification": label_losses,
    "ForCausalLM": next_token_losses,
    "ForImageClassification": label_losses,
    "ForMaskedLM": label_losses,
    "ForQuestionAnswering": span_losses,
    "ForSequenceClassification": label_losses,
    "ForTokenClassification": label_losses,
    "ForVideoClassification": label_losses,
}


class ReweightedTrainer(Trainer):
    """Trains with `Reweighter`; evaluation, logging, checkpoints and everything else are those of `Trainer`.

    ============ ======================================================================================================
    accumulation ``gradient_accumulation_steps`` batches an update. Each batch shares out its own weight of 1, and the
                 sum is divided by their number
    clipping     ``max_grad_norm``, as ever
    schedules    as ever; an update without any weight counts
    precision    ``bf16``, or none. ``fp16`` is refused: its gradient scaler stops at an update without any weight
    devices      one; several are refused, since weights would be shared out on each of them apart
    checkpoints  ``resume_from_checkpoint`` ends with the parameters of a run that was never interrupted, the clean
                 batches included. A stream, an ``IterableDataset`` without a length, goes on by the number of updates
    labels       what ``label_names`` says, by default the labels of the model. Several of them, as of question
                 answering, go to the loss as a tuple in that order. A decoder is given the labels, shifted by one place
    evaluation   by the model's own loss, as ever; by the mean of `loss_fn` where the model does not take the labels
    ============ ======================================================================================================

    Args:
        args, kwargs: as for `transformers.Trainer`.
        clean_dataset: examples with labels to trust, in the form of the training set, collated as these are. It has a
            length and numbered rows; the training set may be a stream.
        clean_batch_size: clean examples a step, all of them if there are fewer; by default the batch size of training.
            They are drawn anew each step, by the seed of the arguments and the number of the step.
        loss_fn: ``loss_fn(outputs, labels)`` of shape (n,), where outputs is what the model returns. By default what
            belongs to the model: `label_losses`, `next_token_losses` or `span_losses`. It takes the place of an own
            `compute_loss`, which gives one loss a batch: a subclass that overrides that is refused.
        id_column: a column of integers that says which examples a batch has: they come back in
            ``trainer.reweighter.last.ids``. Needs ``remove_unused_columns=False``, or else the column would be gone.
        engine, warmup, check: as for `l2rw_core.Reweighter`; `warmup` counts batches.

    Raises:
        TypeError: for a clean set without a length.
        ValueError: for an empty clean set, a model whose loss is not known, a `compute_loss` of one's own, or arguments
            that it cannot obey.

    Example::

        trainer = ReweightedTrainer(
            model, arguments, train_dataset=train, clean_dataset=clean
        )
        trainer.train()
    """

    def __init__(
        self,
        *args: Any,
        clean_dataset: Sized,
        clean_batch_size: int | None = None,
        loss_fn: LossFn | None = None,
        id_column: str | None = None,
        engine: str = "forward",
        warmup: int = 0,
        check: str = "every",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._check_compute_loss()
        self._check_arguments(id_column)
        if not (hasattr(clean_dataset, "__len__") and hasattr(clean_dataset, "__getitem__")):
            raise TypeError(
                f"clean examples are drawn by their number, and {type(clean_dataset).__name__} has no length or no "
                "numbered rows: read the clean set into a list"
            )
        if len(clean_dataset) == 0:
            raise ValueError("the clean dataset is empty: give it at least one example")
        self.clean_dataset = clean_dataset
        self.id_column = id_column
        if not self.label_names and not self.can_return_loss:
            self.label_names = ["labels"]  # of a model whose forward() takes none
        if loss_fn is None:
            loss_fn = _loss_of(self.model)
            _check_number(loss_fn, self.args.label_names)
        self.reweighter = Reweighter(self.model, None, loss_fn, engine, warmup, check)
        """``reweighter.last`` is what the most recent step saw."""
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        size = self.args.per_device_train_batch_size if clean_batch_size is None else clean_batch_size
        self._clean_stream = BatchStream(len(clean_dataset), size, seed)
        self._clean_collator = self._get_collator_with_removed_columns(self.data_collator, "clean")
        self.add_callback(_Beginning(self))

    def _check_compute_loss(self) -> None:
        """ValueError where somebody else's `compute_loss` would be passed over in training."""
        ours = (ReweightedTrainer, Trainer)
        owners = [c.__name__ for c in type(self).__mro__ if "compute_loss" in vars(c) and c not in ours]
        if "compute_loss" in vars(self):
            owners.append("this trainer")
        if owners:
            raise ValueError(
                f"{owners[0]} has a compute_loss of its own, which gives one loss a batch, and training needs one loss "
                "per example: leave it out, and give loss_fn=, a function of (outputs, labels) of shape (n,)"
            )

    def _check_arguments(self, id_column: str | None) -> None:
        args = self.args
        if args.world_size > 1 or args.n_gpu > 1 or self.is_deepspeed_enabled or self.is_fsdp_enabled:
            raise ValueError(
                "several devices would share out weights apart: start one process, with one GPU visible, "
                "or use l2rw_core.loops.distributed in a loop of your own"
            )
        if args.fp16:
            raise ValueError("fp16 needs a gradient scaler, which stops at an update without any weight: use bf16=True")
        if args.label_smoothing_factor:
            raise ValueError(
                "label_smoothing_factor gives one loss a batch: give loss_fn=, one loss per example, instead"
            )
        if self.compute_loss_func is not None:
            raise ValueError("compute_loss_func gives one loss a batch: give loss_fn=, one loss per example, instead")
        if id_column is not None and args.remove_unused_columns:
            raise ValueError("the ids would be removed before they are seen: set remove_unused_columns=False")
        if args.label_names is not None and not args.label_names:
            raise ValueError('label_names is empty, and a loss needs labels: name them, such as label_names=["labels"]')

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """The weighted loss of one batch, and its gradient."""
        model.train()
        inputs, labels, ids = self._parts(inputs)
        if ids is None and self.id_column is not None:
            raise ValueError(f"a training batch has no {self.id_column}: it has {', '.join(inputs)}, and labels")
        clean, clean_labels, _ = self._parts(self._clean_batch())
        with self.compute_loss_context_manager():
            loss = self.reweighter.loss((inputs, labels), (clean, clean_labels), ids)
        loss = loss / self.current_gradient_accumulation_steps
        with repeating(self.reweighter.engine):
            self.accelerator.backward(loss)
        return loss.detach()

    def _clean_batch(self) -> dict[str, Any]:
        chosen = self._clean_stream.indices(self.reweighter.steps).tolist()
        return self._clean_collator([self.clean_dataset[i] for i in chosen])

    def _parts(self, batch: dict[str, Any]) -> tuple[dict[str, Any], Any, Tensor | None]:
        inputs = dict(self._prepare_inputs(batch))
        ids = inputs.pop(self.id_column, None)
        names = self._names_of_labels(inputs)
        missing = [name for name in names if inputs.get(name) is None]
        if missing:
            what = "labels" if names == missing else " and no ".join(missing)
            raise ValueError(
                f"a batch has no {what}: it has {', '.join(inputs)}, and labels are {', '.join(names)}; name those "
                "columns by TrainingArguments(label_names=[...]), and set remove_unused_columns=False if the model "
                "does not take them"
            )
        labels = tuple(inputs.pop(name) for name in names)
        shift = getattr(_base(self.model), "prepare_decoder_input_ids_from_labels", None)
        if shift is not None and names == ["labels"] and "decoder_input_ids" not in inputs:
            inputs["decoder_input_ids"] = shift(labels=labels[0])  # as the model itself does where it sees the labels
        return inputs, labels[0] if len(labels) == 1 else labels, ids

    def _names_of_labels(self, inputs: dict[str, Any]) -> list[str]:
        """Those that were asked for; else those of the model that a batch has, if ``labels`` is one of them, or all."""
        if self.args.label_names is not None:
            return self.args.label_names
        names = self.label_names or ["labels"]
        present = [name for name in names if inputs.get(name) is not None]
        return present if "labels" in present else names

    def prediction_step(
        self, model: nn.Module, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """As that of `Trainer`; ids are no input of the model."""
        inputs = {name: value for name, value in inputs.items() if name != self.id_column}
        return super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor | tuple[Tensor, Any]:
        """For evaluation: the model's own loss; the mean of `loss_fn` where the model does not take the labels."""
        parameters = inspect.signature(_base(self.model).forward).parameters
        if all(name in parameters for name in self.label_names):
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        inputs, labels, _ = self._parts(inputs)
        outputs = model(**inputs)
        loss = self.reweighter.loss_fn(outputs, labels).mean()
        if not return_outputs:
            return loss
        if isinstance(outputs, dict):
            return loss, outputs
        return loss, (loss, *(outputs if isinstance(outputs, tuple | list) else (outputs,)))


class _Beginning(TrainerCallback):
    """When training begins it is known which model is trained, perhaps one of `model_init`, and from which step."""

    def __init__(self, trainer: ReweightedTrainer) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, train_dataloader: Any, **_: Any) -> None:
        self.trainer._check_compute_loss()
        reweighter = self.trainer.reweighter
        reweighter.model = self.trainer.model
        if _has_length(train_dataloader):
            reweighter.steps = round(state.epoch * len(train_dataloader)) if state.global_step else 0
        else:
            reweighter.steps = state.global_step * args.gradient_accumulation_steps


def _has_length(loader: Any) -> bool:
    try:
        len(loader)
    except TypeError:
        return False
    return True


def _base(model: nn.Module) -> nn.Module:
    """The model within a wrapper of adapters, which says so itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _check_number(loss_fn: LossFn, names: list[str] | None) -> None:
    """ValueError where a loss that goes with a model expects another number of labels."""
    expected = 2 if loss_fn is span_losses else 1
    if names is not None and len(names) != expected:
        raise ValueError(
            f"label_names has {', '.join(names)}, and the loss that goes with the model takes {expected}: "
            "give loss_fn(outputs, labels), of shape (n,), where several labels are a tuple in that order"
        )


def _loss_of(model: nn.Module) -> LossFn:
    model = _base(model)
    kind = getattr(model, "loss_type", None)
    if kind is None and any(base.__name__.endswith("LMHeadModel") for base in type(model).__mro__):
        kind = "ForCausalLM"  # what transformers falls back to, for GPT-2 for example
    unknown = _unknown(model, kind)
    if unknown:
        raise ValueError(f"the loss of one example is not known for {type(model).__name__}{unknown}")
    return _LOSSES[kind]


def _unknown(model: nn.Module, kind: str | None) -> str:
    """Why the loss is not known, and what to give instead; empty if it is known."""
    config = getattr(model, "config", None)
    problem, outputs = (getattr(config, name, None) for name in ("problem_type", "num_labels"))
    if kind in _LOSSES and kind.endswith("Classification") and (problem == "regression" or outputs == 1):
        why = ", which is a regression for transformers" + (", since it has one output" if outputs == 1 else "")
        example = "(outputs.logits.squeeze(1) - labels).square()"
    elif kind not in _LOSSES or problem in ("regression", "multi_label_classification"):
        why, example = "", "label_losses or next_token_losses of this module"
    elif kind == "ForCausalLM" and _has_a_loss_of_its_own(model):
        why = ", which does not compare each place with the token after it"
        example = "label_losses of this module, or next_token_losses if your labels are the tokens themselves"
    else:
        return ""
    return f"{why}: give loss_fn(outputs, labels), of shape (n,), such as {example}"


def _has_a_loss_of_its_own(model: nn.Module) -> bool:
    """Of a model of transformers: whether it computes a loss without the function that goes with its type."""
    kind = type(model)
    return (
        kind.__module__.startswith("transformers.")
        and "loss_function" not in inspect.unwrap(kind.forward).__code__.co_names
    )
