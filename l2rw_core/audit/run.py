"""Train on the data with the clean set as judge, and keep what is needed to rank its labels."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from l2rw_core.audit.own import Own, checked_features, checked_probabilities, out_of_order, tried
from l2rw_core.audit.pace import in_words, seconds_each
from l2rw_core.audit.plain import predict, train_plain
from l2rw_core.audit.ranking import Weighing
from l2rw_core.datasets import BatchStream
from l2rw_core.datasets.batches import LARGEST_SEED
from l2rw_core.ledger import SIGNALS, WeightLedger, suspects
from l2rw_core.models import Mlp, SmallCnn
from l2rw_core.reweight import Reweighter
from l2rw_core.running.checkpoints import read_checkpoint, restoring, write_checkpoint
from l2rw_core.running.progress import bar, progress_wanted

LEAST_STEPS = 300
USUAL, FEW_IMAGES, MANY_ROWS = 100, 32, 500
"""Examples a step."""
STEPS_A_PASS = 200
"""Of a table with many rows: a step of a small network takes about as long for 500 rows as for 100."""
FEW_TO_FOLD = 5_000
"""Images of which five networks each leave out a fifth; of more, two leave out a half."""
DOUBTFUL = 0.2
"""A trusted label is named if it is less likely than this, as a share of the likeliest."""
RANKINGS = ("measured", *SIGNALS)
"""What labels can be ranked by."""
CHECKPOINT = "unfinished.ckpt"
SECONDS_BETWEEN_CHECKPOINTS = 2.0
WORTH_SAYING = 5.0
"""Seconds; of an audit that takes less nothing is said before."""
_PREDICTED = 500


@dataclass(frozen=True)
class Options:
    """How an audit trains.

    Raises:
        ValueError: for an impossible number or an unknown signal.
    """

    epochs: int = 20
    """Passes over the data; small data get more, so that there are at least 300 steps."""
    batch_size: int | None = None
    """By default 100; of fewer than 1,000 images a tenth of them, 32 at least, and of more than 20,000 rows a two
    hundredth of them, 500 at most: these find about as much in less time."""
    clean_batch_size: int = 100
    """Clean examples a step; all of them, if there are fewer."""
    lr: float = 1e-3
    """Learning rate of Adam."""
    seed: int = 0
    by: str = "measured"
    """What labels are ranked by. measured: all signs together, weighed by how well they find labels that were changed
    on purpose. Or by one of training alone, with no label changed: both, alignment, weight, loss or margin."""
    device: str = "cpu"
    """Where the network trains; the other models stay on the CPU."""
    budget: float | None = None
    """Minutes that the audit should take at most: it makes so many fewer passes, one at least."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "clean_batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if self.budget is not None and not 0 < self.budget < inf:
            raise ValueError(f"budget must be a positive number of minutes, got {self.budget:g}")
        if not 0 < self.lr < float("inf"):
            raise ValueError(f"lr must be positive, got {self.lr}")
        if not 0 <= self.seed <= LARGEST_SEED:
            raise ValueError(f"seed must lie between 0 and {LARGEST_SEED}, got {self.seed}")
        if self.by not in RANKINGS:
            raise ValueError(f"unknown signal {self.by!r}; choose one of {', '.join(RANKINGS)}")

    def on(self, problem: AuditProblem) -> Options:
        """The same with a batch size that goes with the problem, if none was given."""
        n = len(problem.y)
        images = min(max(n // 10, FEW_IMAGES), USUAL)
        size = images if problem.pictures else min(max(n // STEPS_A_PASS, USUAL), MANY_ROWS)
        return self if self.batch_size is not None else replace(self, batch_size=size)

    def check(self, problem: AuditProblem) -> None:
        """ValueError if own probabilities would have no part in the ranking."""
        if problem.probabilities is not None and self.by != "measured":
            raise ValueError(f"probabilities count in a measured ranking, and not by {self.by}: leave one of them out")


@dataclass(frozen=True)
class AuditProblem:
    """Data as tensors: what the model sees."""

    x: Tensor
    y: Tensor
    clean_x: Tensor
    clean_y: Tensor
    classes: list[str]
    """Name of each label."""
    build: Callable[[], nn.Module] | None = None
    """Makes somebody's own network."""
    model_name: str = ""
    """Of that network."""
    probabilities: np.ndarray | None = None
    """(N, K) of somebody's own model, which has not seen the example."""
    own_features: bool = False
    """Whether `x` and `clean_x` are somebody's own features."""

    @property
    def table(self) -> bool:
        """Whether the models see columns of a table."""
        return self.x.ndim == 2 and not self.own_features

    @property
    def pictures(self) -> bool:
        """Whether the models see pixels: the network is the strongest of them then."""
        return self.x.ndim == 4

    @property
    def fingerprint(self) -> str:
        """sha256 of everything: a checkpoint belongs to these data alone."""
        digest = hashlib.sha256(repr((self.classes, self.model_name)).encode())
        for part in (self.x, self.y, self.clean_x, self.clean_y):
            for some in part.split(_PREDICTED):
                digest.update(some.contiguous().numpy())
        if self.probabilities is not None:
            digest.update(np.ascontiguousarray(self.probabilities))
        return digest.hexdigest()

    def build_model(self) -> nn.Module:
        """The own network, or one of a size that goes with the data; what is random comes from torch's state."""
        if self.build is not None:
            return self.build()
        if self.pictures:
            # As the pixels of the pictures lie: a step takes up to a third less.
            return SmallCnn(len(self.classes), self.x.shape[1]).to(memory_format=torch.channels_last)
        return Mlp([self.x.shape[1], 64, 64, len(self.classes)])


def encode(train: Data, clean: Data, own: Own | None = None) -> AuditProblem:
    """Tensors for a training set and its clean set: pixels from 0 to 1, columns coded; with what somebody brings.

    Raises:
        ValueError: if that does not fit the data: another number of rows, no probabilities, a network that does not
            take the examples or does not return a logit for each label.
    """
    own = own or Own()
    classes = sorted(set(train.labels.tolist()))
    y, clean_y = (torch.from_numpy(np.searchsorted(classes, part.labels)) for part in (train, clean))
    p = None if own.probabilities is None else checked_probabilities(own.probabilities, len(y), len(classes))
    x, clean_x = _inputs(train, clean, own.features)
    build = own.model and tried(own.model, own.model_name or "given", x[:2], len(classes))
    return AuditProblem(x, y, clean_x, clean_y, classes, build, own.model_name, p, own.features is not None)


def _inputs(train: Data, clean: Data, features: tuple[np.ndarray, np.ndarray] | None) -> tuple[Tensor, Tensor]:
    """What every model sees of the data and of the trusted examples."""
    if features is not None:
        x, clean_x = map(torch.from_numpy, checked_features(features, len(train), len(clean)))
    elif isinstance(train, Images):
        x, clean_x = (torch.from_numpy(p.x).permute(0, 3, 1, 2).float().div_(255) for p in (train, clean))
    else:
        x, clean_x = map(torch.from_numpy, code(train.frame, clean.frame, train.text))
    return x, clean_x


@dataclass(frozen=True)
class Audit:
    """A finished audit."""

    train: Data
    clean: Data
    problem: AuditProblem
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
    cut: int = 0
    """Passes over the data that were left out to keep to the budget."""
    trusted: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    """(M, K) what models that never saw the trusted examples take them for, were all classes as frequent; empty if the
    ranking is not measured."""

    @property
    def findings(self) -> list[str]:
        """What reading the data and comparing them with the clean set brought up, in sentences."""
        notes = (*self.train.notes, *self.clean.notes, *self.check.findings)
        return [*notes, *self._about_own(), *self._about_budget(), *self._about_suggestions(), *self._about_trusted()]

    def _about_own(self) -> list[str]:
        """Own probabilities whose rows seem to be in another order."""
        p = self.problem.probabilities
        sentence = "" if p is None else out_of_order(p, self.problem.y.numpy())
        return [sentence] if sentence else []

    def _about_budget(self) -> list[str]:
        if not self.cut:
            return []
        passes = round(self.steps / -(-len(self.train) // self.options.batch_size))
        made = "1 pass" if passes == 1 else f"{passes} passes"
        return [f"To keep to {self.options.budget:g} minutes, training made {made} instead of {passes + self.cut}."]

    def _about_suggestions(self) -> list[str]:
        """Suggested labels that are wrong too often to be taken unseen."""
        if self.accuracy is None or self.accuracy[0] >= ranking.LITTLE * len(self.trusted):
            return []
        return [
            f"Leave suspects out rather than give them the suggested labels: of {len(self.trusted)} trusted labels, "
            f"models that never saw them find {self.accuracy[0]}, and suggestions are about as often right."
        ]

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
        of_label, best = self.trusted[np.arange(len(y)), y], self.trusted.max(1)
        places = np.flatnonzero((of_label < DOUBTFUL * best) & (best > 0.5))
        return places[np.argsort(of_label[places], kind="stable")]

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
        weighing = self.weighing
        if weighing is None or self.accuracy is None:
            return ""
        right, chance = self.accuracy
        accuracy = (
            f"Models that never saw the {len(self.trusted)} trusted examples get {right} of them right "
            f"({chance} by chance)."
        )
        if not weighing.planted:
            return (
                f"{accuracy} The data are too few to change labels on purpose: how good this ranking is, is not known."
            )
        sentence = (
            f"{weighing.planted} labels were changed on purpose: such a label ranks before another in "
            f"{weighing.auroc:.0%} of pairs (50% is chance)"
        )
        if not weighing.trusted:
            return (
                f"{sentence}: do not trust this ranking, the features say too little about the labels; no label is "
                f"called wrong. {accuracy}"
            )
        little = ": trust it little, and change no label unseen" if weighing.little else ""
        return f"{sentence}{little}. {accuracy}"

    @property
    def expected(self) -> tuple[int, int] | None:
        """About how many of the labels that are called wrong are so, and how many more were not found; None if unknown.

        Wrong labels are taken to be as easily found as those that were changed on purpose.
        """
        weighing = self.weighing
        if weighing is None or not weighing.planted or not weighing.trusted or weighing.little:
            return None
        called = self.suspects.sort_index()["is_label_issue"].to_numpy(dtype=bool)
        return round(float(weighing.wrong[called].sum())), round(float(weighing.wrong[~called].sum()))

    @property
    def summary(self) -> str:
        """How many labels look wrong, and about how many of them are."""
        issues = int(self.suspects["is_label_issue"].sum())
        sentence = f"{issues} of {len(self.train)} labels look wrong"
        if self.expected is None or not issues:
            return sentence
        hits, missed = self.expected
        return f"{sentence}: about {hits} of them are, and about {missed} more were not found"

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
    problem: AuditProblem | None = None,
) -> Audit:
    """Train a small network on `train`, weighted by `clean`, and rank the labels of `train`.

    Args:
        train, clean: as `l2rw_core.audit.read_pair` gives them.
        options: how to train.
        progress: show bars, and say how long it will take; by default unless the environment variable
            ``L2RW_PROGRESS`` is 0.
        checkpoint: a file that is rewritten after an epoch, every few seconds. If it is there, training goes on from
            it, and ends with the numbers of a run that was never interrupted. Delete it once the results are kept.
        gain: what clean sets of other sizes were worth elsewhere, as for `check_clean_set`.
        problem: `encode` of both and of what you bring: a network, probabilities or features; by default of both alone.

    Raises:
        ValueError: if the checkpoint is damaged or belongs to other data or options, probabilities are given and the
            ranking is not measured, or training diverges.
    """
    started = time.monotonic()
    options, problem = options or Options(), problem or encode(train, clean)
    measured = options.by == "measured"
    options.check(problem)
    options = options.on(problem)
    pair = (problem.x.numpy(), train.labels), (problem.clean_x.numpy(), clean.labels)
    check = check_clean_set(*pair, gain=gain, progress=progress)
    others = _Others(problem, options, progress) if measured else None
    planted = others.planted if others else ranking.Planted(problem.y.numpy(), np.zeros(0, dtype=int))
    later = others.later if others else 0.0
    with _own_randomness(options.device):
        run = _Training(replace(problem, y=torch.from_numpy(planted.labels)), options)
        planned = run.total
        resumed = checkpoint is not None and run.resume(checkpoint)
        if options.budget is not None or progress_wanted(progress):
            with _own_randomness(options.device):
                each = _Training(run.problem, options).seconds_a_pass(measured)
            if options.budget is not None and not resumed:
                seconds = 60 * options.budget - (time.monotonic() - started) - later
                run.total = min(max(int(seconds / each), 1), run.total)
            _tell(each * (run.total - run.done) + later, run, planned, progress)
        run.train(checkpoint, progress)
    probabilities = (run.probabilities / run.counted).numpy()
    weighing = None
    if others:
        weighing, probabilities = others.weigh(run, probabilities, _plain(run, progress))
    steps = run.total * run.steps_an_epoch
    return Audit(
        train=train,
        clean=clean,
        problem=problem,
        options=options,
        check=check,
        model=run.model.cpu().eval(),
        ledger=run.ledger,
        probabilities=probabilities,
        steps=steps,
        weighing=weighing,
        planted=planted.ids,
        cut=planned - run.total,
        trusted=others.trusted if others else np.zeros((0, 0)),
    )


def _tell(seconds: float, run: _Training, planned: int, progress: bool | None) -> None:
    """Say how long it will take, where bars are wanted and it is worth a word."""
    if not progress_wanted(progress) or seconds < WORTH_SAYING:
        return
    passes = f"{run.total} of {planned} passes" if run.total < planned else f"{run.total} passes"
    tqdm.write(f"this will take about {in_words(seconds)}: {passes} over {len(run.problem.y):,} examples", sys.stderr)


@contextmanager
def _own_randomness(device: str) -> Iterator[None]:
    """The caller's random states are as before afterwards."""
    kind = torch.device(device)
    with torch.random.fork_rng([kind.index or 0] if kind.type == "cuda" else []):
        yield


@dataclass(frozen=True)
class _Plain:
    """The same network, trained for as long with equal weights."""

    loss: np.ndarray
    """(N,) mean over training."""
    probabilities: np.ndarray
    """(N, K) of a network that learned the example."""
    unseen: np.ndarray | None
    """(N, K) of one that learned a part of the examples without this one; None if that was not asked."""


def _plain(run: _Training, progress: bool | None) -> _Plain:
    p, o = run.problem, run.options
    everything = torch.arange(len(p.y))
    folds = _folds(len(p.y), o.seed) if p.pictures else []
    rests = [everything[~torch.isin(everything, fold)] for fold in folds]
    steps = sum(-(-len(rows) // o.batch_size) for rows in (everything, *rests))
    with _own_randomness(o.device), bar("training, equal weights", run.total * steps, progress) as ticks:

        def trained(rows: Tensor, asked: Tensor) -> tuple[np.ndarray, np.ndarray]:
            torch.manual_seed(o.seed)
            how = run.total, o.batch_size, o.lr, o.seed, ticks, o.device
            return train_plain(p.build_model(), p.x, p.y, rows, asked, *how)

        loss, probabilities = trained(everything, everything)
        unseen = np.empty_like(probabilities) if folds else None
        for rest, fold in zip(rests, folds, strict=True):
            unseen[fold] = trained(rest, fold)[1]
    return _Plain(loss, probabilities, unseen)


def _number_of_folds(n: int) -> int:
    """Five, or of many images two: more take longer, and with many images a half is enough to learn from."""
    return ranking.FOLDS if n <= FEW_TO_FOLD else 2


def _folds(n: int, seed: int) -> list[Tensor]:
    """Ids of parts of about the same size, drawn at random."""
    order = torch.from_numpy(np.random.default_rng(seed).permutation(n))
    return [fold.sort().values for fold in order.tensor_split(_number_of_folds(n))]


class _Others:
    """Models beside the network, for a measured ranking; what they say before training chooses the changed labels."""

    def __init__(self, problem: AuditProblem, options: Options, progress: bool | None) -> None:
        self.problem, self.seed, self.progress = problem, options.seed, progress
        y, k = problem.y.numpy(), len(problem.classes)
        with bar("other models, before training", 3 + ranking.FOLDS, progress) as ticks:
            most = None if problem.table else ranking.FEATURES if problem.own_features else ranking.COMPONENTS
            self.x, clean_x = ranking.compact(problem.x.numpy(), problem.clean_x.numpy(), self.seed, most)
            ticks.update()
            self.channel = ranking.channel(self.x, y, clean_x, problem.clean_y.numpy(), k, self.seed)
            ticks.update()
            started = time.monotonic()
            trusted = ranking.of_trusted(self.x, y, clean_x, k, self.seed, problem.table)
            trusted = ranking.seen_through(trusted, self.channel) / (np.bincount(y, minlength=k) + 1)
            self.trusted = trusted / trusted.sum(1, keepdims=True)
            ticks.update()
            each = time.monotonic() - started
            self.planted = ranking.plant(
                y, ranking.linear(self.x, y, k, self.seed, ticks.update), self.channel, self.seed
            )
            self.later = each * ranking.FOLDS
            """Seconds, about, that the other models need after training."""

    def weigh(self, run: _Training, probabilities: np.ndarray, plain: _Plain) -> tuple[Weighing, np.ndarray]:
        """The signs together, and (N, K) probabilities of the network and a model that has not seen the example.

        Args:
            run: what was trained.
            probabilities: (N, K) of the network.
            plain: of the same network, trained with equal weights.
        """
        y, labels_of_file, seed = self.planted.labels, self.problem.y.numpy(), self.seed
        trained = ranking.corrected(probabilities, y, self.problem.clean_y.numpy())
        unseen = self._unseen()
        if plain.unseen is not None:
            unseen["plain network, unseen"] = plain.unseen
        signs, blind = {}, {}
        for name, p in unseen.items():
            for scores, labels in ((signs, y), (blind, labels_of_file)):
                scores[name] = ranking.doubts(ranking.seen_through(p, self.channel), labels)[1]
                if p is plain.unseen:
                    as_it_is = f"{name}, as it is"
                    scores[f"{as_it_is}: probability"], scores[f"{as_it_is}: margin"] = ranking.doubts(p, labels)
        signs["network: probability"], signs["network: margin"] = ranking.doubts(trained, y)
        signs["network: loss"] = np.log(run.ledger.mean("loss").numpy() + 1e-3)
        signs["network: alignment"] = -run.ledger.mean("alignment").numpy()
        for name, p in (
            ("plain network", ranking.seen_through(plain.probabilities, self.channel)),
            ("plain network, as it is", plain.probabilities),
        ):
            signs[f"{name}: probability"], signs[f"{name}: margin"] = ranking.doubts(p, y)
        if self.problem.pictures:  # of tables trees are the stronger model, and this loss misled one of them
            signs["plain network: loss"] = np.log(plain.loss + 1e-3)
        wrong = ranking.wrong_by_class(y, self.channel)
        best = ranking.seen_through(unseen[next(name for name in _BEST if name in unseen)], self.channel)
        return ranking.weigh(signs, self.planted.ids, blind, wrong[y], seed), (trained + best) / 2

    def _unseen(self) -> dict[str, np.ndarray]:
        """(N, K) of each model, which has not seen the example."""
        y, k, table = self.planted.labels, len(self.problem.classes), self.problem.table
        with bar("other models, after training", 1 + ranking.FOLDS * (1 + table), self.progress) as ticks:
            probabilities = {"linear model": ranking.linear(self.x, y, k, self.seed, ticks.update)}
            probabilities["neighbours"] = ranking.neighbours(self.x, y, k, self.seed)
            ticks.update()
            if table:
                probabilities["boosted trees"] = ranking.boosted(self.x, y, k, self.seed, ticks.update)
        if self.problem.probabilities is not None:
            probabilities["own model"] = self.problem.probabilities
        return probabilities


_BEST = ("own model", "boosted trees", "linear model")
"""Whose probabilities are joined to those of the network: the first that is there."""


@dataclass
class _Training:
    """Training in progress."""

    problem: AuditProblem
    options: Options
    done: int = 0
    """Epochs so far."""
    counted: int = 0
    """Epochs whose predictions are in `probabilities`."""
    probabilities: Tensor = field(init=False)
    loss_fn: nn.Module = field(default_factory=lambda: nn.CrossEntropyLoss(reduction="none"))

    def __post_init__(self) -> None:
        self.options = self.options.on(self.problem)
        p, o = self.problem, self.options
        torch.manual_seed(o.seed)
        self.model = p.build_model().to(o.device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), o.lr)
        self.reweighter = Reweighter(self.model, self.optimizer, self.loss_fn)
        self.ledger = WeightLedger(len(p.y))
        self.probabilities = torch.zeros(len(p.y), len(p.classes), dtype=torch.float64)
        self.batches = BatchStream(len(p.y), o.batch_size, o.seed)
        self.clean_batches = BatchStream(len(p.clean_y), o.clean_batch_size, o.seed + 1)
        self.steps_an_epoch = -(-len(p.y) // o.batch_size)
        self.total = max(o.epochs, -(-LEAST_STEPS // self.steps_an_epoch))

    def seconds_a_pass(self, plain: bool) -> float:
        """What a pass over the data takes, from a few steps; the run is used up. `plain`: with equal weights too."""
        p = self.problem
        times = plain * (_number_of_folds(len(p.y)) if p.pictures else 1)  # k folds are k - 1 trainings more
        step = seconds_each(self.step) + times * (seconds_each(self.plain_step) if plain else 0.0)
        some = torch.arange(min(_PREDICTED, len(p.y)))
        predicted = seconds_each(lambda _: predict(self.model, p.x, some)) * len(p.y) / len(some)
        with_predictions = (1 + plain * (1 + p.pictures)) / 2  # half of the passes end with them
        return step * self.steps_an_epoch + with_predictions * predicted

    def train(self, checkpoint: Path | None, progress: bool | None) -> None:
        """Go on to the end, and keep what is done in a file every few seconds."""
        an_epoch, saved = self.steps_an_epoch, -inf
        with bar("training", self.total * an_epoch, progress, self.done * an_epoch) as ticks:
            while self.done < self.total:
                for number in range(self.done * an_epoch, (self.done + 1) * an_epoch):
                    self.step(number)
                    ticks.update()
                self.done += 1
                if 2 * self.done > self.total:
                    self.probabilities += predict(self.model, self.problem.x, torch.arange(len(self.problem.y)))
                    self.counted += 1
                if checkpoint is not None and time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS:
                    self.save(checkpoint)
                    saved = time.monotonic()

    def step(self, number: int) -> None:
        """One update, of the batch of this number."""
        p, ids, clean = self.problem, self.batches.indices(number), self.clean_batches.indices(number)
        batches = (p.x[ids], p.y[ids]), (p.clean_x[clean], p.clean_y[clean])
        batch, trusted = ((x.to(self.options.device), y.to(self.options.device)) for x, y in batches)
        self.ledger.record(self.reweighter.step(batch, trusted, ids))

    def plain_step(self, number: int) -> None:
        """An ordinary update, of the batch of this number."""
        p, ids, device = self.problem, self.batches.indices(number), self.options.device
        self.optimizer.zero_grad()
        self.loss_fn(self.model(p.x[ids].to(device)), p.y[ids].to(device)).mean().backward()
        self.optimizer.step()

    def _identity(self) -> dict[str, Any]:
        return {"data": self.problem.fingerprint, "options": asdict(self.options)}

    def save(self, path: Path) -> None:
        """Write everything that is needed to go on from here."""
        state = self._identity() | {
            "done": self.done,
            "total": self.total,
            "counted": self.counted,
            "probabilities": self.probabilities,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ledger": self.ledger.state_dict(),
            "random": torch.get_rng_state(),
        }
        write_checkpoint(state, path)

    def resume(self, path: Path) -> bool:
        """Go on from `path` if it is there, and say whether; ValueError if it is damaged or of another audit."""
        state = read_checkpoint(path, torch.device("cpu"))
        if state is None:
            return False
        if any(state.get(name) != value for name, value in self._identity().items()):
            raise ValueError(f"{path} belongs to an audit of other data or with other options: delete it to start anew")
        with restoring(path):
            self._restore(state)
        return True

    def _restore(self, state: dict[str, Any]) -> None:
        self.done, self.counted, self.probabilities = state["done"], state["counted"], state["probabilities"]
        self.total = state["total"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.ledger.load_state_dict(state["ledger"])
        torch.set_rng_state(state["random"])
