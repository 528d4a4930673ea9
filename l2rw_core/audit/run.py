"""Train on the data with the clean set as judge, and keep what is needed to rank its labels."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from l2rw_core.audit import ranking
from l2rw_core.audit.clean_set import CleanSetCheck, check_clean_set
from l2rw_core.audit.coding import code
from l2rw_core.audit.data import Data, Images
from l2rw_core.audit.explanation import Explanation, explain
from l2rw_core.audit.plain import predict, train_plain
from l2rw_core.audit.ranking import Weighing
from l2rw_core.datasets import BatchStream
from l2rw_core.datasets.batches import LARGEST_SEED
from l2rw_core.ledger import SIGNALS, WeightLedger, suspects
from l2rw_core.models import Mlp, SmallCnn
from l2rw_core.reweight import Reweighter
from l2rw_core.running.checkpoints import read_checkpoint, restoring, write_checkpoint
from l2rw_core.running.progress import progress_wanted

LEAST_STEPS = 300
DOUBTFUL = 0.2
"""A trusted label is named if it is less likely than this, as a share of the likeliest."""
RANKINGS = ("measured", *SIGNALS)
"""What labels can be ranked by."""
CHECKPOINT = "unfinished.ckpt"
SECONDS_BETWEEN_CHECKPOINTS = 2.0


@dataclass(frozen=True)
class Options:
    """How an audit trains.

    Raises:
        ValueError: for an impossible number or an unknown signal.
    """

    epochs: int = 20
    """Passes over the data; small data get more, so that there are at least 300 steps."""
    batch_size: int = 100
    clean_batch_size: int = 100
    """Clean examples a step; all of them, if there are fewer."""
    lr: float = 1e-3
    """Learning rate of Adam."""
    seed: int = 0
    by: str = "measured"
    """What labels are ranked by. measured: all signs together, weighed by how well they find labels that were changed
    on purpose. Or by one of training alone, with no label changed: both, alignment, weight, loss or margin."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "clean_batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.lr < float("inf"):
            raise ValueError(f"lr must be positive, got {self.lr}")
        if not 0 <= self.seed <= LARGEST_SEED:
            raise ValueError(f"seed must lie between 0 and {LARGEST_SEED}, got {self.seed}")
        if self.by not in RANKINGS:
            raise ValueError(f"unknown signal {self.by!r}; choose one of {', '.join(RANKINGS)}")


@dataclass(frozen=True)
class Problem:
    """Data as tensors: what the model sees."""

    x: Tensor
    y: Tensor
    clean_x: Tensor
    clean_y: Tensor
    classes: list[str]
    """Name of each label."""

    @property
    def fingerprint(self) -> str:
        """sha256 of everything: a checkpoint belongs to these data alone."""
        digest = hashlib.sha256(repr(self.classes).encode())
        for part in (self.x, self.y, self.clean_x, self.clean_y):
            digest.update(part.contiguous().numpy())
        return digest.hexdigest()

    def build_model(self) -> nn.Module:
        """A network of a size that goes with the data; its initial parameters come from torch's random state."""
        if self.x.ndim == 4:
            return SmallCnn(len(self.classes), self.x.shape[1])
        return Mlp([self.x.shape[1], 64, 64, len(self.classes)])


def encode(train: Data, clean: Data) -> Problem:
    """Tensors for a training set and its clean set: pixels from 0 to 1, columns coded."""
    classes = sorted(set(train.labels.tolist()))
    y, clean_y = (torch.from_numpy(np.searchsorted(classes, part.labels)) for part in (train, clean))
    if isinstance(train, Images):
        x, clean_x = (torch.from_numpy(p.x).permute(0, 3, 1, 2).float().div(255) for p in (train, clean))
    else:
        x, clean_x = map(torch.from_numpy, code(train.frame, clean.frame, train.text))
    return Problem(x, y, clean_x, clean_y, classes)


@dataclass(frozen=True)
class Audit:
    """A finished audit."""

    train: Data
    clean: Data
    problem: Problem
    options: Options
    check: CleanSetCheck
    model: nn.Module
    """As trained, in eval mode."""
    ledger: WeightLedger
    """Of training; where a label was changed on purpose, of the changed one."""
    probabilities: np.ndarray
    """(N, K) what the examples are taken for; the mean over the second half of training, and, if the ranking is
    measured, of models that have not seen the example."""
    steps: int
    weighing: Weighing | None = None
    """How the signs of wrong labels were weighed, and how well they find changed ones; None if one alone ranks."""
    planted: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=int))
    """Ids of the examples whose label was changed on purpose while training."""
    trusted: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    """(M, K) what models that never saw the trusted examples take them for, were all classes as frequent; empty if the
    ranking is not measured."""

    @property
    def findings(self) -> list[str]:
        """What reading the data and comparing them with the clean set brought up, in sentences."""
        return [*self.train.notes, *self.clean.notes, *self.check.findings, *self._about_trusted()]

    def _about_trusted(self) -> list[str]:
        """Trusted examples whose label every model doubts."""
        doubted = self.doubted
        if not len(doubted):
            return []
        names = ", ".join(f"{self.clean.names[i]} ({self.clean.labels[i]})" for i in doubted[:5])
        more = f" and {len(doubted) - 5} others" if len(doubted) > 5 else ""
        return [
            f"Look at these trusted examples too, models that never saw them take them for something else: {names}"
            f"{more}. A wrong label among the trusted misleads the whole audit."
        ]

    @property
    def doubted(self) -> np.ndarray:
        """Ids of the trusted examples whose label may be wrong itself, the most doubtful first."""
        if not len(self.trusted):
            return np.zeros(0, dtype=int)
        y = self.problem.clean_y.numpy()
        given, best = self.trusted[np.arange(len(y)), y], self.trusted.max(1)
        places = np.flatnonzero((given < DOUBTFUL * best) & (best > 0.5))
        return places[np.argsort(given[places], kind="stable")]

    @property
    def accuracy(self) -> tuple[int, int] | None:
        """Trusted examples that models which never saw them get right, and how many one and the same answer would."""
        if not len(self.trusted):
            return None
        y = self.problem.clean_y.numpy()
        return int((self.trusted.argmax(1) == y).sum()), int(np.bincount(y).max())

    @property
    def verdict(self) -> str:
        """How far to trust the ranking, in a sentence or two; empty if no label was changed to find out."""
        tried = self.weighing
        if tried is None or self.accuracy is None:
            return ""
        right, chance = self.accuracy
        seen = (
            f"Models that never saw the {len(self.trusted)} trusted examples get {right} of them right "
            f"({chance} by chance)."
        )
        if not tried.planted:
            return f"{seen} The data are too few to change labels on purpose: how good this ranking is, is not known."
        said = (
            f"{tried.planted} labels were changed on purpose: such a label ranks before another in {tried.auroc:.0%} "
            "of pairs (50% is chance)"
        )
        if not tried.trusted:
            return (
                f"{said}: do not trust this ranking, the features say too little about the labels; no label is called "
                f"wrong. {seen}"
            )
        little = ": trust it little, and change no label unseen" if tried.little else ""
        return f"{said}{little}. {seen}"

    @property
    def expected(self) -> tuple[int, int] | None:
        """About how many of the labels that are called wrong are so, and how many more were not found; None if unknown.

        Wrong labels are taken to be as easily found as those that were changed on purpose.
        """
        tried = self.weighing
        if tried is None or not tried.planted or not tried.trusted or tried.little:
            return None
        called = self.suspects.sort_index()["is_label_issue"].to_numpy(dtype=bool)
        return round(float(tried.wrong[called].sum())), round(float(tried.wrong[~called].sum()))

    @property
    def summary(self) -> str:
        """How many labels look wrong, and about how many of them are."""
        issues = int(self.suspects["is_label_issue"].sum())
        said = f"{issues} of {len(self.train)} labels look wrong"
        if self.expected is None or not issues:
            return said
        found, missed = self.expected
        return f"{said}: about {found} of them are, and about {missed} more were not found"

    @property
    def predicted(self) -> np.ndarray:
        """(N,) the most probable label of each example."""
        return np.array(self.problem.classes)[self.probabilities.argmax(1)]

    @cached_property
    def suspects(self) -> pd.DataFrame:
        """Examples ranked, see `l2rw_core.ledger.suspects`; with a column `name`.

        Where a label was changed on purpose, weight, alignment and loss are of no label that was given, and missing.
        """
        by = self.options.by if self.weighing is None else "loss"
        table = suspects(self.ledger, self.train.labels, self.predicted, by)
        if self.weighing is not None:
            table.loc[self.planted, ["weight", "alignment", "helpful", "loss"]] = np.nan
            score = self.weighing.score[table.index]
            issue = (score < 0.5) & (table["predicted_label"] != table["given_label"]) & self.weighing.trusted
            table = table.assign(label_score=score, is_label_issue=issue)
            decision = self.weighing.decision[table.index]
            table = table.iloc[np.lexsort((table.index, -decision))]
        return table.assign(name=np.array(self.train.names, dtype=object)[table.index])

    def explain(self, example: int) -> Explanation:
        """What made the weight of one training example; ValueError if there is no such id."""
        if not 0 <= example < len(self.train):
            raise ValueError(f"there is no example {example}: ids go from 0 to {len(self.train) - 1}")
        p, one = self.problem, slice(example, example + 1)
        loss_fn = nn.CrossEntropyLoss(reduction="none")
        return explain(self.model, loss_fn, (p.x[one], p.y[one]), (p.clean_x, p.clean_y), self.clean.names)


def audit(
    train: Data,
    clean: Data,
    options: Options | None = None,
    progress: bool | None = None,
    checkpoint: Path | None = None,
    gain: pd.DataFrame | None = None,
) -> Audit:
    """Train a small network on `train`, weighted by `clean`, and rank the labels of `train`.

    Args:
        train, clean: as `l2rw_core.audit.read_pair` gives them.
        options: how to train.
        progress: show a bar; by default unless the environment variable ``L2RW_PROGRESS`` is 0.
        checkpoint: a file that is rewritten after an epoch, every few seconds. If it is there, training goes on from
            it, and ends with the numbers of a run that was never interrupted. Delete it once the results are kept.
        gain: what clean sets of other sizes were worth elsewhere, as for `check_clean_set`.

    Raises:
        ValueError: if the checkpoint is damaged or belongs to other data or options, or training diverges.
    """
    options, problem = options or Options(), encode(train, clean)
    check = check_clean_set((problem.x.numpy(), train.labels), (problem.clean_x.numpy(), clean.labels), gain=gain)
    x, channel, signs = np.zeros((0, 0)), np.zeros((0, 0)), options.by == "measured"
    trusted = np.zeros((0, 0))
    planted = ranking.Planted(problem.y.numpy(), np.zeros(0, dtype=int))
    if signs:
        k, y = len(problem.classes), planted.labels
        x, clean_x = ranking.compact(problem.x.numpy(), problem.clean_x.numpy(), options.seed)
        channel = ranking.channel(x, y, clean_x, problem.clean_y.numpy(), k, options.seed)
        trusted = ranking.of_trusted(x, y, clean_x, k, options.seed, problem.x.ndim == 2)
        trusted = ranking.seen_through(trusted, channel) / (np.bincount(y, minlength=k) + 1)
        trusted /= trusted.sum(1, keepdims=True)
        planted = ranking.plant(y, ranking.linear(x, y, k, options.seed), channel, options.seed)
    with torch.random.fork_rng(devices=[]):
        run = _Run(replace(problem, y=torch.from_numpy(planted.labels)), options)
        if checkpoint is not None:
            run.resume(checkpoint)
        epochs = tqdm(run.epochs(), "training", run.total, initial=run.done, disable=not progress_wanted(progress))
        saved = -inf
        for _ in epochs:
            if checkpoint is not None and time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS:
                run.save(checkpoint)
                saved = time.monotonic()
    probabilities = (run.probabilities / run.counted).numpy()
    weighing = None
    if signs:
        plain = _plain(run, progress)
        weighing, probabilities = _weigh(run, x, channel, planted, problem.y.numpy(), probabilities, plain)
    steps = run.total * run.steps_an_epoch
    model = run.model.eval()
    return Audit(
        train, clean, problem, options, check, model, run.ledger, probabilities, steps, weighing, planted.ids, trusted
    )


def _plain(run: _Run, progress: bool | None) -> np.ndarray:
    """(N, K) probabilities of the same network, trained for as long with equal weights."""
    p, o = run.problem, run.options
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(o.seed)
        model = p.build_model()
        steps = run.total * run.steps_an_epoch
        with tqdm(total=steps, desc="training, equal weights", disable=not progress_wanted(progress)) as bar:
            return train_plain(model, p.x, p.y, p.x, run.total, o.batch_size, o.lr, o.seed, bar)[1]


def _weigh(
    run: _Run,
    x: np.ndarray,
    channel: np.ndarray,
    planted: ranking.Planted,
    given: np.ndarray,
    probabilities: np.ndarray,
    plain: np.ndarray,
) -> tuple[Weighing, np.ndarray]:
    """The signs together, and (N, K) probabilities of the trained network and a model that has not seen the example."""
    y, k, seed = planted.labels, len(run.problem.classes), run.options.seed
    trained = ranking.corrected(probabilities, y, run.problem.clean_y.numpy())
    unseen = {"linear model": ranking.linear(x, y, k, seed), "neighbours": ranking.neighbours(x, y, k, seed)}
    if run.problem.x.ndim == 2:
        unseen["boosted trees"] = ranking.boosted(x, y, k, seed)
    signs, blind = {}, {}
    for name, p in unseen.items():
        for found, labels in ((signs, y), (blind, given)):
            found[name] = ranking.doubts(ranking.seen_through(p, channel), labels)[1]
    signs["network: probability"], signs["network: margin"] = ranking.doubts(trained, y)
    signs["network: loss"] = np.log(run.ledger.mean("loss").numpy() + 1e-3)
    signs["network: alignment"] = -run.ledger.mean("alignment").numpy()
    of_plain = ranking.doubts(ranking.seen_through(plain, channel), y)
    signs["plain network: probability"], signs["plain network: margin"] = of_plain
    wrong = ranking.wrong_by_class(y, channel)
    best = ranking.seen_through(unseen.get("boosted trees", unseen["linear model"]), channel)
    return ranking.weigh(signs, planted.ids, blind, wrong[y], seed), (trained + best) / 2


@dataclass
class _Run:
    """Training in progress."""

    problem: Problem
    options: Options
    done: int = 0
    """Epochs so far."""
    counted: int = 0
    """Epochs whose predictions are in `probabilities`."""
    probabilities: Tensor = field(init=False)
    loss_fn: nn.Module = field(default_factory=lambda: nn.CrossEntropyLoss(reduction="none"))

    def __post_init__(self) -> None:
        p, o = self.problem, self.options
        torch.manual_seed(o.seed)
        self.model = p.build_model()
        self.optimizer = torch.optim.Adam(self.model.parameters(), o.lr)
        self.reweighter = Reweighter(self.model, self.optimizer, self.loss_fn)
        self.ledger = WeightLedger(len(p.y))
        self.probabilities = torch.zeros(len(p.y), len(p.classes), dtype=torch.float64)
        self.batches = BatchStream(len(p.y), o.batch_size, o.seed)
        self.clean_batches = BatchStream(len(p.clean_y), o.clean_batch_size, o.seed + 1)
        self.steps_an_epoch = -(-len(p.y) // o.batch_size)
        self.total = max(o.epochs, -(-LEAST_STEPS // self.steps_an_epoch))

    def epochs(self) -> Iterator[int]:
        """Train to the end, an epoch at a time."""
        while self.done < self.total:
            for step in range(self.done * self.steps_an_epoch, (self.done + 1) * self.steps_an_epoch):
                self._step(step)
            self.done += 1
            if 2 * self.done > self.total:
                self.probabilities += predict(self.model, self.problem.x)
                self.counted += 1
            yield self.done

    def _step(self, number: int) -> None:
        p, ids, clean = self.problem, self.batches.indices(number), self.clean_batches.indices(number)
        step = self.reweighter.step((p.x[ids], p.y[ids]), (p.clean_x[clean], p.clean_y[clean]), ids)
        self.ledger.record(step)

    def _identity(self) -> dict[str, Any]:
        return {"data": self.problem.fingerprint, "options": asdict(self.options)}

    def save(self, path: Path) -> None:
        """Write everything that is needed to go on from here."""
        state = self._identity() | {
            "done": self.done,
            "counted": self.counted,
            "probabilities": self.probabilities,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ledger": self.ledger.state_dict(),
            "random": torch.get_rng_state(),
        }
        write_checkpoint(state, path)

    def resume(self, path: Path) -> None:
        """Go on from `path` if it is there; ValueError if it is damaged or belongs to another audit."""
        state = read_checkpoint(path, torch.device("cpu"))
        if state is None:
            return
        if any(state.get(name) != value for name, value in self._identity().items()):
            raise ValueError(f"{path} belongs to an audit of other data or with other options: delete it to start anew")
        with restoring(path):
            self._restore(state)

    def _restore(self, state: dict[str, Any]) -> None:
        self.done, self.counted, self.probabilities = state["done"], state["counted"], state["probabilities"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.ledger.load_state_dict(state["ledger"])
        torch.set_rng_state(state["random"])
