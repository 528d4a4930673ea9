"""Run what is missing of a grid, on all cores or on a cluster, and go on after an interruption."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Lock, Thread

import joblib
import torch
from filelock import FileLock, Timeout
from tqdm.auto import tqdm

from l2rw_core import methods
from l2rw_core.datasets import Source, load
from l2rw_core.experiments.cluster import run_on_cluster
from l2rw_core.experiments.config import Experiment
from l2rw_core.experiments.detection import detect
from l2rw_core.experiments.records import Record, append, load_records
from l2rw_core.experiments.results import Recorded
from l2rw_core.experiments.shared import SharedStates
from l2rw_core.experiments.train import fit
from l2rw_core.running.checkpoints import check_writable, read_share

CHECKPOINT_EVERY = 30.0
"""Seconds. An evaluation may follow before the next one, and a checkpoint is never older than a minute all the same."""


class TrialInHand(ValueError):
    """Another process is running this trial for the same folder."""


def missing(experiments: Iterable[Experiment], records: Iterable[Record]) -> list[Experiment]:
    """What has to be run: without duplicates, without what is on record, and without runs that a longer one holds."""
    wanted, recorded = list(dict.fromkeys(experiments)), Recorded(records)
    shared_runs = {e.with_(fine_tune_steps=0) for e in wanted if e.fine_tune_steps}
    return [e for e in wanted if e not in shared_runs and not recorded.find(e)]


def run_all(
    experiments: Sequence[Experiment],
    folder: Path,
    jobs: int = -1,
    device: str = "cpu",
    progress: bool = True,
    scheduler: str | None = None,
) -> list[tuple[Experiment, str]]:
    """Run experiments in parallel and append each record as it is made.

    Unfinished runs keep a checkpoint in ``<folder>/.unfinished`` and go on from it at the next call. Two processes that
    share a folder never run the same trial at once.

    Args:
        experiments: what to run, in this order; see `missing`.
        folder: of the record files.
        jobs: processes, each on one thread; -1 for one a core.
        device: where to train. More than one process on one GPU is rarely faster.
        progress: show a bar with the remaining time.
        scheduler: address of a Dask scheduler, whose workers take the place of `jobs`; see `run_on_cluster`.

    Returns:
        The experiments that failed, and why; the others are on record.

    Raises:
        DataUnavailable: before anything is trained, if a data set is not at hand.
        ValueError, OSError: before anything is trained, if the cluster cannot be used; see `run_on_cluster`.
    """
    if scheduler:
        finished = run_on_cluster(run_one, experiments, folder, device, scheduler)
    else:
        for name in dict.fromkeys(e.data for e in experiments):
            load(name)
        tasks = (joblib.delayed(run_one)(e, folder, device) for e in experiments)
        finished = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")(tasks)
    failed = []
    with _Progress(experiments, folder, progress) as bar:
        for experiment, error in finished:
            bar.finish(experiment)
            if error:
                failed.append((experiment, error))
    return failed


class _Progress:
    """A bar over the work of all runs, in plain steps. Runs under way count: their checkpoints say how far they are."""

    def __init__(self, experiments: Sequence[Experiment], folder: Path, visible: bool, every: float = 2.0) -> None:
        self._work = {e: e.all_steps * relative_cost(e) for e in experiments}
        self._checkpoints = {e: unfinished(e, folder) for e in experiments}
        self._shares = dict.fromkeys(experiments, 0.0)
        self._look()
        total, begun = round(sum(self._work.values())), self._done
        self._bar = tqdm(desc="runs", total=total, initial=begun, unit="step", disable=not visible, smoothing=0.1)
        self._every, self._changing, self._ended = every, Lock(), Event()
        self._watcher = Thread(target=self._watch, daemon=True)

    @property
    def _done(self) -> int:
        return round(sum(work * self._shares[e] for e, work in self._work.items()))

    def _show(self) -> None:
        self._bar.update(self._done - self._bar.n)

    def _look(self) -> None:
        for e, path in self._checkpoints.items():
            self._shares[e] = max(self._shares[e], read_share(path))

    def _watch(self) -> None:
        while not self._ended.wait(self._every):
            with self._changing:
                self._look()
                self._show()

    def finish(self, experiment: Experiment) -> None:
        """Count all of a run."""
        with self._changing:
            self._shares[experiment] = 1.0
            self._checkpoints.pop(experiment, None)
            self._bar.set_postfix_str(f"{experiment.name} {experiment.method} seed {experiment.seed}", refresh=False)
            self._show()

    def __enter__(self) -> _Progress:
        if not self._bar.disable:
            self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._watcher.is_alive():
            self._watcher.join()
        self._bar.close()


def relative_cost(e: Experiment) -> float:
    """Time of a step relative to a plain one, roughly, so that the remaining time is not far off."""
    kind = methods.get(e.method)
    n, m = e.batch_size, min(e.clean_batch_size, e.clean_size)
    if e.method == "clean_only":
        return m / n
    return (5 * n + 3 * m) / (3 * n) if kind.uses_clean else 2.0 if kind.needs_confusion else 1.0


def run_and_append(
    experiment: Experiment,
    folder: Path,
    device: str = "cpu",
    source: Source | None = None,
    progress: bool | None = None,
) -> Record:
    """Run one trial and append its record to those in `folder`. Until it is there, its last checkpoint is kept.

    Raises:
        ValueError: before anything is trained, if another process is running the same trial for the same folder, or
            if that cannot be written to.
    """
    with _in_hand(experiment, folder):
        return _run_and_append(experiment, folder, device, source, progress)


def run_if_missing(
    experiment: Experiment, folder: Path, device: str = "cpu", shared: SharedStates | None = None
) -> Record | None:
    """Run one trial on one thread and append its record; None if it is on record by now.

    Raises:
        TrialInHand: if another process is running it.
    """
    if device == "cpu":
        torch.set_num_threads(1)
    with _in_hand(experiment, folder):
        if not missing([experiment], load_records(experiment.name, folder)):
            return None
        return _run_and_append(experiment, folder, device, progress=False, shared=shared)


def _run_and_append(
    experiment: Experiment,
    folder: Path,
    device: str,
    source: Source | None = None,
    progress: bool | None = None,
    shared: SharedStates | None = None,
) -> Record:
    checkpoint = unfinished(experiment, folder)
    if experiment.label_scores:
        record = detect(experiment, source, device, progress, checkpoint)
    else:
        record = fit(experiment, source, device, progress, checkpoint, CHECKPOINT_EVERY, shared=shared)
    append(record, folder)
    checkpoint.unlink(missing_ok=True)
    return record


@contextmanager
def _in_hand(experiment: Experiment, folder: Path) -> Iterator[None]:
    with _sole_owner(_lock(experiment, folder)) as sole:
        if not sole:
            raise TrialInHand(
                f"another process is running {experiment.name} {experiment.method} seed {experiment.seed} for "
                f"{folder}: wait for its record, or name another folder"
            )
        yield


def unfinished(experiment: Experiment, folder: Path) -> Path:
    """Where the checkpoint of a trial lies until it is on record."""
    return folder / ".unfinished" / f"{experiment.name}-{experiment.key}-{experiment.seed}.pt"


def _lock(experiment: Experiment, folder: Path) -> Path:
    return unfinished(experiment, folder).with_suffix(".lock")


def run_one(experiment: Experiment, folder: Path, device: str = "cpu") -> tuple[Experiment, str]:
    """Run one trial and append its record; the second value says what went wrong, if anything."""
    try:
        run_if_missing(experiment, folder, device)
    except TrialInHand:
        pass  # its record will come
    except (ValueError, FloatingPointError, RuntimeError) as error:
        return experiment, f"{type(error).__name__}: {error}"
    return experiment, ""


@contextmanager
def _sole_owner(path: Path) -> Iterator[bool]:
    """Hold a lock file while a trial runs; False if another process holds it. The system frees it if we are killed.

    Of a trial that could not begin nothing stays, nor the folders that were made for it.
    """
    new_folders = [folder for folder in path.parents if not folder.exists()]
    check_writable(path.parent, "name another folder for the records")
    try:
        lock = FileLock(path).acquire(blocking=False)
    except Timeout:
        yield False
        return
    with lock:
        try:
            yield True
        except BaseException:
            path.unlink(missing_ok=True)
            with suppress(OSError):  # a checkpoint, or another process, is in it
                for folder in new_folders:
                    folder.rmdir()
            raise
        path.unlink(missing_ok=True)
