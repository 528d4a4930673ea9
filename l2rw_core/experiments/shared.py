"""Training that several experiments have in common, done once.

Fine-tuning begins where plain training ended, a shorter schedule runs like the longer one until the rate drops at
another step, and a method that starts from a plain model's confusion trains that model first. The state at such a step
is kept beside the checkpoints; a run that begins with it ends with the numbers of a run from nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from l2rw_core import methods
from l2rw_core.experiments.config import Experiment


def beginning(e: Experiment, steps: int) -> Experiment:
    """The experiment that is nothing but the first `steps` steps of training of `e`, whatever it is part of."""
    drops = tuple(drop for drop in e.lr_drops if drop < steps)
    return e.with_(name="beginning", scale="paper", steps=steps, lr_drops=drops, fine_tune_steps=0)


def common_steps(one: Experiment, other: Experiment) -> int:
    """How many steps of training two experiments begin with alike, if a run of one can go on as the other; else 0."""
    steps = min([one.steps, other.steps, *set(one.lr_drops) ^ set(other.lr_drops)])
    if steps < 1 or beginning(one, steps) != beginning(other, steps) or one.label_scores:
        return 0
    method = methods.get(one.method)
    if method.needs_confusion or one.steps == other.steps:
        return steps if one.steps == other.steps == steps or not method.needs_confusion else 0
    if method.knows_length or steps % one.evaluate_every:
        return 0
    halves = (one.steps // 2, other.steps // 2)
    with_hold_out = one.hold_out > 0 and halves[0] != halves[1] and min(halves) <= steps
    return 0 if with_hold_out and method.uses_clean else steps


def plain_model_of(e: Experiment) -> Experiment | None:
    """The plain training whose confusion `e` starts from, None if it starts from nothing."""
    return e.with_(method="baseline", fine_tune_steps=0) if methods.get(e.method).needs_confusion else None


@dataclass(frozen=True)
class SharedStates:
    """States of training that other runs begin with, in a folder of their own.

    Args:
        folder: of the files.
        experiments: all that are to be run; each keeps what another of them can begin with.
    """

    folder: Path
    experiments: tuple[Experiment, ...]

    def path(self, e: Experiment, steps: int) -> Path:
        """Where the state of `e` after so many steps of training lies, once it does."""
        return self.folder / f"{beginning(e, steps).key}-{e.seed}-{steps}.pt"

    def users(self, e: Experiment) -> dict[Experiment, int]:
        """The other experiments that can begin with a state of `e`, and its step."""
        steps = {other: self._step_for(e, other) for other in self.experiments if other != e}
        return {other: step for other, step in steps.items() if step}

    def to_keep(self, e: Experiment) -> dict[int, Path]:
        """Step -> file of the states that a run of `e` has to leave for others."""
        return {step: self.path(e, step) for step in self.users(e).values()}

    def start_of(self, e: Experiment) -> Path | None:
        """The furthest state that is there and that a run of `e` can begin with; None if there is none."""
        steps = {common_steps(e, other) for other in self.experiments if other != e}
        return next((self.path(e, s) for s in sorted(steps, reverse=True) if s and self.path(e, s).exists()), None)

    def plain_model_for(self, e: Experiment) -> Path | None:
        """The state of the trained plain model that `e` starts from, if it is there."""
        plain = plain_model_of(e)
        path = plain and self.path(plain, plain.steps)
        return path if path and path.exists() else None

    def waits_for(self, e: Experiment, others: Iterable[Experiment]) -> bool:
        """Whether one of `others`, which are not finished, will leave a state that would spare `e` some training."""
        best = self.start_of(e) or self.plain_model_for(e)
        return best is None and any(self._step_for(other, e) for other in others if other != e)

    def clear(self, unfinished: Iterable[Experiment]) -> None:
        """Delete the states that none of the unfinished experiments can begin with."""
        wanted = {
            self.path(other, step)
            for e in unfinished
            for other in self.experiments
            if other != e and (step := self._step_for(other, e))
        }
        for path in self.folder.glob("*.pt"):
            if path not in wanted:
                path.unlink(missing_ok=True)

    @staticmethod
    def _step_for(e: Experiment, other: Experiment) -> int:
        """The step after which a state of `e` serves `other`; 0 if none does."""
        plain = plain_model_of(other)
        if plain is not None and common_steps(e, plain) == plain.steps:
            return plain.steps
        return common_steps(e, other)
