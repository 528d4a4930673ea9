"""Several runs for somebody who watches: in turn or in step; what was learned is kept when they stop."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from l2rw_core.datasets import Source
from l2rw_core.experiments.config import Experiment
from l2rw_core.experiments.records import Record
from l2rw_core.experiments.train import Watch, _Run, fit, prepare
from l2rw_core.running.interrupts import interrupts_held


def fit_each(
    experiments: Mapping[Any, Experiment],
    source: Source | None = None,
    watches: Mapping[Any, Watch] | None = None,
    progress: bool | None = None,
) -> dict[Any, Record]:
    """Train several experiments one after the other, each as `fit` does.

    Ctrl-C, or *Interrupt* in a notebook, stops all of them after the present step, and says so in one line. What was
    learned so far is returned: the run that was interrupted ends where it was, those after it after their first step. A
    second Ctrl-C is a KeyboardInterrupt.

    Args:
        experiments: name -> what to run.
        source: their data set if it is at hand; otherwise it is loaded for each.
        watches: name -> what sees a run; for none by default.
        progress: as in `fit`.
    """
    watches = watches or {}
    with interrupts_held() as interrupted:
        records = {
            name: fit(experiment, source, progress=progress, watch=watches.get(name), go_on=lambda: not interrupted())
            for name, experiment in experiments.items()
        }
    if said := where_stopped(records):
        print(said)
    return records


def where_stopped(records: Mapping[Any, Record]) -> str:
    """How far runs came that did not go to their end, in one line; "" if all did."""
    taken = sum(record.steps_taken for record in records.values())
    if all(record.is_whole for record in records.values()):
        return ""
    steps = sum(record.experiment.all_steps for record in records.values())
    return f"stopped after {taken:,} of {steps:,} steps; what was learned so far is shown"


class StoppedTooEarly(RuntimeError):
    """Runs that were stopped have nothing that could be shown. A notebook shows it as the one sentence that it is."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


def needs_evaluation(records: Mapping[Any, Record]) -> None:
    """Nothing, if every run got as far as the first evaluation that its experiment asks for.

    Raises:
        StoppedTooEarly: a run was stopped before it.
    """
    first = max(record.experiment.evaluate_every for record in records.values())
    if any(not one.is_whole and one.steps_taken < one.experiment.evaluate_every for one in records.values()):
        raise StoppedTooEarly(
            f"the runs were stopped before each of them had taken {first:,} steps, its first evaluation, so the "
            "figures below have nothing to show: run this cell again, and let it get further"
        )


class Together:
    """Several runs that take their steps in turn, so that they can be compared wherever they stop.

    They leave the random numbers of the process alone, and give the numbers of `fit`. Another thread may hold `turn` to
    keep them from taking a step.

    Args:
        experiments: name -> what to run.
        source: their data set if it is at hand; otherwise it is loaded for each.
        watches: name -> what sees a run; for none by default.
    """

    def __init__(
        self,
        experiments: Mapping[str, Experiment],
        source: Source | None = None,
        watches: Mapping[str, Watch] | None = None,
    ) -> None:
        self.turn = threading.Lock()
        self._states = dict.fromkeys(experiments, torch.get_rng_state())
        self._runs: dict[str, _Run] = {}
        for name, experiment in experiments.items():
            split = prepare(experiment, source)
            with self._numbers_of(name):
                self._runs[name] = _Run(experiment, split, torch.device("cpu"), (watches or {}).get(name))

    @property
    def total_steps(self) -> int:
        """Of all runs."""
        return sum(run.total_steps for run in self._runs.values())

    def accuracies(self) -> dict[str, float]:
        """Name -> test accuracy at its last evaluation so far."""
        return {name: run.curve.accuracy[-1] for name, run in self._runs.items() if run.curve.step}

    def steps(self) -> Iterator[int]:
        """Take the steps of all runs; yields how many were taken, all runs together."""
        going = {name: run.steps() for name, run in self._runs.items()}
        while going:
            for name, steps in list(going.items()):
                with self._numbers_of(name):
                    if next(steps, None) is None:
                        del going[name]
            if going:
                yield sum(run.steps_done for run in self._runs.values())

    def records(self) -> dict[str, Record]:
        """Of each run as far as it is; one that has not begun takes its first step."""
        records = {}
        for name, run in self._runs.items():
            with self._numbers_of(name):
                run.evaluate_where_it_is()
                records[name] = run.record()
        return records

    @contextmanager
    def _numbers_of(self, name: str) -> Iterator[None]:
        """In turn, with the random numbers of one run."""
        with self.turn, torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self._states[name])
            try:
                yield
            finally:
                self._states[name] = torch.get_rng_state()
