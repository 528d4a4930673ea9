"""A scikit-learn classifier that trains a network on labels weighed by a clean set."""

from __future__ import annotations

from l2rw_core.extras import require

require("sklearn", "sklearn")

import numbers
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
from torch import Tensor, nn

from l2rw_core.datasets import BatchStream
from l2rw_core.ledger import WeightLedger
from l2rw_core.models import Mlp
from l2rw_core.reweight import Reweighter


class ReweightedClassifier(ClassifierMixin, BaseEstimator):
    """Any torch module as a classifier: ``fit(X, y, X_clean=..., y_clean=...)``, `predict`, `predict_proba`.

    Without a clean set it is the same network under the same schedule with equal weights: what to compare with.

    In a pipeline the clean set takes the same way as the training set: ``sklearn.set_config(enable_metadata_routing=
    True)``, ``ReweightedClassifier().set_fit_request(X_clean=True, y_clean=True)`` and ``make_pipeline(...,
    transform_input=["X_clean"])``. Searches and cross-validation hand it on unsplit, if it has not as many examples as
    the training set.

    Args:
        build_model: makes a module from the number of features and of classes; its outputs have shape (n, classes).
            By default two hidden layers of 64. It is called under the random state of the estimator.
        optimizer: makes an optimizer from parameters and ``lr``.
        lr: learning rate.
        epochs: passes over the data.
        batch_size, clean_batch_size: examples a step, all of them if there are fewer.
        warmup: steps of plain training at the beginning.
        check: as for `l2rw_core.Reweighter`: when weights are held against the gradient of the update.
        device: where to train.
        random_state: seed of initial parameters and of batches; torch's own random state is left as it is.

    Attributes:
        classes_: (K,) labels.
        model_: the trained module, in eval mode. It computes in the precision of X, float32 or float64.
        ledger_: `l2rw_core.ledger.WeightLedger` of the training set, by row; ``suspects(ledger_, y)`` ranks its labels.
            None without a clean set.
        n_features_in_, feature_names_in_: as ever.

    Example::

        classifier = ReweightedClassifier(random_state=0)
        classifier.fit(X, y, X_clean=X_clean, y_clean=y_clean)
        classifier.predict_proba(X_test)
    """

    def __init__(
        self,
        build_model: Callable[[int, int], nn.Module] | None = None,
        *,
        optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
        lr: float = 1e-3,
        epochs: int = 50,
        batch_size: int = 100,
        clean_batch_size: int = 100,
        warmup: int = 0,
        check: str = "every",
        device: str | torch.device = "cpu",
        random_state: Any = None,
    ) -> None:
        self.build_model = build_model
        self.optimizer = optimizer
        self.lr = lr
        self.epochs = epochs
        self.batch_size = batch_size
        self.clean_batch_size = clean_batch_size
        self.warmup = warmup
        self.check = check
        self.device = device
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def fit(
        self, X: Any, y: Any, X_clean: Any = None, y_clean: Any = None, sample_weight: Any = None
    ) -> ReweightedClassifier:
        """Train.

        Args:
            X: (n, features) numbers, or a sparse matrix of them, of which a batch at a time is written out.
            y: (n,) labels, not trusted.
            X_clean: (m, features), none of them in X.
            y_clean: (m,) labels, trusted.
            sample_weight: (n,) how often each example of X counts, on top of the weight that the clean set gives it.

        Raises:
            ValueError: if only one of `X_clean` and `y_clean` is given, `y` has one class only, a label of `y_clean` is
                not in `y`, a label is missing, a number is NaN or infinite, a sample weight is negative or all are 0,
                the network has not one output for each label, a parameter is out of range, the device cannot be used,
                or training diverges. What was fitted before stays as it was, whatever goes wrong.
        """
        before = dict(vars(self))
        try:
            self._fit(X, y, X_clean, y_clean, sample_weight)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise
        return self

    def _fit(self, X: Any, y: Any, X_clean: Any, y_clean: Any, sample_weight: Any) -> None:
        if (X_clean is None) != (y_clean is None):
            raise ValueError("give both X_clean and y_clean, or neither for training with equal weights")
        for name in ("epochs", "batch_size", "clean_batch_size"):
            value = getattr(self, name)
            if not isinstance(value, numbers.Integral):
                raise ValueError(f"{name} must be a whole number, got {value!r}")
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if not isinstance(self.lr, numbers.Real | Tensor) or not 0 <= self.lr < float("inf"):
            raise ValueError(f"lr must be a number, finite and not negative, got {self.lr!r}")
        self._check_device()
        X, y = validate_data(self, X, y, dtype=_FLOATS, accept_sparse="csr")
        _check_labels(y, "y")
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise ValueError(f"y has one class only, {self.classes_[0]}: there is nothing to tell apart")
        counts = None if sample_weight is None else self._counts(sample_weight, X)
        train, clean = self._data(X, y), None
        if X_clean is not None:
            clean = self._data(*self._clean(X, X_clean, y_clean))
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self._train(train, clean, counts, seed)

    def _counts(self, sample_weight: Any, X: Any) -> Tensor:
        """(n,) sample weights."""
        counts = _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
        if not counts.any():
            raise ValueError("all sample weights are zero: there is nothing to learn from")
        return torch.tensor(counts / counts.max(), device=self.device)

    def _check_device(self) -> None:
        try:
            torch.zeros(1, device=self.device).item()
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"device {str(self.device)!r} cannot be used: {reason}") from error

    def _clean(self, X: Any, X_clean: Any, y_clean: Any) -> tuple[Any, np.ndarray]:
        """The clean set, checked against X."""
        try:
            X_clean, y_clean = validate_data(self, X_clean, y_clean, dtype=X.dtype, accept_sparse="csr", reset=False)
        except ValueError as error:
            if "could not convert" in str(error) or "features, but" in str(error):
                raise ValueError(f"X_clean: {error}. {_ROUTE}") from error
            raise ValueError(f"X_clean and y_clean: {error}") from error
        _check_labels(y_clean, "y_clean")
        if _elsewhere(X, X_clean):
            warnings.warn(f"X_clean lies far outside of the range of X: is it scaled like X? {_ROUTE}", stacklevel=4)
        return X_clean, y_clean

    def _data(self, X: Any, y: np.ndarray) -> _Data:
        if (self.classes_.dtype.kind in "biuf") != (np.asarray(y).dtype.kind in "biuf"):
            raise ValueError(
                f"y holds labels like {self.classes_[0]!r} and y_clean labels like {y[0]!r}: cross_val_predict with "
                "predict_proba and some other tools write y as whole numbers and leave y_clean as it is: encode both "
                "before, with one sklearn.preprocessing.LabelEncoder"
            )
        place = np.searchsorted(self.classes_, y).clip(max=len(self.classes_) - 1)
        unknown = y[self.classes_[place] != y]
        if len(unknown):
            raise ValueError(f"the clean label {unknown[0]} is not among the labels of y")
        x = X if sparse.issparse(X) else torch.tensor(X, device=self.device)
        return _Data(x, torch.tensor(place, device=self.device))

    def _train(self, train: _Data, clean: _Data | None, counts: Tensor | None, seed: int) -> None:
        x, y = train.x, train.y
        build = _two_hidden_layers if self.build_model is None else self.build_model
        self.model_ = build(x.shape[1], len(self.classes_)).to(train.inputs(slice(0, 2)))
        self._check_outputs(train.inputs(slice(0, 2)))
        optimizer, loss_fn = self.optimizer(self.model_.parameters(), lr=self.lr), nn.CrossEntropyLoss(reduction="none")
        reweighter = _Counting(self.model_, optimizer, loss_fn, warmup=self.warmup, check=self.check)
        self.ledger_ = None if clean is None else WeightLedger(len(y))
        batches = BatchStream(len(y), self.batch_size, seed)
        clean_batches = None if clean is None else BatchStream(len(clean.y), self.clean_batch_size, seed + 1)
        a_pass = -(-len(y) // self.batch_size)
        self.model_.train()
        for number in range(self.epochs * a_pass):
            ids = batches.indices(number)
            batch, times = train.batch(ids), None if counts is None else counts[ids]
            if times is not None and not times.any():
                continue
            if clean is None:
                optimizer.zero_grad()
                _mean(loss_fn(self.model_(batch[0]), batch[1]), times).backward()
                optimizer.step()
            else:
                reweighter.times = times
                self.ledger_.record(reweighter.step(batch, clean.batch(clean_batches.indices(number)), ids))
        self.model_.eval()
        if not all(part.isfinite().all() for part in (*self.model_.parameters(), *self.model_.buffers())):
            raise ValueError("training diverged, the network's numbers are NaN or infinite: lower lr, or scale X")

    def _check_outputs(self, x: Tensor) -> None:
        """In eval mode, which changes neither the module nor a random state."""
        wanted = (len(x), len(self.classes_))
        self.model_.eval()
        with torch.no_grad():
            outputs = self.model_(x)
        if not isinstance(outputs, Tensor) or outputs.shape != wanted:
            got = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
            raise ValueError(
                f"the network gives {got} for {len(x)} examples, and y has {wanted[1]} labels, so that {wanted} are "
                f"needed: let build_model(features, classes) make a last layer as wide as classes"
            )

    def predict_proba(self, X: Any) -> np.ndarray:
        """(n, K) probabilities, in the order of `classes_`."""
        check_is_fitted(self)
        dtype = next(self.model_.parameters()).dtype
        X = validate_data(self, X, dtype=_FLOATS, accept_sparse="csr", reset=False)
        parts = [slice(start, start + _AT_ONCE) for start in range(0, X.shape[0], _AT_ONCE)]
        with torch.no_grad():
            inputs = (torch.tensor(_dense(X[part]), dtype=dtype, device=self.device) for part in parts)
            return torch.cat([self.model_(part).softmax(1) for part in inputs]).cpu().numpy()

    def predict(self, X: Any) -> np.ndarray:
        """(n,) the most probable label."""
        best = self.predict_proba(X).argmax(1)
        return self.classes_[best]


def _check_labels(y: np.ndarray, name: str) -> None:
    """ValueError that names a label that is missing, which NumPy cannot compare with others."""
    missing = [place for place, label in enumerate(y) if label is None or label != label] if y.dtype == object else []
    if missing:
        raise ValueError(f"{name}[{missing[0]}] is {y[missing[0]]}: give every example a label, or leave it out")


def _two_hidden_layers(features: int, classes: int) -> nn.Module:
    return Mlp([features, 64, 64, classes])


_FLOATS = (np.float64, np.float32)
_AT_ONCE = 1000
_ROUTE = (
    "In a pipeline the clean set goes the way of X by metadata routing alone: sklearn.set_config("
    "enable_metadata_routing=True), .set_fit_request(X_clean=True, y_clean=True) and make_pipeline(..., "
    'transform_input=["X_clean"])'
)


@dataclass(frozen=True)
class _Data:
    """Examples on the training device, or a sparse matrix of which batches go there."""

    x: Any
    y: Tensor

    def inputs(self, ids: Any) -> Tensor:
        """(b, features) of some examples."""
        if isinstance(self.x, Tensor):
            return self.x[ids]
        return torch.tensor(_dense(self.x[ids if isinstance(ids, slice) else ids.numpy()]), device=self.y.device)

    def batch(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and labels of some examples."""
        return self.inputs(ids), self.y[ids]


class _Counting(Reweighter):
    """Weights of examples that each count several times."""

    times: Tensor | None = None
    """(n,) how often the examples of the next batch count."""

    def _unscaled(self, u: Tensor) -> Tensor:
        weights = super()._unscaled(u)
        return weights if self.times is None else weights * self.times


def _mean(losses: Tensor, times: Tensor | None) -> Tensor:
    return losses.mean() if times is None else (losses * times).sum() / times.sum()


def _dense(x: Any) -> np.ndarray:
    return x.toarray() if sparse.issparse(x) else x


def _elsewhere(x: Any, clean: Any) -> bool:
    """Whether most clean values lie outside of the range of their feature, three times as wide."""
    low, high = (_dense(end).ravel() for end in (x.min(0), x.max(0)))
    width = np.maximum(high - low, 1e-6 + np.abs(high) * 1e-6)
    middle = np.median(_dense(clean), axis=0)
    return bool(np.mean((middle < low - width) | (middle > high + width)) > 0.5)
