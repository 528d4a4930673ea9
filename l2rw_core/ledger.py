"""What training said about each example, kept while it runs; and which labels to look at first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from l2rw_core.arrays import as_labels

if TYPE_CHECKING:
    import pandas as pd

QUANTITIES = ("weight", "alignment", "helpful", "influence", "loss", "margin")
"""What a ledger keeps of each example; `WeightLedger` says what each is."""

SIGNALS = ("both", "alignment", "weight", "loss", "margin")
"""What `suspects` can rank by: one quantity, or alignment and loss together."""

Labels = Sequence[Any] | np.ndarray | Tensor
"""(n,) labels: numbers, strings, or anything that can be compared."""

_STEEPNESS = 6.0
_SOFTNESS = 0.1
_STATE = ("n", "decay", "seen", "margins_seen", "sums", "latest")


class StepLike(Protocol):
    """What a ledger reads of a step: an `l2rw_core.Step`, or anything with these three."""

    @property
    def weights(self) -> Tensor:
        """(b,) weights of the batch."""

    @property
    def alignment(self) -> Tensor:
        """(b,) alignments u_i."""

    @property
    def losses(self) -> Tensor:
        """(b,) training losses."""


class WeightLedger:
    """Sums over training of what each step said about each example: constant memory, whatever the number of steps.

    =========== =====================================================================================================
    quantity    one entry a visit
    =========== =====================================================================================================
    weight      b w_i for a batch of b, that of all processes: 1 is an equal share, 0 none
    alignment   u_i / (abs(u_i) + a tenth of the median of abs(u) in the batch): between -1 and 1, in effect a sign that
                fades near 0. The size of u follows both gradients, which change by orders of magnitude from batch to
                batch and during training, so u itself would let few batches speak for all
    helpful     1 if u_i > 0, else 0
    influence   u_i itself: its sum, times the learning rate, is the first-order gain in clean loss by the example
    loss        f_i
    margin      logit of the given label minus the largest other one; only where logits were given
    =========== =====================================================================================================

    Args:
        n: number of training examples; their ids are 0 to n - 1. Takes about 120 bytes an example.
        decay: of the moving averages, for each visit of an example; 0.9 remembers about the last ten visits.

    Raises:
        ValueError: if n is not positive or decay does not lie in [0, 1).

    Example::

        ledger = WeightLedger(len(data))
        for ids, inputs, labels in loader:
            step = reweighter.step((inputs, labels), clean_batch, ids)
            ledger.record(step)
        suspects(ledger, data.labels)
    """

    def __init__(self, n: int, decay: float = 0.9) -> None:
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
            raise ValueError(f"n must be the number of training examples, at least 1, got {n!r}")
        if not 0 <= decay < 1:
            raise ValueError(f"decay must lie between 0 and 1, 1 excluded, got {decay}")
        self.n, self.decay = int(n), float(decay)
        self.seen = torch.zeros(self.n, dtype=torch.int64)
        """(n,) int64 visits of each example."""
        self._margins_seen = torch.zeros_like(self.seen)
        self._sums = torch.zeros(len(QUANTITIES), self.n, dtype=torch.float64)
        self._latest = torch.zeros_like(self._sums)

    def __len__(self) -> int:
        return self.n

    def record(self, step: StepLike, ids: Any = None, logits: Tensor | None = None, targets: Any = None) -> None:
        """Take in one step; nothing is changed if anything is wrong with it.

        Args:
            step: an `l2rw_core.Step`, or anything with `weights`, `alignment` and `losses` of shape (b,).
            ids: (b,) integers, the examples of the batch, in its order. An example may come twice. Not needed if the
                step was told: ``reweighter.step(batch, clean_batch, ids)``.
            logits: (b, K) outputs before the update, or (b,) of a binary classifier, for margins.
            targets: (b,) given labels, 0 to K - 1; needed with `logits` only.

        Raises:
            TypeError: if ids are not integers.
            ValueError: if neither the step nor `ids` says which examples these are, shapes differ, an id or a target is
                out of range, logits have no targets or one column only, a target is no whole number, or a value is NaN
                or infinite.
        """
        ids = _as_ids(_ids_of(step) if ids is None else ids, self.n)
        w, u, f = (_vector(step, name, len(ids)) for name in ("weights", "alignment", "losses"))
        rows = [getattr(step, "examples", len(ids)) * w, _relative(u), (u > 0).double(), u, f]
        if logits is not None:
            rows.append(_margins(logits, targets, len(ids)))
        self._add(ids, torch.stack(rows))

    def _add(self, ids: Tensor, values: Tensor) -> None:
        """Add (q, b) values of the first q quantities; an example that comes twice counts its mean in the averages."""
        q = len(values)
        examples, place, times = ids.unique(return_inverse=True, return_counts=True)
        totals = torch.zeros(q, len(examples), dtype=torch.float64).index_add_(1, place, values)
        means, first = totals / times, self._visits()[:q, examples] == 0
        old = self._latest[:q, examples]
        self._latest[:q, examples] = torch.where(first, means, self.decay * old + (1 - self.decay) * means)
        self._sums[:q, examples] += totals
        self.seen[examples] += times
        if q == len(QUANTITIES):
            self._margins_seen[examples] += times

    def _visits(self) -> Tensor:
        """(quantities, n) visits of each example that counted for each quantity."""
        return torch.stack([self.seen] * (len(QUANTITIES) - 1) + [self._margins_seen])

    def total(self, quantity: str) -> Tensor:
        """(n,) float64 sum over all visits; 0 for examples never seen."""
        return self._sums[_row(quantity)].clone()

    def mean(self, quantity: str) -> Tensor:
        """(n,) float64 mean over all visits; NaN for examples never seen."""
        row = _row(quantity)
        return self._sums[row] / self._visits()[row]  # 0 / 0 is the NaN that is meant

    def recent(self, quantity: str) -> Tensor:
        """(n,) float64 exponential moving average over the visits; NaN for examples never seen."""
        row = _row(quantity)
        return self._latest[row].where(self._visits()[row] > 0, torch.nan)

    def table(self) -> pd.DataFrame:
        """One row an example, its id as index: `seen`, and of each quantity the mean and `recent_...`."""
        import pandas as pd

        quantities = QUANTITIES if self._margins_seen.any() else QUANTITIES[:-1]
        columns = {"seen": self.seen.numpy().copy()}
        columns |= {name: self.mean(name).numpy() for name in quantities}
        columns |= {f"recent_{name}": self.recent(name).numpy() for name in quantities}
        return pd.DataFrame(columns, index=pd.RangeIndex(self.n, name="id"))

    def state_dict(self) -> dict[str, Any]:
        """Everything, as numbers and tensors: `torch.save` it beside the model; it loads with `weights_only=True`."""
        tensors = (self.seen, self._margins_seen, self._sums, self._latest)
        return dict(zip(_STATE, (self.n, self.decay, *(t.clone() for t in tensors)), strict=True))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`; ValueError, and no change, if it is not one of a ledger of this length."""
        missing = [name for name in _STATE if name not in state]
        if missing:
            raise ValueError(f"this is no state of a WeightLedger: it lacks {', '.join(missing)}")
        if state["n"] != self.n:
            raise ValueError(f"this state is of {state['n']} examples, and the ledger has {self.n}")
        own = {"seen": self.seen, "margins_seen": self._margins_seen, "sums": self._sums, "latest": self._latest}
        for name, tensor in own.items():
            if not isinstance(state[name], Tensor) or state[name].shape != tensor.shape:
                raise ValueError(f"this state is damaged: {name} must have shape {tuple(tensor.shape)}")
        self.decay = float(state["decay"])
        for name, tensor in own.items():
            tensor.copy_(state[name])


def _row(quantity: str) -> int:
    if quantity not in QUANTITIES:
        raise ValueError(f"unknown quantity {quantity!r}; choose one of {', '.join(QUANTITIES)}")
    return QUANTITIES.index(quantity)


def _ids_of(step: Any) -> Any:
    ids = getattr(step, "ids", None)
    if ids is None:
        raise ValueError("the step has no ids: give them to Reweighter.step, or to this ledger beside the step")
    return ids


def _as_ids(ids: Any, n: int) -> Tensor:
    try:
        ids = torch.as_tensor(ids).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"ids must be integers: give positions in the training set, not keys ({error})") from error
    if ids.ndim != 1 or len(ids) == 0:
        raise ValueError(f"ids must have shape (b,) with b > 0, got {tuple(ids.shape)}")
    if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise TypeError(f"ids must be integers, got {ids.dtype}: give positions in the training set, not a mask")
    wrong = ids[(ids < 0) | (ids >= n)]
    if len(wrong):
        raise ValueError(f"id {int(wrong[0])} is out of range: this ledger has {n} examples, ids go from 0 to {n - 1}")
    return ids.long()


def _vector(step: Any, name: str, b: int) -> Tensor:
    if not hasattr(step, name):
        raise ValueError(f"the step has no {name}: give what Reweighter.step returns, or an object with {name} (b,)")
    values = torch.as_tensor(getattr(step, name)).detach().cpu().double()
    if values.shape != (b,):
        raise ValueError(f"{b} ids need {name} of shape ({b},), got {tuple(values.shape)}")
    if not values.isfinite().all():
        raise ValueError(f"{name} is NaN or infinite at position {int((~values.isfinite()).nonzero()[0])} of the batch")
    return values


def _relative(u: Tensor) -> Tensor:
    """(b,) between -1 and 1: the sign of u, faded where |u| is small for its batch."""
    size = u.abs()
    return u / (size + _SOFTNESS * size.median()).clamp(min=torch.finfo(u.dtype).tiny)


def _margins(logits: Tensor, targets: Any, b: int) -> Tensor:
    if targets is None:
        raise ValueError("logits need targets, the given labels of the batch: record(step, logits=..., targets=...)")
    z = torch.as_tensor(logits).detach().cpu().double()
    try:
        y = torch.as_tensor(targets).detach().cpu()
    except (TypeError, ValueError) as error:  # names of classes, say
        raise ValueError(f"targets must be whole numbers, got {type(targets).__name__}: {error}") from error
    if z.ndim not in (1, 2) or len(z) != b or y.shape != (b,):
        raise ValueError(f"{b} ids need logits (b, K) or (b,) and targets (b,), got {tuple(z.shape)}, {tuple(y.shape)}")
    if z.ndim == 2 and z.shape[1] < 2:
        raise ValueError(
            f"logits of shape {tuple(z.shape)} leave no other class to compare with: give those of a binary classifier "
            "as (b,), for example logits.squeeze(1)"
        )
    if not z.isfinite().all():
        raise ValueError("the logits are NaN or infinite")
    z = torch.stack([-z / 2, z / 2], 1) if z.ndim == 1 else z
    whole = y.long()
    if (whole != y).any():
        first = y[whole != y][0].item()
        raise ValueError(
            f"targets must be whole numbers from 0 to {z.shape[1] - 1}, got {first}: give labels, no scores"
        )
    y = whole
    if ((y < 0) | (y >= z.shape[1])).any():
        raise ValueError(f"targets must lie between 0 and {z.shape[1] - 1} for these logits")
    of_label = z.gather(1, y[:, None])
    return (of_label - z.scatter(1, y[:, None], -torch.inf).amax(1, keepdim=True)).squeeze(1)


def suspects(
    ledger: WeightLedger,
    labels: Labels,
    predicted: Labels | None = None,
    by: str = "both",
    recent: bool = False,
    reference: float = 0.9,
) -> pd.DataFrame:
    """The training examples, most suspect label first, with the column names of cleanlab.

    A label is judged by its evidence minus what a right label has, the `reference` quantile. By alignment or weight
    that is the quantile of its own class, so that a class whose examples all have little weight is not suspect as a
    whole. By loss or margin it is one for all classes: a network that learns by weights takes no wrong label for likely
    because its class is full of them. By ``"both"`` the alignment is compared with its own class only as far as the
    losses bear that out; where all losses are alike, it counts alone.

    Args:
        ledger: filled during training.
        labels: (n,) given labels: numbers, strings, or anything that can be compared.
        predicted: (n,) what a model takes the examples for, if known. A label that the model agrees with is then never
            called an issue.
        by: ``"alignment"``, ``"weight"``, ``"loss"``, ``"margin"``, or ``"both"``: a quarter of alignment and
            three quarters of loss.
        recent: rank by the moving averages instead of the means over the whole training.
        reference: quantile that stands for a right label of a class, between 0 and 1.

    Returns:
        One row an example, its id as index: `given_label`, `predicted_label` (if known), `label_score` (between 0 and
        1, 0 the most suspect; it ranks, and is no probability), `is_label_issue` (a score below 0.5 and no agreement
        of the model), and from the ledger `seen`, `weight`, `alignment`, `helpful`, `loss`. Examples never seen come
        last, with NaN as score.

    Raises:
        ValueError: for a wrong number of labels, one that is missing, predictions that are text where labels are
            numbers, an unknown `by`, an empty ledger, or margins that were not recorded.
    """
    from l2rw_core.extras import require

    require("audit", "pandas")
    import pandas as pd

    given_labels = as_labels(labels, ledger.n, "labels")
    if by not in SIGNALS:
        raise ValueError(f"unknown signal {by!r}; choose one of {', '.join(SIGNALS)}")
    if not 0 < reference <= 1:
        raise ValueError(f"reference must lie between 0 and 1, got {reference}")
    score = _squash(_standing(ledger, by, recent, given_labels, reference))
    columns: dict[str, Any] = {"given_label": given_labels}
    issue = score < 0.5
    if predicted is not None:
        columns["predicted_label"] = as_labels(predicted, ledger.n, "predicted")
        _check_written_alike(given_labels, columns["predicted_label"])
        issue &= columns["predicted_label"] != given_labels
    columns |= {"label_score": score, "is_label_issue": issue}
    evidence = ledger.table()[["seen", "weight", "alignment", "helpful", "loss"]]
    table = pd.DataFrame(columns, index=evidence.index).join(evidence)
    return table.sort_values("label_score", kind="stable", na_position="last")


def _check_written_alike(labels: np.ndarray, predicted: np.ndarray) -> None:
    """ValueError if the one are text and the other are not: none would agree."""
    if isinstance(labels[0], str) != isinstance(predicted[0], str):
        raise ValueError(
            f"labels are like {labels[0]!r} and predicted like {predicted[0]!r}: write both alike, or no label would "
            "agree with its prediction"
        )


def _standing(ledger: WeightLedger, by: str, recent: bool, given_labels: np.ndarray, reference: float) -> np.ndarray:
    """(n,) evidence minus that of a right label; NaN for examples never seen."""
    if by != "both":
        of_class = 1.0 if by in ("alignment", "weight") else 0.0
        return _beside_right(_evidence(ledger, by, recent), given_labels, reference, of_class)
    alignment = _evidence(ledger, "alignment", recent)
    loss = _beside_right(_evidence(ledger, "loss", recent), given_labels, reference, 0.0)
    if np.nanmin(loss) == np.nanmax(loss):
        return _beside_right(alignment, given_labels, reference, 1.0)
    candidates = [
        _beside_right(alignment, given_labels, reference, of_class) for of_class in (1.0, 0.75, 0.5, 0.25, 0.0)
    ]
    best = int(np.argmax([_rank_correlation(candidate, loss) for candidate in candidates]))
    return 0.25 * candidates[best] + 0.75 * loss


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's, over the examples that were seen; -1 where the first is the same for all."""
    import pandas as pd

    ranks = pd.DataFrame({"a": a, "b": b}).dropna().rank()
    if ranks["a"].nunique() < 2:
        return -1.0
    return float(np.corrcoef(ranks["a"], ranks["b"])[0, 1])


def _evidence(ledger: WeightLedger, by: str, recent: bool) -> np.ndarray:
    """(n,) in [-1, 1], the larger the more likely right; NaN for examples never seen."""
    values = (ledger.recent(by) if recent else ledger.mean(by)).numpy()
    if np.isnan(values).all():
        raise ValueError(f"the ledger holds no {by}: record steps first" + (", with logits" if by == "margin" else ""))
    if by == "alignment":
        return values
    if by == "loss":
        return 2 * np.exp(-np.maximum(values, 0)) - 1  # from the probability of the given label, for a cross-entropy
    scale = np.nanmedian(np.abs(values)) or 1.0
    return values / (np.abs(values) + scale)


def _beside_right(evidence: np.ndarray, given_labels: np.ndarray, reference: float, of_class: float) -> np.ndarray:
    """(n,) evidence minus what a right label has: in its own class by the share `of_class`, else in the middle class.

    A class of few borrows from the others.
    """
    classes, place, counts = np.unique(given_labels, return_inverse=True, return_counts=True)
    visited = ~np.isnan(evidence)
    typical = np.array(
        [
            np.quantile(part, reference) if len(part := evidence[visited & (place == c)]) else np.nan
            for c in range(len(classes))
        ]
    )
    middle = np.nanmedian(typical)
    own = of_class * counts / (counts + 5)
    return evidence - (own * np.nan_to_num(typical, nan=middle) + (1 - own) * middle)[place]


def _squash(standing: np.ndarray) -> np.ndarray:
    """(n,) in (0, 1), increasing; one half where the evidence lies 0.7 below what is usual for a right label."""
    return 1 / (1 + np.exp(-_STEEPNESS * (standing + 0.7)))
