"""From an experiment to a record: prepare the data, train, evaluate. One loop for every method."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn
from tqdm.auto import tqdm

from l2rw_core import methods
from l2rw_core.datasets import (
    BatchStream,
    Examples,
    RandomStream,
    Source,
    Split,
    load,
    make_split,
    pad_crop_flip,
    realised_noise,
    to_tensors,
)
from l2rw_core.engines.passes import LossFn
from l2rw_core.experiments.config import Experiment
from l2rw_core.experiments.held_out import weigh_held_out
from l2rw_core.experiments.meter import WeightMeter
from l2rw_core.experiments.records import Curve, Record, environment
from l2rw_core.experiments.shared import SharedStates, beginning
from l2rw_core.methods.by_label import log_probabilities
from l2rw_core.models import LeNet, Mlp, resnet14, resnet32, wide_resnet28_10
from l2rw_core.running.checkpoints import (
    UnusableCheckpoint,
    check_writable,
    read_checkpoint,
    restoring,
    write_checkpoint,
)
from l2rw_core.running.interrupts import interrupts_held
from l2rw_core.running.progress import progress_wanted

RESIDUAL = {"resnet14": resnet14, "resnet32": resnet32, "wrn28_10": wide_resnet28_10}

_STATISTICS_DRAWS = 500_000
"""Number of the first augmentation that running statistics are estimated with, beyond those of any training step."""


class Watch(Protocol):
    """Sees a run as it goes on. Its state is part of the run's checkpoint, so it may hold only what that can."""

    def on_step(self, positions: Tensor, update: methods.Update) -> None:
        """After each step that used its batch: (n,) positions in the training set, and what the step did."""

    def on_evaluation(self, log_p: Tensor) -> None:
        """At each evaluation after the first step: (N, K) log-probabilities of the whole training set."""

    def state_dict(self) -> dict[str, Any]:
        """What it has seen."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""


def prepare(experiment: Experiment, source: Source | None = None) -> Split:
    """The data of an experiment: biased training set, clean set, test set, and the truth about every label.

    Args:
        experiment: names the data set, the biases, the clean set and the seed.
        source: the data set if it is at hand; otherwise it is loaded.
    """
    e = experiment
    return make_split(source or load(e.data), e.biases, e.clean_set, e.seed, e.hold_out)


def build_model(experiment: Experiment, split: Split) -> nn.Module:
    """The network of an experiment for the images and classes of `split`; one output for two classes."""
    height, width, channels = split.train.x.shape[1:]
    outputs = 1 if split.num_classes == 2 else split.num_classes
    if experiment.model == "lenet":
        return LeNet(outputs, channels, height)
    if experiment.model == "mlp":
        return Mlp([height * width * channels, 100, outputs])
    return RESIDUAL[experiment.model](outputs, channels)


def loss_for(split: Split) -> LossFn:
    """Per-example cross-entropy for `split`: binary for two classes, over K outputs otherwise."""
    return nn.BCEWithLogitsLoss(reduction="none") if split.num_classes == 2 else nn.CrossEntropyLoss(reduction="none")


def fit(
    experiment: Experiment,
    source: Source | None = None,
    device: str | torch.device = "cpu",
    progress: bool | None = None,
    checkpoint: Path | None = None,
    checkpoint_every: float = 60.0,
    watch: Watch | None = None,
    shared: SharedStates | None = None,
    go_on: Callable[[], bool] | None = None,
) -> Record:
    """Train and evaluate one experiment. The same experiment on the same machine gives the same numbers.

    Args:
        experiment: what to run. Its method may be a class of one's own, a subclass of `l2rw_core.methods.Method`.
        source: its data set if it is at hand; otherwise it is loaded.
        device: where to train.
        progress: show a bar; by default unless the environment variable ``L2RW_PROGRESS`` is 0.
        checkpoint: a file that holds the state of an unfinished run. If it is there, the run goes on from it, and ends
            with the numbers of a run that was never interrupted. It stays there: delete it once the record is kept, as
            `run_and_append` does. Ctrl-C waits for the end of the step, and the state after it is written.
        checkpoint_every: seconds between two writings of that file.
        watch: sees every step and every evaluation; it changes nothing of the run.
        shared: states of training that runs have in common. The run begins with one if it is there, ends with the
            numbers of a run from nothing, and leaves those that others can begin with. By default there are none.
        go_on: asked after each step of a run without a checkpoint; once it says no, the run is evaluated where it is
            and ends, its first step of training behind it.

    Returns:
        The record of the run; `l2rw_core.experiments.append` keeps it if it went to its end.

    Raises:
        ValueError: if the checkpoint cannot be read or written, or belongs to another experiment, or if there is to be
            one and the method is a class.
        KeyboardInterrupt: after Ctrl-C.
        FloatingPointError: if the model's outputs become NaN or infinite.
    """
    with torch.random.fork_rng():
        began = time.time()
        _check_precision(experiment.precision, torch.device(device))
        run = _Run(experiment, prepare(experiment, source), torch.device(device), watch, began, shared)
        if checkpoint is not None:
            _ = experiment.to_dict()  # before anything is trained: what cannot be written cannot be gone on with
            check_writable(checkpoint.parent, "name another file for the checkpoint")
        if checkpoint is None or not run.resume(checkpoint):
            run.begin_with_shared()
        steps = tqdm(
            run.steps(),
            desc=f"{experiment.method_name}, seed {experiment.seed}",
            total=run.total_steps,
            initial=run.steps_done,
            disable=not progress_wanted(progress),
        )
        if checkpoint is None:
            _train(run, steps, go_on)
        else:
            _train_and_save(run, steps, checkpoint, checkpoint_every)
        return run.record()


def _train(run: _Run, steps: tqdm, go_on: Callable[[], bool] | None) -> None:
    with steps:
        for _ in steps:
            if go_on is not None and not go_on():
                run.evaluate_where_it_is()
                return


def _train_and_save(run: _Run, steps: Iterable[int], checkpoint: Path, every: float) -> None:
    last_saved = time.monotonic()
    with interrupts_held() as interrupted:
        for _ in steps:
            if interrupted() or time.monotonic() - last_saved > every:
                run.save(checkpoint)
                last_saved = time.monotonic()
            if interrupted():
                raise KeyboardInterrupt


def predict_after(
    experiment: Experiment, split: Split, examples: Examples, device: torch.device
) -> tuple[Tensor, float]:
    """Train on a split, and say what the model makes of other examples.

    Returns:
        (N, K) log-probabilities of `examples`, and the test accuracy after the last step.
    """
    with torch.random.fork_rng():
        run = _Run(experiment, split, device)
        for _ in run.steps():
            pass
        x, _ = to_tensors(examples, device, binary=split.num_classes == 2, pixel_range=run.pixel_range)
        return run._predict(x), run.curve.accuracy[-1]


class Halt(NamedTuple):
    """A run between two steps. Whoever looks at it leaves the model as it is."""

    step: int
    """Steps taken so far."""
    model: nn.Module
    loss_fn: LossFn
    batch: tuple[Tensor, Tensor]
    """Of the next step, augmented as it will be."""
    clean_batch: tuple[Tensor, Tensor]


def halts(experiment: Experiment, at: Sequence[int], source: Source | None = None) -> Iterator[Halt]:
    """Train, and stop after each of these numbers of steps, in their order; 0 is before the first."""
    with torch.random.fork_rng():
        run = _Run(experiment, prepare(experiment, source), torch.device("cpu"))
        steps = run.steps()
        for step in at:
            while run.steps_done < step:
                next(steps)
            yield run.halt()


@dataclass(frozen=True)
class _Stage:
    """A stretch of training with one method."""

    method: str | type[methods.Method]
    steps: int
    fresh: bool
    """Whether it starts from the initial parameters; otherwise it goes on with model, optimizer and learning rate."""
    counted: bool
    """Whether its steps are those of the experiment, evaluated and on record."""


def _stages(e: Experiment) -> list[_Stage]:
    stages = [_Stage(e.method, e.steps, fresh=True, counted=True)]
    if methods.get(e.method).needs_confusion:
        stages.insert(0, _Stage("baseline", e.steps, fresh=True, counted=False))
    if e.fine_tune_steps:
        stages.append(_Stage("clean_only", e.fine_tune_steps, fresh=False, counted=True))
    return stages


class _Run:
    """A run in progress: everything that a checkpoint has to hold, and what it is made of."""

    def __init__(
        self,
        experiment: Experiment,
        split: Split,
        device: torch.device,
        watch: Watch | None = None,
        began: float | None = None,
        shared: SharedStates | None = None,
    ) -> None:
        self.experiment, self.split, self.device, self.watch = experiment, split, device, watch
        self.shared = shared or SharedStates(Path(), ())
        users = self.shared.users(experiment)
        self.to_keep = self.shared.to_keep(experiment)
        self.shared_training: dict[str, Any] | None = None
        self.held_out_weights: dict[str, Any] | None = None
        self.stages = _stages(experiment)
        self.total_steps = sum(stage.steps for stage in self.stages)
        method = methods.get(experiment.method)
        self.examples = method.training_set(split.train, experiment.seed)
        binary = split.num_classes == 2
        self.pixel_range = (-1.0, 1.0) if experiment.augment else (0.0, 1.0)
        self.train, self.clean, self.test = (
            to_tensors(part, device, binary=binary, pixel_range=self.pixel_range)
            for part in (self.examples, split.clean, split.test)
        )
        self.labels = self.train[1].long()
        self.confusion: Tensor | None = None
        self.confusion_before_tuning: list[list[int]] | None = None
        self.curve = Curve()
        self.meter = WeightMeter(
            self.labels,
            torch.from_numpy(self.examples.flipped).to(device),
            split.num_classes,
            experiment.steps,
            [user.steps for user in users],
        )
        self.statistics_stream = BatchStream(len(self.labels), experiment.batch_size, experiment.seed + 2)
        self.last_confusion: tuple[int, np.ndarray] | None = None
        self.began = time.time() if began is None else began
        self.started, self.seconds, self.training_seconds = self.began, 0.0, 0.0
        self.environment = environment(device)
        self.stage_number, self.step = 0, 0
        self._begin_stage()

    @property
    def stage(self) -> _Stage:
        return self.stages[self.stage_number]

    @property
    def steps_done(self) -> int:
        """Steps taken so far, in all stages."""
        return sum(stage.steps for stage in self.stages[: self.stage_number]) + self.step

    def _begin_stage(self) -> None:
        e, stage = self.experiment, self.stage
        if stage.fresh:
            torch.manual_seed(e.seed)
            self.model = build_model(e, self.split).to(self.device, memory_format=torch.channels_last)
            self.optimizer = _optimizer(self.model, e)
        task = methods.Task(
            self.labels, self.split.num_classes, e.steps, _share_right(self.examples, self.split), self.confusion
        )
        self.method = methods.get(stage.method)(self.model, self.optimizer, loss_for(self.split), task)
        self.batches = self.method.batches(self.labels, e.batch_size, e.seed)
        stream = RandomStream if e.clean_replacement else BatchStream
        self.clean_batches = stream(len(self.clean[1]), e.clean_batch_size, e.seed + 1)

    def steps(self) -> Iterator[int]:
        """Train from where the run stands to its end, a step at a time; yields the number of steps taken."""
        if self.steps_done == 0 and self.stage.counted:
            self._evaluate_now(0)
        while True:
            while self.step < self.stage.steps:
                self._step()
                yield self.steps_done
            if self.stage_number + 1 == len(self.stages):
                return
            if self.stage.counted:
                self.confusion_before_tuning = self._test_confusion().tolist()
            else:
                self.confusion = self._confusion_with_given_labels()
            self.stage_number, self.step = self.stage_number + 1, 0
            self._begin_stage()
            if self.stage.fresh and self.stage.counted:
                self._evaluate_now(0)

    def evaluate_where_it_is(self) -> None:
        """Make what was learned so far a curve that ends here, whatever stage the run is in."""
        if not self.stage.counted:
            self.step = self.stage.steps
        if self.steps_done == 0 or not self.stage.counted:
            next(self.steps())
        number = self.step if self.stage.fresh else self.experiment.steps + self.step
        if self.curve.step[-1] != number:
            self._evaluate_now(number)

    def halt(self) -> Halt:
        """The run as it stands, and what comes next."""
        batch, clean_batch = self._batches_of(self.step)
        return Halt(self.steps_done, self.model, loss_for(self.split), (batch.x, batch.y), clean_batch)

    def _step(self) -> None:
        e, began = self.experiment, time.monotonic()
        number = self.step if self.stage.fresh else e.steps + self.step
        for group in self.optimizer.param_groups:
            group["lr"] = e.lr / 10 ** sum(drop <= number for drop in e.lr_drops)
        batch, clean_batch = self._batches_of(number)
        with self._in_precision():
            update = self.method.step(batch, clean_batch, number)
        self.step += 1
        self.training_seconds += time.monotonic() - began
        if self.stage.counted:
            self.meter.add(batch.positions, update.weights, number)
            if self.watch is not None and update.weights is not None:
                self.watch.on_step(batch.positions, update)
            if (number + 1) % e.evaluate_every == 0 or self.step == self.stage.steps:
                self._evaluate_now(number + 1)
            if number + 1 == e.steps // 2:
                self._weigh_held_out()
            if self.stage.fresh and self.step in self.to_keep:
                self._keep_for_others(self.to_keep[self.step])

    def _batches_of(self, number: int) -> tuple[methods.Minibatch, tuple[Tensor, Tensor]]:
        """The training and the clean batch of a step, counted from 0 with fine-tuning after training."""
        chosen, chosen_clean = self.batches.indices(number), self.clean_batches.indices(number)
        batch = methods.Minibatch(*self._take(self.train, chosen, 2 * number), chosen)
        return batch, self._take(self.clean, chosen_clean, 2 * number + 1)

    def _in_precision(self) -> torch.autocast:
        bfloat16 = self.experiment.precision == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=bfloat16)

    def _weigh_held_out(self) -> None:
        """Figure 3, of methods that weigh by the clean set, where images were held out."""
        held_out, reweighter = self.split.held_out, getattr(self.method, "reweighter", None)
        if held_out is None or reweighter is None:
            return
        binary = self.split.num_classes == 2
        x, y = to_tensors(held_out, self.device, binary=binary, pixel_range=self.pixel_range)
        chosen = self.clean_batches.indices(self.step - 1)
        clean_batch = tuple(part[chosen] for part in self.clean)
        truth = torch.from_numpy(held_out.y_true).to(self.device)
        with _random_state_kept(self.device), self._in_precision():
            weighed = weigh_held_out(
                self.model,
                reweighter.loss_fn,
                x,
                y,
                truth,
                clean_batch,
                self.experiment.biases,
                self.experiment.batch_size,
            )
        self.held_out_weights = {"step": self.step} | weighed

    def _take(self, pair: tuple[Tensor, Tensor], indices: Tensor, draw: int) -> tuple[Tensor, Tensor]:
        x, y = pair
        x = x[indices]
        if self.experiment.augment:
            generator = torch.Generator().manual_seed(self.experiment.seed * 1_000_003 + draw)
            x = pad_crop_flip(x, generator, fill=self.pixel_range[0])
        # Indexing loses the memory format that makes convolutions fast on a CPU.
        return x.contiguous(memory_format=torch.channels_last), y[indices]

    def _evaluate_now(self, step: int) -> None:
        self.curve.add(step, accuracy=_balanced(self._test_confusion()), **self.meter.read())
        if self.watch is not None and step:
            self.watch.on_evaluation(self._predict(self.train[0]))

    @torch.no_grad()
    def _predict(self, x: Tensor, chunk: int = 500) -> Tensor:
        """(N, K) log-probabilities, by the model as it is used."""
        with self._as_used(), self._in_precision():
            logits = torch.cat([self.model(part) for part in x.split(chunk)]).float()
        if not logits.isfinite().all():
            raise FloatingPointError("the model's outputs are NaN or infinite: lower the learning rate")
        return log_probabilities(logits)

    @contextmanager
    def _as_used(self) -> Iterator[None]:
        """The model in eval mode, by running statistics of its present parameters if they are to be re-estimated.

        With a decay of .999 those that training leaves lag behind the parameters by thousands of steps.
        """
        left_by_training = [buffer.clone() for buffer in self.model.buffers()]
        count = self.experiment.statistics_batches
        if count:
            images = (
                self._take(self.train, self.statistics_stream.indices(k), _STATISTICS_DRAWS + k)[0]
                for k in range(count)
            )
            with _random_state_kept(self.device), self._in_precision():
                update_bn(images, self.model)
        self.model.eval()
        try:
            yield
        finally:
            self.model.train()
            with torch.no_grad():
                for buffer, value in zip(self.model.buffers(), left_by_training, strict=True):
                    buffer.copy_(value)

    def _test_confusion(self) -> np.ndarray:
        """(K, K) test images by class (row) and prediction (column)."""
        if self.last_confusion is None or self.last_confusion[0] != self.steps_done:
            x, y = self.test
            k = self.split.num_classes
            cells = y.long() * k + self._predict(x).argmax(1)
            self.last_confusion = self.steps_done, torch.bincount(cells, minlength=k * k).view(k, k).cpu().numpy()
        return self.last_confusion[1]

    def _confusion_with_given_labels(self) -> Tensor:
        """(K, K) row k: given labels of training images, each counted by the probability that it is of class k."""
        p = self._predict(self.train[0]).exp()
        joint = torch.zeros(self.split.num_classes, self.split.num_classes, device=p.device)
        joint.index_add_(0, self.labels, p)  # row: given label; column: predicted class
        return joint.T / joint.sum(0)[:, None].clamp(min=1e-12)

    def record(self) -> Record:
        confusion = self._test_confusion()
        return Record(
            experiment=self.experiment,
            data_checksum=self.split.checksum,
            train_counts=torch.bincount(self.labels, minlength=self.split.num_classes).tolist(),
            realised_noise=realised_noise(self.examples),
            curve=self.curve,
            accuracy_by_class=[round(float(a), 6) for a in confusion.diagonal() / confusion.sum(1)],
            started=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.started)),
            duration=round(self._seconds_now(), 1),
            environment=self.environment,
            confusion=confusion.tolist(),
            confusion_before_tuning=self.confusion_before_tuning,
            weight_histograms=self.meter.histograms(),
            training_seconds=round(self.training_seconds, 1),
            held_out_weights=self.held_out_weights,
            shared_training=self.shared_training,
        )

    def _commits(self) -> list[str]:
        """Of the code that took the steps, the present one last."""
        return [*self.environment.get("earlier_commits", ()), self.environment["commit"]]

    def _seconds_now(self) -> float:
        return self.seconds + time.time() - self.began

    def save(self, path: Path) -> None:
        """Write everything that is needed to go on from here."""
        write_checkpoint(self._state(self.experiment), path)

    def _keep_for_others(self, path: Path) -> None:
        """Leave the present state for runs that begin as this one did."""
        write_checkpoint(self._state(beginning(self.experiment, self.step)), path)

    def _state(self, experiment: Experiment) -> dict[str, Any]:
        return {
            "experiment": experiment.to_dict(),
            "checksum": self.split.checksum,
            "share": self.steps_done / self.total_steps,
            "stage": self.stage_number,
            "step": self.step,
            "confusion": self.confusion,
            "confusion_before_tuning": self.confusion_before_tuning,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "method": self.method.state_dict(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
            "curve": asdict(self.curve),
            "meter": self.meter.state_dict(),
            "watch": self.watch.state_dict() if self.watch is not None else None,
            "started": self.started,
            "commits": self._commits(),
            "seconds": self._seconds_now(),
            "training_seconds": self.training_seconds,
            "held_out_weights": self.held_out_weights,
            "shared_training": self.shared_training,
        }

    def resume(self, path: Path) -> bool:
        """Go on from `path` if it is there; ValueError if it cannot be read or belongs to another experiment."""
        state = read_checkpoint(path, self.device)
        if state is None:
            return False
        if not self._is_ours(state):
            raise UnusableCheckpoint(
                f"{path} belongs to another experiment or to other data: delete it, or name another file"
            )
        with restoring(path):
            self._restore(state)
        return True

    def _is_ours(self, state: dict[str, Any]) -> bool:
        """Fields that came after the file was written count as their defaults, as in older records."""
        try:
            described = Experiment.from_dict(state.get("experiment", {}))
        except (TypeError, ValueError):
            return False
        return described == self.experiment and state.get("checksum") == self.split.checksum

    def begin_with_shared(self) -> None:
        """Take over what an earlier run left: training up to some step, or the plain model to start from."""
        e = self.experiment
        if path := self.shared.start_of(e):
            state = self._read_shared(path)
            with restoring(path):
                self._restore(state)
        elif path := self.shared.plain_model_for(e):
            state = self._read_shared(path)
            with restoring(path):
                self.model.load_state_dict(state["model"])
                self.step = state["step"]  # what follows is the next stage
                self.seconds, self.training_seconds = state["seconds"], state["training_seconds"]
        else:
            return
        self.started = self.began
        self.shared_training = {"steps": state["step"], "seconds": round(state["seconds"], 1)}

    def _read_shared(self, path: Path) -> dict[str, Any]:
        state = read_checkpoint(path, self.device)
        if state is None or state.get("checksum") != self.split.checksum:
            raise UnusableCheckpoint(f"{path} does not belong to these data: delete it")
        return state

    def _restore(self, state: dict[str, Any]) -> None:
        self.confusion, self.confusion_before_tuning = state["confusion"], state["confusion_before_tuning"]
        self.held_out_weights, self.shared_training = state["held_out_weights"], state["shared_training"]
        for self.stage_number in range(state["stage"] + 1):
            self._begin_stage()  # each adds its own to the optimizer, so all of them happen again, in order
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.method.load_state_dict(state["method"])
        self.curve = Curve(**state["curve"])
        self.meter.load_state_dict(state["meter"])
        if self.watch is not None and state.get("watch") is not None:
            self.watch.load_state_dict(state["watch"])
        self.started, self.seconds, self.training_seconds = (
            state["started"],
            state["seconds"],
            state["training_seconds"],
        )
        if earlier := [commit for commit in state["commits"] if commit != self.environment["commit"]]:
            self.environment["earlier_commits"] = earlier
        torch.set_rng_state(state["random"].cpu())
        if state["random_cuda"] is not None:
            torch.cuda.set_rng_state(state["random_cuda"].cpu(), self.device)


def _random_state_kept(device: torch.device) -> AbstractContextManager[None]:
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


def _check_precision(precision: str, device: torch.device) -> None:
    if precision == "bfloat16" and device.type == "cpu":
        _warn_where_bfloat16_is_slow()


@cache
def _warn_where_bfloat16_is_slow() -> None:
    """Once in a process; says nothing where PyTorch is too old to tell."""
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    if capabilities and not any(there for name, there in capabilities.items() if name.endswith("bf16")):
        warnings.warn(
            "this processor has no bfloat16 arithmetic: the run gives the same kind of result, slower than in float32",
            RuntimeWarning,
            stacklevel=4,
        )


def _optimizer(model: nn.Module, e: Experiment) -> torch.optim.Optimizer:
    groups = _parameter_groups(model, e)
    if e.optimizer == "adamw":
        return torch.optim.AdamW(groups, e.lr, weight_decay=0.0)
    return torch.optim.SGD(groups, e.lr, e.momentum)


def _parameter_groups(model: nn.Module, e: Experiment) -> list[dict[str, Any]]:
    """Weight decay is for kernels; shifts and biases go without (the released CIFAR code)."""
    parameters = list(model.parameters())
    if not e.weight_decay:
        return [{"params": parameters}]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": e.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _share_right(examples: Examples, split: Split) -> Tensor:
    counts = np.bincount(examples.y, minlength=split.num_classes)
    right = np.bincount(examples.y[~examples.flipped], minlength=split.num_classes)
    return torch.from_numpy(right / np.maximum(counts, 1))


def _balanced(confusion: np.ndarray) -> float:
    """Mean of the class accuracies: plain accuracy on a balanced test set."""
    return round(float((confusion.diagonal() / confusion.sum(1)).mean()), 6)
