"""A scikit-learn classifier that trains a network on labels weighed by a clean set."""

from __future__ import annotations

from l2rw_core.extras import require

require("sklearn", "sklearn")

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
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

    def fit(self, X: Any, y: Any, X_clean: Any = None, y_clean: Any = None) -> ReweightedClassifier:
        """Train.

        Args:
            X: (n, features) numbers.
            y: (n,) labels, not trusted.
            X_clean: (m, features), none of them in X.
            y_clean: (m,) labels, trusted.

        Raises:
            ValueError: if only one of `X_clean` and `y_clean` is given, `y` has one class only, a label of `y_clean` is
                not in `y`, a number is NaN or infinite, the network has not one output for each label, or a parameter
                is out of range. What was fitted before stays as it was, whatever goes wrong.
        """
        before = dict(vars(self))
        try:
            self._fit(X, y, X_clean, y_clean)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise
        return self

    def _fit(self, X: Any, y: Any, X_clean: Any, y_clean: Any) -> None:
        if (X_clean is None) != (y_clean is None):
            raise ValueError("give both X_clean and y_clean, or neither for training with equal weights")
        if self.epochs < 1:
            raise ValueError(f"epochs must be at least 1, got {self.epochs}")
        X, y = validate_data(self, X, y, dtype=(np.float64, np.float32))
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise ValueError(f"y has one class only, {self.classes_[0]}: there is nothing to tell apart")
        train, clean = self._tensors(X, y), None
        if X_clean is not None:
            X_clean, y_clean = validate_data(self, X_clean, y_clean, dtype=X.dtype, reset=False)
            clean = self._tensors(X_clean, y_clean)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self._train(train, clean, seed)

    def _tensors(self, X: np.ndarray, y: np.ndarray) -> tuple[Tensor, Tensor]:
        place = np.searchsorted(self.classes_, y).clip(max=len(self.classes_) - 1)
        unknown = y[self.classes_[place] != y]
        if len(unknown):
            raise ValueError(f"the clean label {unknown[0]} is not among the labels of y")
        return torch.tensor(X, device=self.device), torch.tensor(place, device=self.device)

    def _train(self, train: tuple[Tensor, Tensor], clean: tuple[Tensor, Tensor] | None, seed: int) -> None:
        x, y = train
        build = _two_hidden_layers if self.build_model is None else self.build_model
        self.model_ = build(x.shape[1], len(self.classes_)).to(x)
        self._check_outputs(x[:2])
        optimizer, loss_fn = self.optimizer(self.model_.parameters(), lr=self.lr), nn.CrossEntropyLoss(reduction="none")
        reweighter = Reweighter(self.model_, optimizer, loss_fn, warmup=self.warmup, check=self.check)
        self.ledger_ = None if clean is None else WeightLedger(len(y))
        batches = BatchStream(len(y), self.batch_size, seed)
        clean_batches = None if clean is None else BatchStream(len(clean[1]), self.clean_batch_size, seed + 1)
        a_pass = -(-len(y) // self.batch_size)
        self.model_.train()
        for number in range(self.epochs * a_pass):
            ids = batches.indices(number)
            batch = x[ids], y[ids]
            if clean is None:
                optimizer.zero_grad()
                loss_fn(self.model_(batch[0]), batch[1]).mean().backward()
                optimizer.step()
            else:
                chosen = clean_batches.indices(number)
                self.ledger_.record(reweighter.step(batch, (clean[0][chosen], clean[1][chosen]), ids))
        self.model_.eval()

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
        X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        with torch.no_grad():
            parts = torch.tensor(X, dtype=dtype, device=self.device).split(1000)
            return torch.cat([self.model_(part).softmax(1) for part in parts]).cpu().numpy()

    def predict(self, X: Any) -> np.ndarray:
        """(n,) the most probable label."""
        best = self.predict_proba(X).argmax(1)
        return self.classes_[best]


def _two_hidden_layers(features: int, classes: int) -> nn.Module:
    return Mlp([features, 64, 64, classes])
