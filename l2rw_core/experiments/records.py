"""What a run leaves behind: one line of JSON a trial, appended so that nothing recorded is ever lost."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import subprocess
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy.special import stdtrit

from l2rw_core.datasets import BackgroundFlip
from l2rw_core.experiments.config import Experiment
from l2rw_core.places import results_root


@dataclass
class Curve:
    """Evaluations during training, one entry each; the first is before any step and has no weights to report."""

    step: list[int] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    """Test accuracy, between 0 and 1, mean over classes."""
    effective_examples: list[float | None] = field(default_factory=list)
    """1 / sum of squares of a batch's shares of weight, averaged over the steps since the entry before."""
    idle_steps: list[float | None] = field(default_factory=list)
    """Share of those steps in which every weight was 0 and nothing moved."""
    weight_by_class: list[list[float] | None] = field(default_factory=list)
    """Mean share of a batch's weight that went to each given label."""
    weight_on_flipped: list[float | None] = field(default_factory=list)
    """Mean share of a batch's weight that went to examples with a wrong label."""

    def add(self, step: int, **values: Any) -> None:
        """Append one evaluation; what is not given is recorded as None."""
        self.step.append(step)
        for name in ("accuracy", "effective_examples", "idle_steps", "weight_by_class", "weight_on_flipped"):
            getattr(self, name).append(values.get(name))


@dataclass(frozen=True)
class Record:
    """One finished trial."""

    experiment: Experiment
    data_checksum: str
    """sha256 of the data set's arrays."""
    train_counts: list[int]
    """Training examples of each given label."""
    realised_noise: float
    """Share of training labels that are really wrong."""
    curve: Curve
    accuracy_by_class: list[float]
    """Test accuracy of each class after the last step."""
    started: str
    """UTC; of a run that was interrupted, its first sitting."""
    duration: float
    """Seconds, data preparation and evaluations included."""
    environment: dict[str, Any]
    """Versions, commit, device, threads; of a run that went on at another commit, also ``earlier_commits``."""
    confusion: list[list[int]] | None = None
    """(K, K) test images by class (row) and prediction (column) after the last step."""
    confusion_before_tuning: list[list[int]] | None = None
    """The same at the end of training, if fine-tuning followed."""
    weight_histograms: dict[str, Any] | None = None
    """Examples with right and with wrong labels by weight, midway and late in training; see `meter.EDGES`."""
    training_seconds: float | None = None
    """Seconds of training steps alone."""
    detection: dict[str, Any] | None = None
    """How well scores of the labels find the wrong ones; see `detect`."""

    @property
    def last(self) -> float:
        """Test accuracy after the last step."""
        return self.curve.accuracy[-1]

    @property
    def best(self) -> float:
        """Highest test accuracy of any evaluation: an optimistic number, since the test set picks it."""
        return max(self.curve.accuracy)

    def at(self, step: int) -> float:
        """Test accuracy after `step` steps; ValueError if it was not evaluated then."""
        return self.curve.accuracy[self.curve.step.index(step)]

    def best_until(self, step: int) -> float:
        """Highest test accuracy of any evaluation up to `step`; see `best`."""
        return max(a for s, a in zip(self.curve.step, self.curve.accuracy, strict=True) if s <= step)

    def confusion_at(self, step: int) -> list[list[int]]:
        """Confusion after the last step, or after the last one before fine-tuning; ValueError if it was not kept."""
        tuned = self.experiment.fine_tune_steps > 0
        kept = {self.experiment.all_steps: self.confusion}
        if tuned:
            kept[self.experiment.steps] = self.confusion_before_tuning
        if kept.get(step) is None:
            raise ValueError(f"record {self.id} has no confusion matrix of step {step}")
        return kept[step]

    @property
    def id(self) -> str:
        """Twelve characters that name this record wherever a number made from it is shown."""
        return hashlib.sha256(f"{self.experiment.key} {self.experiment.seed} {self.started}".encode()).hexdigest()[:12]

    def to_json(self) -> str:
        """One line, without its line end."""
        values = asdict(self) | {"experiment": self.experiment.to_dict()}
        values = self._derived() | values
        return _compact(values | {"sha256": _digest(values)})

    def _derived(self) -> dict[str, Any]:
        return {"id": self.id, "key": self.experiment.key, "last": self.last, "best": self.best}

    @classmethod
    def from_json(cls, line: str) -> Record:
        """The record of one line; ValueError if it is none, or if its contents do not belong together."""
        try:
            values = json.loads(line)
            digest = values.pop("sha256", None)  # lines of before it was written have none
            intact = digest is None or digest == _digest(values)
            derived = {name: values.pop(name) for name in ("id", "key", "last", "best")}
            read = {"experiment": Experiment.from_dict(values["experiment"]), "curve": Curve(**values["curve"])}
            record = cls(**values | read)
            intact = intact and derived == record._derived()
        except KeyError as error:
            raise ValueError(f"it lacks {error}") from error
        except (LookupError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"it has other fields or values than a record: {error}") from error
        if not intact:
            raise ValueError(f"record {derived['id']} does not match its own contents")
        return record


def _compact(values: dict[str, Any]) -> str:
    return json.dumps(values, separators=(",", ":"))


def _digest(values: dict[str, Any]) -> str:
    return hashlib.sha256(_compact(values).encode()).hexdigest()


def environment(device: str | torch.device) -> dict[str, Any]:
    """Versions, commit and machine of this process."""
    device = torch.device(device)
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "torchvision", "numpy", "l2rw-core")},
        "commit": _commit(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {platform.machine()}",
        "threads": torch.get_num_threads(),
    }


@cache
def _commit() -> str:
    """The commit of the checkout that the package runs from, with a mark if it was changed; "" outside one.

    It is what it was when it was first asked for: a process goes on with the code that it started with.
    """
    git = ["git", "-C", str(Path(__file__).parents[1])]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", "."], check=False).returncode
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head + ("+changes" if changed else "")


def append(record: Record, folder: Path | None = None) -> Path:
    """Add a record to ``<folder>/<experiment name>.jsonl``, durably, also beside other processes that do the same.

    A last line that an earlier crash left torn is set aside in ``<name>.torn`` and reported; the rest is untouched. If
    the record cannot be written, on a full disk for example, the file is as it was.

    Raises:
        OSError: if it cannot be written.
    """
    path = (folder or results_root()) / f"{record.experiment.name}.jsonl"
    line = record.to_json().encode() + b"\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        _set_torn_line_aside(file, path)
        end = file.seek(0, os.SEEK_END)
        try:
            while line:
                line = line[file.write(line) :]
            os.fsync(file.fileno())
        except BaseException:
            file.truncate(end)
            raise
    return path


def _set_torn_line_aside(file: Any, path: Path) -> None:
    file.seek(0)
    content = file.read()
    whole = content.rfind(b"\n") + 1
    if whole == len(content):
        return
    with path.with_suffix(".torn").open("ab") as aside:
        aside.write(content[whole:] + b"\n")
    file.truncate(whole)
    warnings.warn(f"{path.name} ended in a torn line; it was moved to {path.stem}.torn", RuntimeWarning, stacklevel=3)


def load_records(name: str | None = None, folder: Path | None = None) -> list[Record]:
    """Records of one experiment name, or of all, in the order in which they were made.

    A last line that a crash left torn is left out, with a warning; the next `append` sets it aside.

    Raises:
        ValueError: names the file and line that cannot be read, or `folder` if it is a file.
    """
    folder = folder or results_root()
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: name the folder that holds the records")
    paths = [folder / f"{name}.jsonl"] if name else sorted(folder.glob("*.jsonl"))
    return [record for path in paths if path.exists() for record in _read(path)]


def _read(path: Path) -> Iterable[Record]:
    *lines, torn = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            yield Record.from_json(line.decode())
        except ValueError as error:
            raise ValueError(
                f"{path}, line {number}, is not a record: {error}; restore the file, or move that line out of it"
            ) from error
    if torn:
        warnings.warn(f"{path} ends in a torn line, which is left out", RuntimeWarning, stacklevel=3)


class Interval(NamedTuple):
    """A mean over trials with its 95% confidence interval (Student's t), mean ± half_width."""

    mean: float
    half_width: float
    """NaN for a single trial."""
    trials: int

    @property
    def low(self) -> float:
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        return self.mean + self.half_width


def interval(values: Sequence[float]) -> Interval:
    """Mean and 95% confidence interval of independent trials."""
    if len(values) == 0:
        raise ValueError("an interval needs at least one trial")
    n, mean = len(values), float(np.mean(values))
    if n == 1:
        return Interval(mean, float("nan"), 1)
    return Interval(mean, float(stdtrit(n - 1, 0.975) * np.std(values, ddof=1) / np.sqrt(n)), n)


def prediction_interval(values: Sequence[float]) -> Interval:
    """Where one more trial falls in 95 of 100 cases: mean ± t · s · √(1 + 1/n), over n independent trials.

    It answers another question than `interval`, which is about the mean: that one narrows to nothing as trials are
    added, while a single trial keeps its own spread s. The values are taken as normally distributed, so for an
    accuracy near 100% it is rough. With few trials it is wide, and honestly so: t is 12.7 for two, 2.3 for nine.

    Raises:
        ValueError: fewer than two values, from which no spread can be seen.
    """
    n = len(values)
    if n < 2:
        raise ValueError(f"where one more trial falls cannot be said from {n} of them: at least two are needed")
    spread = float(np.std(values, ddof=1) * np.sqrt(1 + 1 / n))
    return Interval(float(np.mean(values)), float(stdtrit(n - 1, 0.975)) * spread, n)


def table(records: Iterable[Record]) -> pd.DataFrame:
    """One row a record: its experiment's fields, then id, last, best, duration, commit and device."""
    rows = []
    for record in records:
        e = record.experiment.to_dict()
        rows.append(
            {name: value for name, value in e.items() if name != "biases"}
            | {field: value for bias in e["biases"] for field, value in bias.items() if field != "kind"}
            | {"id": record.id, "key": record.experiment.key, "last": record.last, "best": record.best}
            | {"duration": record.duration, "commit": record.environment["commit"][:9]}
            | {"device": record.environment["device"]}
        )
    return pd.DataFrame(rows)


def _without_background(experiment: Experiment) -> str:
    biases = tuple(replace(b, background=0) if isinstance(b, BackgroundFlip) else b for b in experiment.biases)
    return experiment.with_(biases=biases).key


def summary(records: Iterable[Record]) -> pd.DataFrame:
    """One row a configuration: what was run, trials, and test errors in percent, last and best, with 95% intervals.

    Trials may differ in their background class, which each split draws anew. Of two runs of one trial the later counts.
    """
    latest = list({record.experiment: record for record in records}.values())
    rows = []
    for _, trials in table(latest).groupby([_without_background(r.experiment) for r in latest], sort=False):
        first = trials.iloc[0]
        last, best = (interval((100 * (1 - trials[column])).tolist()) for column in ("last", "best"))
        rows.append(
            {name: first[name] for name in ("name", "scale", "data", "method")}
            | {name: first[name] for name in ("minority", "majority", "majority_share", "rate") if name in trials}
            | {"trials": last.trials, "last error %": round(last.mean, 2), "± last": round(last.half_width, 2)}
            | {"best error %": round(best.mean, 2), "± best": round(best.half_width, 2)}
        )
    return pd.DataFrame(rows)
