"""The long runs on CIFAR-10, in the order of their value: a queue that any number of processes work through.

    python -m l2rw_core.experiments.campaign FOLDER [QUEUE [DEVICE]]

works on it until it is done or until SIGTERM or Ctrl-C, and can be killed at any time: FOLDER holds the records, and
below ``.unfinished`` the checkpoints, the states that runs share, and the locks. `tools/campaign.py` starts such
processes from a clone of a fixed commit.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median

from l2rw_core.experiments.config import Experiment
from l2rw_core.experiments.paper import Cell, grid
from l2rw_core.experiments.records import Record, append, load_records
from l2rw_core.experiments.shared import SharedStates
from l2rw_core.experiments.sweep import TrialInHand, missing, relative_cost, run_if_missing, unfinished
from l2rw_core.running.checkpoints import UnusableCheckpoint, read_share

POLL = 20.0
"""Seconds between two looks for something to do, while others have in hand what is left."""


@dataclass(frozen=True)
class Part:
    """Some cells of a grid, and their seeds."""

    grid: str
    rows: tuple[str, ...] = ()
    """All of them by default."""
    seeds: tuple[int, ...] = (0,)
    places: tuple[tuple[str, str | float], ...] = ()
    """Only cells at one of these values of a column; all by default."""
    scale: str = "quarter"

    def experiments(self) -> list[Experiment]:
        """Trials in the order in which they are run: seed by seed, row by row as they are listed."""
        cells = [cell for cell in grid(self.grid, self.scale).cells if self._holds(cell)]
        if self.rows:
            cells.sort(key=lambda cell: self.rows.index(cell.row))
        return [cell.trial(seed) for seed in self.seeds for cell in cells]

    def _holds(self, cell: Cell) -> bool:
        place = cell.place
        of_places = not self.places or any(place.get(name) == value for name, value in self.places)
        return of_places and (not self.rows or cell.row in self.rows)


HEADLINE = ("baseline+ft", "l2rw", "random", "baseline+es+ft")
"""Rows of Table 2 that decide its headline; those with fine-tuning hold those without."""

QUEUE: tuple[Part, ...] = (
    Part("fig7", ("baseline", "s-model", "l2rw"), (0, 1, 2), scale="reduced"),
    Part("precision", ("baseline", "l2rw")),
    Part("table2", HEADLINE),
    Part("statistics", scale="reduced"),
    Part("table2", HEADLINE, (1, 2)),
    Part("table2", ("weighted+ft", "s-model+conf+es+ft", "proportion", "clean-only")),
    Part("fig4", ("l2rw",), places=(("clean", 15),)),
    Part("fig5", ("baseline", "l2rw"), places=(("noise", 0.0), ("noise", 0.5))),
)


_DECIDED = (
    Part("table1", ("baseline", "baseline+ft", "random", "l2rw"), tuple(range(3, 10)), scale="reduced"),
    Part("table2", ("baseline", "baseline+ft", "baseline+es", "random", "l2rw"), tuple(range(3, 10)), scale="reduced"),
    Part("fig5", ("baseline", "l2rw"), tuple(range(3, 10)), scale="reduced"),
    Part("fig4", ("baseline+ft", "l2rw"), tuple(range(3, 10)), scale="reduced"),
    Part("fig2", seeds=tuple(range(5, 10)), places=(("ratio", 200),), scale="paper"),
    Part("fig2", ("l2rw",), tuple(range(5, 10)), places=(("ratio", 20),), scale="paper"),
)
"""Further trials of what claims use, up to ten."""

SMALL: tuple[Part, ...] = (
    Part("later", seeds=(0, 1, 2), scale="reduced"),
    Part("look_ahead", seeds=(0, 1, 2), scale="reduced"),
    Part("instance", seeds=(0, 1, 2), scale="reduced"),
    Part("clean_draw", seeds=(0, 1, 2), scale="reduced"),
    Part("settings_imbalance", ("l2rw",), tuple(range(5)), places=(("ratio", 1), ("ratio", 10)), scale="reduced"),
    Part("later_imbalance", seeds=(0, 1, 2), scale="reduced"),
    *_DECIDED,
    Part("fair_200", seeds=tuple(range(5)), scale="reduced"),
    Part("instance_detection", seeds=(0, 1, 2), scale="reduced"),
    Part("settings_imbalance", seeds=tuple(range(5)), scale="reduced"),
    Part("later", seeds=(3, 4), scale="reduced"),
    Part("cifar_long_tail", scale="reduced"),
)
"""Studies on small images, and further trials of the tables on them."""


QUEUES = {
    "cifar": QUEUE,
    "small": SMALL,
    "gpu": (
        Part("table2", ("l2rw", "baseline+ft", "random"), (0, 1, 2), scale="paper", places=(("data", "cifar10"),)),
    ),
    "rehearsal": (Part("table2", ("baseline+ft", "baseline+es", "l2rw"), scale="quick"),),
}
"""Queues by name; that for a GPU has the paper's schedule, and the rehearsal takes a minute."""


def queue(name: str = "cifar") -> tuple[Experiment, ...]:
    """Every trial of a queue, in its order, once; ValueError for a name that there is none of."""
    if name not in QUEUES:
        raise ValueError(f"there is no queue {name!r}; choose one of {', '.join(QUEUES)}")
    return tuple(missing([e for part in QUEUES[name] for e in part.experiments()], ()))


def passed(name: str = "cifar") -> frozenset[Experiment]:
    """Trials that a queue runs, or passes on its way to one with fine-tuning; ValueError as for `queue`."""
    trials = queue(name)
    return frozenset((*trials, *(e.with_(fine_tune_steps=0) for e in trials)))


def work(folder: Path, experiments: Sequence[Experiment], device: str = "cpu") -> None:
    """Run what is missing, one trial after the other, until everything is on record or has failed.

    Several processes that do this share the work. A trial that another one will spare some training waits for it.
    A run that diverges is written down in ``failed.log`` and would diverge again, so it is not begun again. A
    checkpoint that cannot be gone on from is kept under another name, and its trial begins anew.

    Raises:
        OSError: if the disk is full, say; the last checkpoint is kept.
        KeyboardInterrupt: after Ctrl-C or SIGTERM, once a checkpoint is written.
    """
    shared = SharedStates(folder / ".unfinished" / "shared", tuple(experiments))
    while to_do := remaining(folder, experiments):
        if not any(_run(e, folder, shared, device) for k, e in enumerate(to_do) if not shared.waits_for(e, to_do[:k])):
            time.sleep(POLL)
        shared.clear(remaining(folder, experiments))


def _run(e: Experiment, folder: Path, shared: SharedStates, device: str) -> bool:
    """False if another process has it in hand, or had it."""
    try:
        return run_if_missing(e, folder, device, shared) is not None
    except TrialInHand:
        return False
    except (FloatingPointError, RuntimeError, ValueError) as error:
        checkpoint = unfinished(e, folder)
        if isinstance(error, UnusableCheckpoint) and checkpoint.exists():
            _set_aside(checkpoint, error)
        else:
            _write_down(e, folder, error)
        return True


def _set_aside(path: Path, error: UnusableCheckpoint) -> None:
    """Keep a checkpoint that cannot be gone on from under another name, so that its trial begins anew."""
    free = next(name for k in count(1) if not (name := path.with_name(f"{path.name}.aside-{k}")).exists())
    path.rename(free)
    print(f"{error}; kept as {free.name}, and the trial begins anew", file=sys.stderr, flush=True)


def remaining(folder: Path, experiments: Iterable[Experiment]) -> list[Experiment]:
    """What is neither on record nor failed."""
    failed = {(entry["key"], entry["seed"]) for entry in failures(folder)}
    return [e for e in missing(experiments, load_records(folder=folder)) if (e.key, e.seed) not in failed]


def failures(folder: Path) -> list[dict[str, object]]:
    """Trials that died, with the reason."""
    path = folder / "failed.log"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _write_down(e: Experiment, folder: Path, error: Exception) -> None:
    entry = {
        "key": e.key,
        "seed": e.seed,
        "trial": in_words(e),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    with (folder / "failed.log").open("a") as file:
        file.write(json.dumps(entry | {"error": f"{type(error).__name__}: {error}"}) + "\n")


def hand_over(folder: Path, target: Path) -> int:
    """Append the records in `folder` that `target` lacks to those there, and say how many; nothing is taken away."""
    there = {record.id for record in load_records(folder=target)}
    new = [record for record in load_records(folder=folder) if record.id not in there]
    for record in new:
        append(record, target)
    return len(new)


def in_words(e: Experiment) -> str:
    """A trial on one line."""
    tuned = "+ft" if e.fine_tune_steps else ""
    return f"{e.name} {e.method}{tuned}, {e.steps:,} steps, {e.clean_size} clean, {e.precision}, seed {e.seed}"


def hours(e: Experiment, records: Iterable[Record], share: float = 0.0) -> float | None:
    """Hours that a trial still takes, by the records of its network and precision; None if there is none.

    Args:
        e: the trial.
        records: those at hand.
        share: how much of it is done, between 0 and 1.
    """
    like = [r for r in records if (r.experiment.model, r.experiment.precision) == (e.model, e.precision)]
    plain = [r.duration / (r.experiment.all_steps * relative_cost(r.experiment)) for r in like]
    return median(plain) * e.all_steps * relative_cost(e) * (1 - share) / 3600 if plain else None


def status(folder: Path, experiments: Sequence[Experiment]) -> str:
    """What is done, what is under way, what is left, and how many core-hours that is."""
    records = load_records(folder=folder)
    to_do = remaining(folder, experiments)
    lines = [f"{len(experiments) - len(to_do)} of {len(experiments)} trials are done, {len(to_do)} are left"]
    total, unknown = 0.0, 0
    for e in to_do:
        share = read_share(unfinished(e, folder))
        time_left = hours(e, records, share)
        total, unknown = total + (time_left or 0.0), unknown + (time_left is None)
        cost = "no record yet to tell its hours by" if time_left is None else f"{time_left:.1f} core-hours"
        lines.append(f"  {in_words(e)}: {f'{share:.0%} done, ' if share else ''}{cost}")
    lines += [f"  failed: {entry['trial']}: {entry['error']}" for entry in failures(folder)]
    beside = f", and {unknown} trials of unknown length" if unknown else ""
    return "\n".join([*lines, f"{total:.1f} core-hours are left{beside}"])


def _stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def main(arguments: Sequence[str]) -> int:
    """Work on the campaign in a folder; 0 when everything is done, 130 after an interruption."""
    if len(arguments) not in (1, 2, 3):
        print("usage: python -m l2rw_core.experiments.campaign FOLDER [QUEUE [DEVICE]]", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, _stop)
    folder, name, device = (*arguments, *("cifar", "cpu")[len(arguments) - 1 :])
    try:
        work(Path(folder), queue(name), device)
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
