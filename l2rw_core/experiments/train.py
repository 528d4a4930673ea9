"""From an experiment to a record: prepare the data, train, evaluate. One loop for every method."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from l2rw_core import methods
from l2rw_core.alignment import LossFn
from l2rw_core.datasets import BatchStream, Source, Split, load, make_split, realised_noise, to_tensors
from l2rw_core.experiments.config import Experiment
from l2rw_core.experiments.records import Curve, Record, environment
from l2rw_core.models import LeNet, Mlp, resnet32, wide_resnet28_10


def prepare(experiment: Experiment, source: Source | None = None) -> Split:
    """The data of an experiment: biased training set, clean set, test set, and the truth about every label.

    Args:
        experiment: names the data set, the biases, the clean set and the seed.
        source: the data set if it is at hand; otherwise it is loaded.
    """
    return make_split(
        source or load(experiment.data),
        experiment.biases,
        clean_size=experiment.clean_size,
        clean_balanced=experiment.clean_balanced,
        seed=experiment.seed,
    )


def build_model(experiment: Experiment, split: Split) -> nn.Module:
    """The network of an experiment for the images and classes of `split`; one output for two classes."""
    height, width, channels = split.train.x.shape[1:]
    outputs = 1 if split.num_classes == 2 else split.num_classes
    if experiment.model == "lenet":
        return LeNet(outputs, channels, height)
    if experiment.model == "mlp":
        return Mlp([height * width * channels, 100, outputs])
    residual = {"resnet32": resnet32, "wrn28_10": wide_resnet28_10}[experiment.model]
    return residual(outputs, channels)


def loss_for(split: Split) -> LossFn:
    """Per-example cross-entropy for `split`: binary for two classes, over K outputs otherwise."""
    return nn.BCEWithLogitsLoss(reduction="none") if split.num_classes == 2 else nn.CrossEntropyLoss(reduction="none")


def fit(
    experiment: Experiment,
    source: Source | None = None,
    device: str | torch.device = "cpu",
    progress: bool | None = None,
) -> Record:
    """Train and evaluate one experiment. The same experiment on the same machine gives the same numbers.

    Args:
        experiment: what to run.
        source: its data set if it is at hand; otherwise it is loaded.
        device: where to train.
        progress: show a bar; by default unless the environment variable ``L2RW_PROGRESS`` is 0.

    Returns:
        The record of the run; `l2rw_core.experiments.append` keeps it.
    """
    started = time.time()
    with torch.random.fork_rng():
        torch.manual_seed(experiment.seed)
        run = _Run.begin(experiment, prepare(experiment, source), torch.device(device))
        curve = _train(run, progress)
        accuracies = _evaluate(run)
    return Record(
        experiment=experiment,
        data_checksum=run.split.checksum,
        train_counts=run.class_counts.tolist(),
        realised_noise=realised_noise(run.split.train),
        curve=curve,
        accuracy_by_class=accuracies,
        started=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        duration=round(time.time() - started, 1),
        environment=environment(device),
    )


@dataclass
class _Run:
    experiment: Experiment
    split: Split
    model: nn.Module
    method: methods.Method
    optimizer: torch.optim.Optimizer
    train: tuple[Tensor, Tensor]
    clean: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    class_counts: Tensor
    flipped: Tensor

    @classmethod
    def begin(cls, experiment: Experiment, split: Split, device: torch.device) -> _Run:
        binary = split.num_classes == 2
        train, clean, test = (
            to_tensors(part, device, binary=binary) for part in (split.train, split.clean, split.test)
        )
        model = build_model(experiment, split).to(device, memory_format=torch.channels_last)
        optimizer = torch.optim.SGD(
            model.parameters(), experiment.lr, experiment.momentum, weight_decay=experiment.weight_decay
        )
        counts = torch.bincount(train[1].long(), minlength=split.num_classes)
        method = methods.get(experiment.method)(model, optimizer, loss_for(split), counts, experiment.steps)
        flipped = torch.from_numpy(split.train.flipped).to(device)
        return cls(experiment, split, model, method, optimizer, train, clean, test, counts, flipped)


def _train(run: _Run, progress: bool | None) -> Curve:
    e = run.experiment
    batches = run.method.batches(run.train[1].long(), e.batch_size, e.seed)
    clean_batches = BatchStream(len(run.clean[1]), e.clean_batch_size, e.seed + 1)
    meter, curve = _WeightMeter(run), Curve()
    curve.add(0, accuracy=_balanced(_evaluate(run)))
    for step in tqdm(range(e.steps), desc=f"{e.method}, seed {e.seed}", disable=not _progress_wanted(progress)):
        if step in e.lr_drops:
            for group in run.optimizer.param_groups:
                group["lr"] /= 10
        chosen, chosen_clean = batches.indices(step), clean_batches.indices(step)
        update = run.method.step(_take(run.train, chosen), _take(run.clean, chosen_clean), step)
        meter.add(chosen, update.weights)
        if (step + 1) % e.evaluate_every == 0 or step + 1 == e.steps:
            curve.add(step + 1, accuracy=_balanced(_evaluate(run)), **meter.read())
    return curve


def _take(pair: tuple[Tensor, Tensor], indices: Tensor) -> tuple[Tensor, Tensor]:
    x, y = pair
    # Indexing loses the memory format that makes convolutions fast on a CPU.
    return x[indices].contiguous(memory_format=torch.channels_last), y[indices]


@torch.no_grad()
def _evaluate(run: _Run, chunk: int = 500) -> list[float]:
    """Test accuracy of each class, between 0 and 1."""
    x, y = run.test
    run.model.eval()
    logits = torch.cat([run.model(part) for part in x.split(chunk)])
    run.model.train()
    if not logits.isfinite().all():
        raise FloatingPointError("the model's outputs are NaN or infinite: lower the learning rate")
    predicted = (logits > 0).long() if logits.ndim == 1 else logits.argmax(1)
    right = (predicted == y.long()).double()
    return [round(float(right[y == k].mean()), 6) for k in range(run.split.num_classes)]


def _balanced(accuracies: list[float]) -> float:
    """Mean of the class accuracies: plain accuracy on a balanced test set."""
    return round(float(np.mean(accuracies)), 6)


def _progress_wanted(progress: bool | None) -> bool:
    return os.environ.get("L2RW_PROGRESS", "1") != "0" if progress is None else progress


@dataclass
class _WeightMeter:
    """Averages over the steps since it was last read: who got the weight, and how many examples shared it."""

    run: _Run
    effective: list[float] = field(default_factory=list)
    by_class: list[Tensor] = field(default_factory=list)
    on_flipped: list[float] = field(default_factory=list)

    def add(self, chosen: Tensor, weights: Tensor) -> None:
        squares = float(weights.square().sum())
        self.effective.append(1 / squares if squares else 0.0)
        labels = self.run.train[1][chosen].long()
        self.by_class.append(torch.zeros(len(self.run.class_counts)).index_add_(0, labels.cpu(), weights.float().cpu()))
        self.on_flipped.append(float(weights[self.run.flipped[chosen]].sum()))

    def read(self) -> dict[str, object]:
        values = {
            "effective_examples": round(float(np.mean(self.effective)), 3),
            "idle_steps": round(float(np.mean(np.array(self.effective) == 0)), 4),
            "weight_by_class": [round(share, 4) for share in torch.stack(self.by_class).mean(0).tolist()],
            "weight_on_flipped": round(float(np.mean(self.on_flipped)), 4),
        }
        self.effective, self.by_class, self.on_flipped = [], [], []
        return values
