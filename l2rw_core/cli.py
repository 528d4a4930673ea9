"""`l2rw`: run experiments and read their records from a shell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from l2rw_core import datasets, experiments, methods

MethodName = Literal[tuple(methods.METHODS)]  # type: ignore[valid-type]
DataName = Literal[datasets.names()]  # type: ignore[valid-type]
Ratio = Literal[tuple(experiments.MAJORITY_SHARES)]  # type: ignore[valid-type]


@dataclass
class Run:
    """Train on imbalanced digits (Section 4.1, Figure 2), record every trial, and print the test errors."""

    method: MethodName = "l2rw"
    """How to train."""
    ratio: Ratio = 200
    """Nominal imbalance, frequent to rare."""
    pair: tuple[int, int] = (4, 9)
    """The rare digit and the frequent one."""
    data: DataName = "mnist"
    """Data set; digits is embedded and needs no files."""
    scale: Literal["quick", "paper"] = "quick"
    """quick: 800 steps; paper: 8,000 steps, the paper's own scale."""
    trials: int = 1
    """Number of trials, with consecutive seeds."""
    seed: int = 0
    """First seed."""
    records: Path = field(default_factory=experiments.results_root)
    """Folder of the record files; trials already on record there are not run again."""
    again: bool = False
    """Run trials again that are already on record."""
    steps: int | None = None
    """Training steps, if not those of the scale."""
    device: str = "cpu"
    """Where to train, for example cuda."""
    threads: int | None = None
    """CPU threads; by default what PyTorch chooses."""

    def __call__(self) -> None:
        if self.trials < 1:
            raise ValueError(f"trials must be at least 1, got {self.trials}")
        _check_device(self.device)
        if self.threads:
            torch.set_num_threads(self.threads)
        wanted = [self._experiment(seed) for seed in range(self.seed, self.seed + self.trials)]
        done = {} if self.again else {r.experiment: r for r in experiments.load_records("fig2", self.records)}
        source = None if all(e in done for e in wanted) else datasets.load(self.data)
        for experiment in wanted:
            record = done.get(experiment)
            if record is None:
                record = experiments.fit(experiment, source, self.device)
                experiments.append(record, self.records)
            print(
                f"{experiment.data} {self.pair[0]} against {self.pair[1]}, {self.ratio}:1, {self.method}, "
                f"seed {experiment.seed}: test error {1 - record.last:.2%} after the last step, "
                f"{1 - record.best:.2%} at best, {record.duration:.0f} s, record {record.id}"
            )

    def _experiment(self, seed: int) -> experiments.Experiment:
        experiment = experiments.mnist_imbalance(self.method, self.ratio, self.pair, seed, self.scale, self.data)
        if self.steps is None or self.steps == experiment.steps:
            return experiment
        return experiment.with_(steps=self.steps, scale="quick" if self.scale == "quick" else "reduced")


def _check_device(device: str) -> None:
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {device!r} cannot be used: {str(error).splitlines()[0]}") from error


@dataclass
class Show:
    """Print what is on record: mean test error and 95% interval over the trials of each configuration."""

    name: str | None = None
    """Only this experiment, for example fig2."""
    records: Path = field(default_factory=experiments.results_root)
    """Folder of the record files."""

    def __call__(self) -> None:
        found = experiments.load_records(self.name, self.records)
        if not found:
            print(f"nothing on record in {self.records}")
            return
        print(experiments.summary(found).to_string(index=False))


Command = Annotated[Run, tyro.conf.subcommand("run")] | Annotated[Show, tyro.conf.subcommand("show")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the `l2rw` command; errors of the user's making are one line, not a traceback."""
    command = tyro.cli(Command, prog="l2rw", description=__doc__, args=arguments)
    try:
        command()
    except (ValueError, datasets.DataUnavailable) as error:
        raise SystemExit(f"l2rw: {error}") from error
    except KeyboardInterrupt:
        raise SystemExit("l2rw: interrupted; finished trials are on record") from None
