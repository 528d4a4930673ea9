"""A ranking that measures itself: labels changed on purpose say how much each sign of a wrong label is worth.

A few per cent of the labels are changed before training, in the way in which labels of their class seem to be wrong.
What is wrong with these is known, so the signs are weighed by how well they tell them from the others, and the ranking
is tried on those that had no part in its weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

FOLDS = 5
PLANTED = 0.04
"""Share of the labels that are changed; of few, up to a sixteenth."""
ROUNDS = 2
ENOUGH = 5
"""With fewer changed labels than this, all signs count alike."""
LITTLE = 0.75
"""Below this AUROC a ranking finds little."""
_FEW = 40
_MOST_ROWS = 20_000
_MOST_WORK = 2e6
COMPONENTS = 50
"""Of images, for models that are no network."""
FEATURES = 200
"""Components of features that somebody brings, where these are more."""
_AT_ONCE = 1_000
"""Examples whose features are copied at a time: a copy of all might not fit into memory."""
_NEIGHBOURS = 20
_LEAST = 1e-4
_PULL = 1.0
Tick = Callable[[], object]
"""Called before each fold; `bool` does nothing."""
_WORTH_A_LOOK = 3.0
"""How many right labels somebody looks at to find one that is wrong, where the score is one half."""


@dataclass(frozen=True)
class Planted:
    """Labels of which some were changed on purpose."""

    labels: np.ndarray
    """(N,) whole numbers."""
    ids: np.ndarray
    """Examples whose label was changed."""


def channel(x: np.ndarray, y: np.ndarray, clean_x: np.ndarray, clean_y: np.ndarray, k: int, seed: int) -> np.ndarray:
    """(K, K) how often an example of each class (rows) seems to be given each label, by a model of the given labels.

    It is what a model that learned the given labels says of the trusted examples, whose class is known, a tenth of it
    spread evenly. A class without trusted examples has the shares of all labels.
    """
    some = _some_of(len(x), _MOST_ROWS, seed)
    rates = np.tile(np.bincount(y, minlength=k) / len(y), (k, 1))
    if len(np.unique(y[some])) > 1:
        fitted = _logistic().fit(x[some], y[some])
        p = np.zeros((len(clean_x), k))
        p[:, fitted.classes_] = fitted.predict_proba(clean_x)
        counts = np.bincount(clean_y, minlength=k)
        sums = np.stack([p[clean_y == label].sum(0) for label in range(k)])
        rates = (sums + rates) / (counts + 1)[:, None]
    return 0.98 * rates + 0.02 / k


def of_trusted(x: np.ndarray, y: np.ndarray, clean_x: np.ndarray, k: int, seed: int, trees: bool) -> np.ndarray:
    """(M, K) what models that learned the given labels, and no trusted one, say of the trusted examples."""
    some = _some_of(len(x), _MOST_ROWS, seed)
    if len(np.unique(y[some])) < 2:
        return np.full((len(clean_x), k), 1 / k)
    models = [_logistic()]
    if trees:
        some = some[_some_of(len(some), _most_rows(k, x.shape[1]), seed)]
        models.append(_trees(seed))
    p = np.zeros((len(clean_x), k))
    for model in models:
        fitted = model.fit(x[some], y[some])
        p[:, fitted.classes_] += fitted.predict_proba(clean_x) / len(models)
    return p


def plant(y: np.ndarray, probabilities: np.ndarray, channel: np.ndarray, seed: int) -> Planted:
    """Change a few labels: of examples whose label is likely right and of a class in which many seem to be wrong.

    Half of them become what labels of their class seem to become, half what a model would confuse this example with.

    Args:
        y: (N,) given labels, from 0 to K - 1.
        probabilities: (N, K) of a model that has not seen the label of the example.
        channel: (K, K) as `channel` has it.
        seed: of the choice.
    """
    n, k = probabilities.shape
    count = max(round(PLANTED * n), min(_FEW, n // 16))
    if count < ENOUGH:
        return Planted(y, np.zeros(0, dtype=int))
    rng = np.random.default_rng(seed)
    right = (probabilities[np.arange(n), y] + _LEAST) * (1 - channel[y, y])
    ids = rng.choice(n, count, replace=False, p=right / right.sum())
    labels = y.copy()
    for number, example in enumerate(ids):
        chance = channel[y[example]] * (1 if number % 2 else probabilities[example] + _LEAST)
        chance = np.where(np.arange(k) == y[example], 0, chance)
        labels[example] = rng.choice(k, p=chance / chance.sum())
    return Planted(labels, np.sort(ids))


def compact(x: np.ndarray, clean_x: np.ndarray, seed: int, most: int | None) -> tuple[np.ndarray, np.ndarray]:
    """(N, features) and (M, features) for models that are no network: all, or the largest principal components."""
    width = int(np.prod(x.shape[1:]))
    if most is None or width <= most:
        return x.reshape(-1, width), clean_x.reshape(-1, width)
    from sklearn.decomposition import PCA

    some = _flat(x, _some_of(len(x), _MOST_ROWS, seed))
    parts = PCA(min(most, len(some)), svd_solver="randomized", random_state=seed, copy=False).fit(some)
    del some
    train, clean = (
        np.concatenate([parts.transform(_flat(part, ids)) for ids in _in_blocks(np.arange(len(part)))])
        for part in (x, clean_x)
    )
    return train, clean


def _flat(x: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """(ids, numbers of an example) copies of these rows, which the caller may overwrite."""
    flat = np.empty((len(ids), int(np.prod(x.shape[1:]))), dtype=x.dtype)
    for places in _in_blocks(np.arange(len(ids))):
        flat[places] = x[ids[places]].reshape(len(places), -1)
    return flat


def _in_blocks(ids: np.ndarray) -> list[np.ndarray]:
    return np.split(ids, range(_AT_ONCE, len(ids), _AT_ONCE))


def linear(x: np.ndarray, y: np.ndarray, k: int, seed: int, tick: Tick = bool) -> np.ndarray:
    """(N, K) out-of-fold probabilities of a logistic regression; a tick a fold."""
    return _out_of_fold(_logistic, x, y, k, seed, tick)


def _logistic() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=200, tol=1e-3))


def boosted(x: np.ndarray, y: np.ndarray, k: int, seed: int, tick: Tick = bool) -> np.ndarray:
    """(N, K) out-of-fold probabilities of gradient-boosted trees; a tick a fold."""
    return _out_of_fold(lambda: _trees(seed), x, y, k, seed, tick, _most_rows(k, x.shape[1]))


def _trees(seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=60, early_stopping=False, random_state=seed)


def _most_rows(k: int, features: int) -> int:
    """Rows that trees learn from, so that they take no more than a minute."""
    return min(max(int(_MOST_WORK / (k * features)), 2000), _MOST_ROWS)


def neighbours(x: np.ndarray, y: np.ndarray, k: int, seed: int) -> np.ndarray:
    """(N, K) shares of the classes among the nearest other examples, drawn a little to the shares of all."""
    from sklearn.neighbors import NearestNeighbors

    sample = _some_of(len(x), _MOST_ROWS, seed)
    count = min(_NEIGHBOURS + 1, len(sample))
    places = sample[NearestNeighbors(n_neighbors=count).fit(x[sample]).kneighbors(x, return_distance=False)]
    others = places != np.arange(len(x))[:, None]
    votes = np.stack([((y[places] == label) & others).sum(1) for label in range(k)], 1) / others.sum(1, keepdims=True)
    return 0.9 * votes + 0.1 * np.bincount(y, minlength=k) / len(y)


def _out_of_fold(
    model: Callable[[], Any],
    x: np.ndarray,
    y: np.ndarray,
    k: int,
    seed: int,
    tick: Tick,
    most: int = _MOST_ROWS,
) -> np.ndarray:
    rng = np.random.default_rng(seed)
    order = np.lexsort((rng.random(len(y)), y))
    fold = np.empty(len(y), dtype=int)
    fold[order] = np.arange(len(y)) % FOLDS
    p = np.full((len(y), k), 1 / k)
    for number in range(FOLDS):
        tick()
        rest, fold_rows = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        rest = rest[_some_of(len(rest), most, seed)]
        if len(np.unique(y[rest])) < 2 or not len(fold_rows):
            continue
        fitted = model().fit(x[rest], y[rest])
        p[fold_rows] = 0
        p[np.ix_(fold_rows, fitted.classes_)] = fitted.predict_proba(x[fold_rows])
    return p


def _some_of(n: int, most: int, seed: int) -> np.ndarray:
    return np.arange(n) if n <= most else np.sort(np.random.default_rng(seed).permutation(n)[:most])


def corrected(probabilities: np.ndarray, y: np.ndarray, clean_y: np.ndarray) -> np.ndarray:
    """(N, K) with the class shares of the data, where training leant to those of the clean set; counts are smoothed."""
    k = probabilities.shape[1]
    shares, clean = np.bincount(y, minlength=k) / len(y), (np.bincount(clean_y, minlength=k) + 1) / (len(clean_y) + k)
    weighted = probabilities * shares / clean
    return weighted / weighted.sum(1, keepdims=True)


def seen_through(probabilities: np.ndarray, channel: np.ndarray, steps: int = 10) -> np.ndarray:
    """(N, K) probabilities of the classes, from those of the labels that the channel makes of them.

    A few steps of expectation and maximisation from the latter: what they do not settle stays as it is.
    """
    p = np.clip(probabilities, _LEAST, 1)
    p /= p.sum(1, keepdims=True)
    for _ in range(steps):
        p = p * ((probabilities / (p @ channel)) @ channel.T)
        p = np.clip(p, 1e-12, None)
        p /= p.sum(1, keepdims=True)
    return p


def doubts(probabilities: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N,) minus the log-probability of the label, and minus its lead before the likeliest other class."""
    p = np.log(np.clip(probabilities, _LEAST, 1))
    rows = np.arange(len(y))
    of_label = p[rows, y]
    p[rows, y] = -np.inf
    return -of_label, p.max(1) - of_label


@dataclass(frozen=True)
class Weighing:
    """What the signs came to."""

    decision: np.ndarray
    """(N,) log of how much more such an example is to be expected among changed labels than among the others."""
    auroc: float
    """Share of pairs of a changed and another label in which the changed one ranks first; NaN if none was changed."""
    planted: int
    """Labels that were changed."""
    weights: dict[str, float]
    """Of each sign, in standard deviations; none is negative."""
    noise: float
    """About the share of wrong labels, if they look as changed ones do."""

    @property
    def trusted(self) -> bool:
        """Whether changed labels are found clearly better than chance; True where that could not be tried."""
        return self.planted < ENOUGH or self.auroc > 0.5 + 2 * np.sqrt(1 / (12 * self.planted))

    @property
    def little(self) -> bool:
        """Whether changed labels are found, but many others rank before them."""
        return self.trusted and self.auroc < LITTLE

    @property
    def wrong(self) -> np.ndarray:
        """(N,) about the probability that a label is wrong, if wrong ones are like the changed ones."""
        odds = self.noise / (1 - self.noise) * np.exp(np.clip(self.decision, -50, 50))
        return odds / (1 + odds)

    @property
    def score(self) -> np.ndarray:
        """(N,) between 0 and 1, below one half where a label is worth a look; it ranks, and is no probability."""
        return 1 / (1 + _WORTH_A_LOOK * self.noise * np.exp(np.minimum(self.decision, 50)))


def wrong_by_class(y: np.ndarray, channel: np.ndarray) -> np.ndarray:
    """(K,) share of the labels of each class that seem to be wrong, from the channel and the shares of the labels."""
    shares = np.bincount(y, minlength=len(channel)) / len(y)
    classes = seen_through(shares[None], channel, 200)[0]
    return np.clip(1 - classes * channel.diagonal() / np.clip(shares, _LEAST, 1), 0.02, 0.95)


def weigh(
    signs: dict[str, np.ndarray], planted: np.ndarray, blind: dict[str, np.ndarray], wrong: np.ndarray, seed: int
) -> Weighing:
    """Weigh signs by how well they find the changed labels; each example is judged by weights that it has no part in.

    Args:
        signs: (N,) each, the larger the more suspect, of the labels that were trained on.
        planted: ids of the changed labels.
        blind: those of the signs which do not depend on the training label of the example, for the labels as they were
            given: changed examples are judged by these.
        wrong: (N,) how likely each label that was trained on is wrong, before the signs are seen: so much less does it
            stand for right ones.
        seed: of the folds.
    """
    n, names = len(wrong), list(signs)
    changed = np.zeros(n)
    changed[planted] = 1
    columns = np.stack([signs[name] for name in names], 1)
    middle, spread = columns.mean(0), columns.std(0) + 1e-12
    standard = (columns - middle) / spread
    if len(planted) < ENOUGH:
        alike = np.full(len(names), 2 / len(names))
        return Weighing(standard @ alike - 2, float("nan"), 0, dict(zip(names, alike, strict=True)), 0.1)
    decision = _cross_fitted(standard, changed, wrong, seed)
    auroc = _auroc(decision[changed == 1], decision[changed == 0])
    noise = _noise(decision[changed == 0])
    weights = dict(zip(names, _fit(standard, changed, wrong)[:-1].tolist(), strict=True))
    places = [names.index(name) for name in blind]
    fitted = _fit(standard[:, places], changed, wrong)
    own = (np.stack([blind[name] for name in blind], 1) - middle[places]) / spread[places]
    decision[planted] = (own @ fitted[:-1] + fitted[-1])[planted]
    return Weighing(decision, auroc, len(planted), weights, noise)


def _cross_fitted(x: np.ndarray, changed: np.ndarray, wrong: np.ndarray, seed: int) -> np.ndarray:
    order = np.lexsort((np.random.default_rng(seed).random(len(x)), changed))
    fold = np.empty(len(x), dtype=int)
    fold[order] = np.arange(len(x)) % FOLDS
    decision = np.empty(len(x))
    for number in range(FOLDS):
        fitted = _fit(x[fold != number], changed[fold != number], wrong[fold != number])
        decision[fold == number] = x[fold == number] @ fitted[:-1] + fitted[-1]
    return decision


def _fit(x: np.ndarray, changed: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Logistic regression with weights that are not negative and, where little is known, alike; the last is a constant.

    Changed labels are told from right ones: the others count as far as they are likely right, by what is known before,
    and then by the signs. Both groups count alike, so that the decision is the log of a ratio of densities.
    """
    right = 1 - wrong
    for _ in range(ROUNDS):
        alike = _minimise(x.mean(1, keepdims=True), changed, right, np.zeros(1), 1e-4)[0] / x.shape[1]
        fitted = _minimise(x, changed, right, np.full(x.shape[1], alike), _PULL / max(changed.sum(), 1))
        ratio = np.exp(np.clip(x @ fitted[:-1] + fitted[-1], -50, 50))
        right = (1 - wrong) / (1 - wrong + wrong * ratio)
    return fitted


def _minimise(x: np.ndarray, changed: np.ndarray, right: np.ndarray, start: np.ndarray, pull: float) -> np.ndarray:
    from scipy.optimize import minimize

    others = right * (1 - changed)
    share = np.where(changed == 1, 0.5 / max(changed.sum(), 1), 0.5 * others / max(others.sum(), 1e-9))

    def loss(t: np.ndarray) -> tuple[float, np.ndarray]:
        z, away = x @ t[:-1] + t[-1], t[:-1] - start
        slope = share * (1 / (1 + np.exp(-np.clip(z, -50, 50))) - changed)
        value = (share * (np.logaddexp(0, z) - changed * z)).sum() + pull * (away**2).sum()
        return float(value), np.r_[x.T @ slope + 2 * pull * away, slope.sum()]

    bounds = [(0, None)] * x.shape[1] + [(None, None)]
    return minimize(loss, np.r_[start, 0.0], jac=True, bounds=bounds, method="L-BFGS-B").x


def _auroc(positive: np.ndarray, negative: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    truth = np.r_[np.ones(len(positive)), np.zeros(len(negative))]
    return float(roc_auc_score(truth, np.r_[positive, negative]))


def _noise(decision: np.ndarray) -> float:
    """Share of wrong labels among some that were not changed, by expectation and maximisation.

    The decision is the log of a ratio of densities, of changed labels and of right ones. If wrong labels look as
    changed ones do, this is the share under which the decisions are most likely. Counting what looks as changed ones do
    would take right labels that look suspect for wrong ones.
    """
    ratio, share = np.exp(np.clip(decision, -50, 50)), 0.1
    for _ in range(300):
        share = float(np.mean(share * ratio / (1 - share + share * ratio)))
    return float(np.clip(share, 0.001, 0.9))
