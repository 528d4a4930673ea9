"""How well training tells wrong labels from right ones: every training label is scored, and the scores are ranked.

A score is the higher, the more likely its label is right.

============== =======================================================================================================
score          what it is
============== =======================================================================================================
weight         mean weight over all visits of an example
weight_recent  moving average of the weight
helpful        share of the visits with a positive alignment
alignment      mean alignment, relative to its batch; see `l2rw_core.ledger.WeightLedger`
suspects       the same beside others of the same given class, as `l2rw_core.ledger.suspects` ranks by alignment
influence      mean alignment as it is
loss           minus the loss of the given label by the model at the end of training
loss_mean      minus the mean loss over all visits
loss_recent    minus the moving average of the loss
margin         area under the margin (Pleiss et al. 2020): logit of the given label minus the largest other one, as a
               mean over the evaluations during training
confident      cleanlab's label quality, adjusted for each class's own confidence (Northcutt et al. 2021), by the model
               at the end of training
held_out       probability of the given label by a model that was trained without it
held_out_conf  the same, adjusted for each class as `confident` is
============== =======================================================================================================
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from l2rw_core import methods
from l2rw_core.datasets import Examples, Source, Split, load, realised_noise
from l2rw_core.experiments.config import Experiment
from l2rw_core.experiments.records import Curve, Record, environment
from l2rw_core.experiments.train import fit, predict_after, prepare
from l2rw_core.ledger import WeightLedger, suspects
from l2rw_core.running.progress import progress_wanted

MEASURES = ("auc", "within", "first")
"""What is recorded of a score: `auc`, `auc_within` and `wrong_among_first`."""

FOLDS = 3
_SUSPECTS_KEPT = 60


class LabelWatch:
    """Keeps what a run says about each training label: a ledger of its steps, losses and margins at its evaluations.

    Args:
        labels: (N,) int64 given labels of the training set.
    """

    def __init__(self, labels: np.ndarray) -> None:
        self.labels = torch.from_numpy(labels)
        self.ledger = WeightLedger(len(labels))
        self.aligned = False
        self.looks = 0
        self.margins = torch.zeros(len(labels), dtype=torch.float64)
        """(N,) sum over the looks."""
        self.log_p: Tensor | None = None
        """(N, K) log-probabilities at the last look."""

    def on_step(self, positions: Tensor, update: methods.Update) -> None:
        """Put a step into the ledger; without alignments they count as 0, and their scores are left out."""
        self.aligned |= update.alignment is not None
        missing = torch.zeros_like(update.losses)
        self.ledger.record(update if self.aligned else update._replace(alignment=missing), positions)

    def on_evaluation(self, log_p: Tensor) -> None:
        """Add the margins of all training examples: those of log-probabilities are those of the logits."""
        self.log_p = log_p.detach().double().cpu()
        self.margins += margins(self.log_p, self.labels)
        self.looks += 1

    def scores(self) -> dict[str, np.ndarray]:
        """(N,) of each score that this run has, except what cleanlab makes of its probabilities.

        Those of the ledger are missing as long as an example was not visited.

        Raises:
            ValueError: before the first evaluation.
        """
        if self.log_p is None:
            raise ValueError("the run was not evaluated yet: there is nothing to score labels by")
        scores = {"loss": _given(self.log_p, self.labels), "margin": self.margins / self.looks}
        if bool((self.ledger.seen > 0).all()):
            scores |= {"loss_mean": -self.ledger.mean("loss"), "loss_recent": -self.ledger.recent("loss")}
            if self.aligned:
                scores |= self._of_clean_set()
        return {name: values.numpy() for name, values in scores.items()}

    def _of_clean_set(self) -> dict[str, Tensor]:
        scores = {name: self.ledger.mean(name) for name in ("weight", "helpful", "alignment", "influence")}
        beside_class = suspects(self.ledger, self.labels.numpy(), by="alignment")["label_score"].sort_index()
        return scores | {
            "weight_recent": self.ledger.recent("weight"),
            "suspects": torch.from_numpy(beside_class.to_numpy(copy=True)),
        }

    def state_dict(self) -> dict[str, Any]:
        names = ("aligned", "looks", "margins", "log_p")
        return {name: getattr(self, name) for name in names} | {"ledger": self.ledger.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.ledger.load_state_dict(state["ledger"])
        self.aligned, self.looks = state["aligned"], state["looks"]
        self.margins, self.log_p = state["margins"].cpu(), state["log_p"]


def margins(log_p: Tensor, labels: Tensor) -> Tensor:
    """(N,) logit of the given label minus the largest other one, from (N, K) logits or log-probabilities."""
    others = log_p.scatter(1, labels[:, None], -torch.inf)
    return _given(log_p, labels) - others.amax(1)


def _given(log_p: Tensor, labels: Tensor) -> Tensor:
    return log_p.gather(1, labels[:, None]).squeeze(1)


def auc(scores: np.ndarray, wrong: np.ndarray) -> float:
    """Probability that of a wrong and a right label, drawn at random, the wrong one has the lower score.

    Args:
        scores: (N,), higher for labels that are more likely right; ties count half.
        wrong: (N,) bool.

    Raises:
        ValueError: if all labels are right, or all are wrong.
    """
    from sklearn.metrics import roc_auc_score

    _require_both(wrong)
    return float(roc_auc_score(wrong, -scores))


def _require_both(wrong: np.ndarray) -> None:
    if wrong.all() or not wrong.any():
        raise ValueError("an area under the curve needs labels of both kinds, right and wrong")


def auc_within(scores: np.ndarray, wrong: np.ndarray, labels: np.ndarray) -> float:
    """As `auc`, for two labels of the same given class: what is left once the class itself tells nothing."""
    pairs, won = 0, 0.0
    for c in np.unique(labels):
        mine = labels == c
        count = int(wrong[mine].sum()) * int((~wrong[mine]).sum())
        if count:
            won += count * auc(scores[mine], wrong[mine])
            pairs += count
    if not pairs:
        raise ValueError("no given class has labels of both kinds, right and wrong")
    return won / pairs


def wrong_among_first(scores: np.ndarray, wrong: np.ndarray, share: float = 0.1) -> float:
    """Share of wrong labels among the `share` of all that have the lowest scores."""
    first = np.argsort(scores, kind="stable")[: max(1, round(share * len(scores)))]
    return float(wrong[first].mean())


def judge(scores: dict[str, np.ndarray], train: Examples) -> dict[str, dict[str, float]]:
    """For each of `MEASURES`, what it says of each score."""
    wrong, labels = train.flipped, train.y
    return {
        "auc": {name: round(auc(s, wrong), 5) for name, s in scores.items()},
        "within": {name: round(auc_within(s, wrong, labels), 5) for name, s in scores.items()},
        "first": {name: round(wrong_among_first(s, wrong), 5) for name, s in scores.items()},
    }


def _found(scores: dict[str, np.ndarray], train: Examples) -> dict[str, Any]:
    return judge(scores, train) | {"label_alone": round(label_alone(train), 5)}


def label_alone(train: Examples) -> float:
    """Area under the curve of a score that knows nothing but how often each given label is wrong: an upper bound."""
    counts = np.bincount(train.y)
    share = np.bincount(train.y[train.flipped], minlength=len(counts)) / np.maximum(counts, 1)
    return auc(-share[train.y], train.flipped)


def label_quality(labels: np.ndarray, probabilities: np.ndarray, adjusted: bool = False) -> np.ndarray:
    """cleanlab's label quality (N,): the probability of the given label, or that beside its class's usual confidence.

    Args:
        labels: (N,) given labels.
        probabilities: (N, K).
        adjusted: subtract from each class the mean confidence of the examples that are given it.
    """
    rank = _cleanlab()
    return rank.get_label_quality_scores(labels, probabilities, adjust_pred_probs=adjusted)


def _cleanlab() -> Any:
    try:
        from cleanlab import rank
    except ImportError as error:
        raise ValueError("scoring labels needs cleanlab: install it, or l2rw-core[cleanlab]") from error
    return rank


def detect(
    experiment: Experiment,
    source: Source | None = None,
    device: str | torch.device = "cpu",
    progress: bool | None = None,
    checkpoint: Path | None = None,
) -> Record:
    """Run an experiment with `label_scores`, and record how well each score finds the wrong labels.

    Args:
        experiment, source, device, progress, checkpoint: as in `fit`.

    Returns:
        The record; its `detection` has the `MEASURES` of each score, what the given label alone can do, and of a run
        with a clean set the most suspect labels.

    Raises:
        ValueError: if the experiment does not ask for scores, its labels are all right or all wrong, its method trains
            on examples that were not given, or cleanlab is not installed; before anything is trained.
    """
    if not experiment.label_scores:
        raise ValueError("this experiment does not ask for label_scores: set them to training or held_out")
    if methods.get(experiment.method).training_set.__func__ is not methods.Method.training_set.__func__:
        raise ValueError(f"method {experiment.method!r} adds examples of its own, which have no label to score")
    _cleanlab()
    source = source or load(experiment.data)
    split = prepare(experiment, source)
    _require_both(split.train.flipped)
    if experiment.label_scores == "held_out":
        return _held_out(experiment, split, torch.device(device), progress_wanted(progress))
    watch = LabelWatch(split.train.y)
    record = fit(experiment, source, device, progress, checkpoint, watch=watch)
    confident = label_quality(split.train.y, watch.log_p.exp().numpy(), adjusted=True)
    detection = _found(watch.scores() | {"confident": confident}, split.train)
    if watch.aligned:
        detection["suspects"] = most_suspect(watch.ledger, split.train)
    return replace(record, detection=detection)


def most_suspect(ledger: WeightLedger, train: Examples, first: int = _SUSPECTS_KEPT) -> list[list[float]]:
    """The first rows of `suspects`: position in the source's training set, given label, true label, score."""
    table = suspects(ledger, train.y, by="alignment").head(first)
    ids = table.index.to_numpy()
    columns = (train.index[ids].tolist(), train.y[ids].tolist(), train.y_true[ids].tolist())
    return [list(row) for row in zip(*columns, table["label_score"].round(4).tolist(), strict=True)]


def _held_out(e: Experiment, split: Split, device: torch.device, progress: bool) -> Record:
    """Scores by `FOLDS` models, each trained on the other folds for as many passes over its data as `e` makes."""
    from sklearn.model_selection import StratifiedKFold

    began, train = time.time(), split.train
    log_p = torch.zeros(len(train), split.num_classes, dtype=torch.float64)
    accuracies = []
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=e.seed).split(train.y, train.y)
    short = e.with_(steps=round(e.steps * (FOLDS - 1) / FOLDS), label_scores="", evaluate_every=e.steps)
    for rest, left_out in tqdm(folds, "folds", FOLDS, disable=not progress):
        fold = replace(split, train=train.take(rest))
        predicted, accuracy = predict_after(short, fold, train.take(left_out), device)
        log_p[torch.from_numpy(left_out)] = predicted.double().cpu()
        accuracies.append(accuracy)
    p = log_p.exp().numpy()
    scores = {"held_out": label_quality(train.y, p), "held_out_conf": label_quality(train.y, p, adjusted=True)}
    curve = Curve()
    curve.add(e.steps, accuracy=round(float(np.mean(accuracies)), 6))
    return Record(
        experiment=e,
        data_checksum=split.checksum,
        train_counts=train.class_counts(split.num_classes).tolist(),
        realised_noise=realised_noise(train),
        curve=curve,
        accuracy_by_class=[],
        started=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began)),
        duration=round(time.time() - began, 1),
        environment=environment(device),
        detection=_found(scores, train),
    )
