"""What a run leaves behind: one line of JSON a trial, appended so that nothing recorded is ever lost."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import subprocess
import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd
import torch

from l2rw_core.datasets import BackgroundFlip
from l2rw_core.experiments.config import Experiment
from l2rw_core.experiments.intervals import interval
from l2rw_core.places import results_root


@dataclass
class Curve:
    """Evaluations during training, one entry each; the first is before any step and has no weights to report."""

    step: list[int] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    """Test accuracy, between 0 and 1, mean over classes."""
    effective_examples: list[float | None] = field(default_factory=list)
    """1 / sum of squares of a batch's shares of weight, averaged over the steps since the entry before; a step in which
    every weight was 0 counts as 0. What it is in the others: `effective_while_learning`."""
    idle_steps: list[float | None] = field(default_factory=list)
    """Share of those steps in which every weight was 0 and nothing moved."""
    weight_by_class: list[list[float] | None] = field(default_factory=list)
    """Mean share of a batch's weight that went to each given label."""
    weight_on_flipped: list[float | None] = field(default_factory=list)
    """Mean share of a batch's weight that went to examples with a wrong label."""

    @property
    def effective_while_learning(self) -> list[float | None]:
        """`effective_examples` over the steps in which any example had weight: at least 1; None where none had."""
        return [
            None if effective is None or idle == 1 else effective / (1 - (idle or 0.0))
            for effective, idle in zip(self.effective_examples, self.idle_steps, strict=True)
        ]

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
    held_out_weights: dict[str, Any] | None = None
    """Held-out images with right and with wrong labels by their weight after half of the steps; `weigh_held_out`."""
    shared_training: dict[str, Any] | None = None
    """How many ``steps`` were taken over from another run, and the ``seconds`` they had taken there, which
    `duration` and `training_seconds` count as this run's; None if there were none."""

    @property
    def steps_taken(self) -> int:
        """Steps of training and of fine-tuning: `Experiment.all_steps`, unless the run was stopped before."""
        return self.curve.step[-1]

    @property
    def is_whole(self) -> bool:
        """Whether the run went to its end."""
        return self.steps_taken >= self.experiment.all_steps

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

    def mean_between(self, first: int, last: int) -> float:
        """Mean test accuracy of the evaluations after step `first`, up to step `last`; ValueError if there is none."""
        inside = [a for s, a in zip(self.curve.step, self.curve.accuracy, strict=True) if first < s <= last]
        if not inside:
            raise ValueError(f"record {self.id} has no evaluation after step {first} and up to {last}")
        return fmean(inside)

    def confusion_at(self, step: int) -> list[list[int]]:
        """Confusion after the last step, or after the last one before fine-tuning; ValueError if it was not kept."""
        matrix = self._confusion_by_step.get(step)
        if matrix is None:
            raise ValueError(f"record {self.id} has no confusion matrix of step {step}")
        return matrix

    def has_confusion_at(self, step: int) -> bool:
        """Whether `confusion_at` has a matrix."""
        return self._confusion_by_step.get(step) is not None

    @property
    def _confusion_by_step(self) -> dict[int, list[list[int]] | None]:
        before = {self.experiment.steps: self.confusion_before_tuning} if self.experiment.fine_tune_steps else {}
        return {self.experiment.all_steps: self.confusion} | before

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
        ValueError: the run was stopped before its end.
    """
    if not record.is_whole:
        raise ValueError(
            f"a run that was stopped after {record.steps_taken} of {record.experiment.all_steps} steps is no trial: "
            "let it go to its end before it is put on record"
        )
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

    The column `settings` has whatever tells a configuration from the others of the same name, scale, data and method.
    Trials may differ in their background class, which each split draws anew. Of two runs of one trial the later counts.
    """
    trials: dict[str, list[Record]] = {}
    for record in {record.experiment: record for record in records}.values():
        trials.setdefault(_without_background(record.experiment), []).append(record)
    groups: dict[tuple[str, ...], list[list[Record]]] = {}
    for same in trials.values():
        groups.setdefault(_kind(same[0].experiment), []).append(same)
    rows = {}
    for kind, configurations in groups.items():
        settings = _told_apart([_settings(same[0].experiment) for same in configurations])
        for same, words in zip(configurations, settings, strict=True):
            rows[_without_background(same[0].experiment)] = _summary_row(kind, words, same)
    return pd.DataFrame([rows[key] for key in trials])


def _kind(e: Experiment) -> tuple[str, ...]:
    return e.name, e.scale, e.data, e.method


def _summary_row(kind: tuple[str, ...], settings: str, trials: list[Record]) -> dict[str, Any]:
    last, best = (interval([100 * (1 - getattr(r, which)) for r in trials]) for which in ("last", "best"))
    return (
        dict(zip(("name", "scale", "data", "method"), kind, strict=True))
        | {"settings": settings, "trials": last.trials}
        | {"last error %": round(last.mean, 2), "± last": round(last.half_width, 2)}
        | {"best error %": round(best.mean, 2), "± best": round(best.half_width, 2)}
    )


def _settings(e: Experiment) -> dict[str, str]:
    """All that is set in a configuration, biases field by field; not the seed, nor a background class."""
    values = e.to_dict()
    biases = values.pop("biases")
    settings = {name: _in_short(value) for name, value in values.items() if name != "seed"}
    settings["biases"] = " then ".join(bias["kind"] for bias in biases)
    for position, bias in enumerate(biases, start=1):
        for name, value in bias.items():
            if name not in ("kind", "background"):
                settings[name if name not in settings else f"{name} ({position})"] = _in_short(value)
    return settings


def _in_short(value: Any) -> str:
    return " and ".join(map(str, value)) if isinstance(value, list) else str(value)


def _told_apart(configurations: list[dict[str, str]]) -> list[str]:
    """Of each configuration the settings that not all of them share."""
    names = dict.fromkeys(name for settings in configurations for name in settings)
    differ = [name for name in names if len({settings.get(name) for settings in configurations}) > 1]
    return [
        ", ".join(f"{name} {settings[name]}".rstrip() for name in differ if name in settings)
        for settings in configurations
    ]
