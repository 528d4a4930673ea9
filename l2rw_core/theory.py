"""Section 3.4 of the paper on problems small enough to check it: does the clean loss go down, and how fast.

Everything here is about full clean batches (m = M) and a clean set inside the training set, as in Appendices B and C.
Chapter 5 of the book derives what the functions compute, and says which printed statements it corrects.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class ScalarLoss:
    """A loss of one score against one target, with the two bounds that the theory asks for.

    Attributes:
        value: (scores, targets) -> losses, elementwise.
        slope: (scores, targets) -> derivative of the loss by the score, elementwise.
        max_slope: the least upper bound of the absolute slope.
        max_curvature: the least upper bound of the slope's own rate of change.
    """

    value: Callable[[Array, Array], Array]
    slope: Callable[[Array, Array], Array]
    max_slope: float
    max_curvature: float


def _huber(scores: Array, targets: Array) -> Array:
    distance = np.abs(scores - targets)
    return np.where(distance <= 1, distance**2 / 2, distance - 0.5)


HUBER = ScalarLoss(_huber, lambda scores, targets: np.clip(scores - targets, -1, 1), 1.0, 1.0)
"""Half the squared distance up to distance 1, a straight line beyond."""

LOGISTIC = ScalarLoss(
    value=lambda scores, targets: np.logaddexp(0, -targets * scores),
    slope=lambda scores, targets: -targets * np.exp(-np.logaddexp(0, targets * scores)),
    max_slope=1.0,
    max_curvature=0.25,
)
"""log(1 + exp(-target * score)) for targets -1 and 1."""


@dataclass(frozen=True, eq=False)
class Problem:
    """Training losses f_i(theta) = loss(x_i . theta, y_i), the first `clean_size` of which are the clean set.

    Attributes:
        features: x, shape (N, d).
        targets: y, shape (N,); -1 or 1 for `LOGISTIC`.
        clean_size: M, the number of clean examples.
        loss: `HUBER`, `LOGISTIC` or another `ScalarLoss`.

    Raises:
        ValueError: shapes that do not fit, a number that is not finite, or a clean set that is empty or too large.
    """

    features: Array
    targets: Array
    clean_size: int
    loss: ScalarLoss = HUBER

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or self.targets.shape != self.features.shape[:1]:
            raise ValueError(
                f"features of shape (N, d) and targets of shape (N,) are needed, not {self.features.shape} and "
                f"{self.targets.shape}"
            )
        if not (np.isfinite(self.features).all() and np.isfinite(self.targets).all()):
            raise ValueError("features and targets must be finite")
        if not 1 <= self.clean_size <= len(self.features):
            raise ValueError(f"clean_size must lie in 1..{len(self.features)}, not {self.clean_size}")
        if self.loss is LOGISTIC and not np.isin(self.targets, (-1, 1)).all():
            raise ValueError("targets of the logistic loss are -1 or 1")

    @cached_property
    def smoothness(self) -> float:
        """L: the clean gradient changes by at most L times the distance.

        The Hessian of G is a mean of x x^T, each times at most the loss's curvature. For `LOGISTIC` it attains this
        bound at theta = 0, so no smaller L would do.
        """
        clean = self.features[: self.clean_size]
        return self.loss.max_curvature * float(np.linalg.eigvalsh(clean.T @ clean / self.clean_size)[-1])

    @cached_property
    def gradient_bound(self) -> float:
        """sigma: no training example has a longer gradient, at any theta."""
        return self.loss.max_slope * float(np.linalg.norm(self.features, axis=1).max())

    def gradients(self, theta: Array, examples: Array | slice = slice(None)) -> Array:
        """Gradients of f_i at `theta` (d,), shape (len(examples), d); of all N where no examples are given."""
        features = self.features[examples]
        return self.loss.slope(features @ theta, self.targets[examples])[:, None] * features

    def clean_loss(self, theta: Array) -> float:
        """G at `theta` (d,), equation (14)."""
        return float(self.clean_losses(theta[None])[0])

    def clean_losses(self, thetas: Array) -> Array:
        """G at each of `thetas` (T, d), shape (T,)."""
        return self._on_clean_set(self.loss.value, thetas).mean(1)

    def clean_gradient(self, theta: Array) -> Array:
        """Gradient of G at `theta` (d,), shape (d,)."""
        return self.clean_gradients(theta[None])[0]

    def clean_gradients(self, thetas: Array) -> Array:
        """Gradient of G at each of `thetas` (T, d), shape (T, d)."""
        return self._on_clean_set(self.loss.slope, thetas) @ self.features[: self.clean_size] / self.clean_size

    def _on_clean_set(self, function: Callable[[Array, Array], Array], thetas: Array) -> Array:
        """Value or slope of each clean loss, shape (T, M) for `thetas` (T, d)."""
        clean = slice(self.clean_size)
        return function(thetas @ self.features[clean].T, self.targets[clean])


def identical_hubers(n: int) -> Problem:
    """Return n copies of the one-dimensional Huber loss, all of them clean: L = sigma = 1, and G itself is the loss.

    From theta = 1 the longest step that Lemma 1 allows as printed, 2n, takes G from 0.5 to 2n - 1.5.
    """
    return Problem(np.ones((n, 1)), np.zeros(n), clean_size=n)


def analysed_weights(inner: Array) -> Array:
    """max(u, 0) / n: the weights of the update that Appendix B analyses, which have no common scale.

    Args:
        inner: u, inner products of the clean gradient with the gradients of a batch, shape (n,).
    """
    return np.maximum(inner, 0) / len(inner)


def normalised_weights(inner: Array) -> Array:
    """Equations (8) and (9): the weights of Algorithm 1, of sum 1, or all 0. Shapes (n,) to (n,)."""
    clipped = np.maximum(inner, 0)
    total = clipped.sum()
    return clipped / (total if total > 0 else 1.0)


Weighting = Callable[[Array], Array]


def step(
    problem: Problem, theta: Array, batch: Array | slice, alpha: float, weighting: Weighting = analysed_weights
) -> Array:
    """Return theta - alpha * sum_i w_i grad f_i(theta) over the batch, with the whole clean set judging (m = M).

    Args:
        problem: N examples in d dimensions.
        theta: parameters, shape (d,).
        batch: indices of the batch, shape (n,), repeats allowed, or a slice.
        alpha: the step size.
        weighting: `analysed_weights` (Appendix B) or `normalised_weights` (Algorithm 1).

    Returns:
        The next parameters, shape (d,).
    """
    gradients = problem.gradients(theta, batch)
    return theta - alpha * weighting(gradients @ problem.clean_gradient(theta)) @ gradients


@dataclass(frozen=True, eq=False)
class Run:
    """What `descend` saw, at the T + 1 points it visited.

    Attributes:
        thetas: shape (T + 1, d).
        clean_losses: G, shape (T + 1,).
        squared_norms: squared norm of the gradient of G, shape (T + 1,).
    """

    thetas: Array
    clean_losses: Array
    squared_norms: Array


def descend(
    problem: Problem,
    theta: Array,
    alphas: Sequence[float] | Array,
    batch_size: int,
    seed: int = 0,
    weighting: Weighting = analysed_weights,
) -> Run:
    """Take one `step` for each of `alphas`, each on a uniform batch drawn without replacement.

    Args:
        problem: N examples in d dimensions.
        theta: where to start, shape (d,).
        alphas: step sizes, shape (T,).
        batch_size: n, at most N; n = N leaves nothing to chance.
        seed: decides the batches.
        weighting: as for `step`.

    Raises:
        ValueError: `batch_size` does not lie in 1..N.
    """
    size = len(problem.targets)
    if not 1 <= batch_size <= size:
        raise ValueError(f"batch_size must lie in 1..{size}, not {batch_size}")
    rng = np.random.default_rng(seed)
    visited = [np.asarray(theta, dtype=float)]
    for alpha in alphas:
        batch = slice(None) if batch_size == size else rng.permutation(size)[:batch_size]
        visited.append(step(problem, visited[-1], batch, alpha, weighting))
    thetas = np.array(visited)
    return Run(thetas, problem.clean_losses(thetas), np.sum(problem.clean_gradients(thetas) ** 2, axis=1))


def largest_step(smoothness: float, gradient_bound: float) -> float:
    """2 / (L sigma^2): up to here no batch raises the clean loss, and no larger constant would do.

    Raises:
        ValueError: a bound that is not positive.
    """
    if not (smoothness > 0 and gradient_bound > 0):
        raise ValueError(f"both bounds must be positive, not L = {smoothness} and sigma = {gradient_bound}")
    return 2 / (smoothness * gradient_bound**2)


def printed_largest_step(smoothness: float, gradient_bound: float, batch_size: int) -> float:
    """2n / (L sigma^2): the condition of Lemma 1 as printed, too large by the factor n.

    Raises:
        ValueError: a bound or a batch size that is not positive.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")
    return batch_size * largest_step(smoothness, gradient_bound)


def rate_constant(alpha: float, smoothness: float, gradient_bound: float, gap: float, clean_share: float) -> float:
    """C of equation (15) for `analysed_weights`: min over t < T of E||grad G||^2 is at most C / sqrt(T).

    It holds for a constant step and uniform batches of any size n, which cancels.

    Args:
        alpha: the step size, strictly between 0 and `largest_step`.
        smoothness: L.
        gradient_bound: sigma.
        gap: G at the start minus the infimum of G, or anything larger.
        clean_share: M / N, in (0, 1].

    Returns:
        sqrt(gap / (clean_share * alpha * (1 - L alpha sigma^2 / 2))).

    Raises:
        ValueError: an argument outside its range.
    """
    _check_gap_and_share(gap, clean_share)
    limit = largest_step(smoothness, gradient_bound)
    if not 0 < alpha < limit:
        raise ValueError(f"alpha must lie strictly between 0 and 2 / (L sigma^2) = {limit:g}, not {alpha:g}")
    return float(np.sqrt(gap / (clean_share * alpha * (1 - alpha / limit))))


def normalised_bound(
    alphas: Sequence[float] | Array, smoothness: float, gradient_bound: float, gap: float, clean_share: float
) -> float:
    """Bound on min over t < T of E||grad G||^2 for `normalised_weights` and the T step sizes `alphas`.

    It is not in the paper, whose analysis leaves (9) out. Uniform batches of any size n, as for `rate_constant`.

    Args:
        alphas: positive step sizes, shape (T,); no upper limit.
        smoothness, gradient_bound, gap, clean_share: as for `rate_constant`.

    Returns:
        (gap + L sigma^2 / 2 * sum alphas^2) / (clean_share * sum alphas).

    Raises:
        ValueError: an argument outside its range.
    """
    _check_gap_and_share(gap, clean_share)
    alphas = np.asarray(alphas, dtype=float)
    if alphas.size == 0 or not (alphas > 0).all():
        raise ValueError("alphas must be one or more positive step sizes")
    noise = float(np.sum(alphas**2)) / largest_step(smoothness, gradient_bound)
    return float((gap + noise) / (clean_share * alphas.sum()))


def _check_gap_and_share(gap: float, clean_share: float) -> None:
    if not gap >= 0:
        raise ValueError(f"gap must not be negative, and is {gap}")
    if not 0 < clean_share <= 1:
        raise ValueError(f"clean_share must lie in (0, 1], not {clean_share}")
