"""The constants are the ones that the theory asks for, the corrected statements hold, and the printed ones fail."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from l2rw_core.theory import (
    HUBER,
    LOGISTIC,
    Problem,
    analysed_weights,
    descend,
    identical_hubers,
    largest_step,
    normalised_bound,
    normalised_weights,
    printed_largest_step,
    rate_constant,
    step,
)
from l2rw_core.weights import to_weights

LOSSES = {"huber": HUBER, "logistic": LOGISTIC}
ROUNDING = 1e-10

numbers = st.floats(-3, 3, allow_nan=False)
shares = st.floats(0.01, 1.0)


@st.composite
def problems(draw, max_size=8):
    """A problem whose clean set says something, and parameters."""
    size, dimensions = draw(st.integers(1, max_size)), draw(st.integers(1, 4))
    loss = LOSSES[draw(st.sampled_from(sorted(LOSSES)))]
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    x = rng.normal(size=(size, dimensions)) * draw(st.sampled_from([0.3, 1.0, 3.0]))
    if draw(st.booleans()):
        x[:] = x[0]  # the case in which a batch is no better than one example
    y = rng.choice([-1.0, 1.0], size) if loss is LOGISTIC else 2 * rng.normal(size=size)
    problem = Problem(x, y, draw(st.integers(1, size)), loss)
    assume(problem.smoothness > 1e-3)
    return problem, np.array(draw(st.lists(numbers, min_size=dimensions, max_size=dimensions)))


def limit(problem):
    return largest_step(problem.smoothness, problem.gradient_bound)


def positive_parts(problem, theta, batch):
    return np.maximum(problem.gradients(theta, batch) @ problem.clean_gradient(theta), 0)


# --- the constants ---------------------------------------------------------------------------------------------------


@given(problems())
def test_gradients_are_those_of_the_losses(case):
    problem, theta = case
    h = 1e-6
    kinks = np.abs(np.abs(problem.features @ theta - problem.targets) - 1)
    assume(problem.loss is LOGISTIC or kinks.min() > 1e-3)
    differences = [
        (problem.clean_loss(theta + h * e) - problem.clean_loss(theta - h * e)) / (2 * h) for e in np.eye(len(theta))
    ]
    np.testing.assert_allclose(problem.clean_gradient(theta), differences, atol=1e-7)


@given(problems(), st.lists(numbers, min_size=4, max_size=4))
def test_smoothness_bounds_the_change_of_the_clean_gradient(case, move):
    problem, theta = case
    move = np.array(move[: len(theta)])
    change = np.linalg.norm(problem.clean_gradient(theta + move) - problem.clean_gradient(theta))
    assert change <= problem.smoothness * np.linalg.norm(move) + ROUNDING


@pytest.mark.parametrize("name", LOSSES)
def test_smoothness_is_attained(name):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, 3))
    # At theta = 0 every residual of these Huber losses is 0, and every logistic loss is at its most curved.
    problem = Problem(x, np.ones(6) if name == "logistic" else np.zeros(6), 6, LOSSES[name])
    direction = np.linalg.eigh(x.T @ x)[1][:, -1]
    h = 1e-4
    change = problem.clean_gradient(h * direction) - problem.clean_gradient(-h * direction)
    assert np.linalg.norm(change) / (2 * h) == pytest.approx(problem.smoothness, rel=1e-6)


@given(problems(), st.floats(0, 1e3))
def test_gradient_bound_holds_everywhere(case, scale):
    problem, theta = case
    norms = np.linalg.norm(problem.gradients(scale * theta), axis=1)
    assert norms.max() <= problem.gradient_bound * (1 + 1e-12)


@given(problems())
def test_gradient_bound_is_attained(case):
    problem, _ = case
    longest = int(np.linalg.norm(problem.features, axis=1).argmax())
    far = -1e4 * problem.features[longest] * (problem.targets[longest] if problem.loss is LOGISTIC else 1)
    assert np.linalg.norm(problem.gradients(far, [longest])) == pytest.approx(problem.gradient_bound, rel=1e-9)


# --- the weights and the step ----------------------------------------------------------------------------------------


@given(problems(), st.data())
def test_step_is_the_sum_of_the_appendix(case, data):
    problem, theta = case
    batch = data.draw(st.lists(st.integers(0, len(problem.targets) - 1), min_size=1, max_size=6))
    clean_gradient = np.mean([problem.gradients(theta, [i])[0] for i in range(problem.clean_size)], axis=0)
    expected = theta.copy()
    for i in batch:
        gradient = problem.gradients(theta, [i])[0]
        expected -= 0.7 / len(batch) * max(float(clean_gradient @ gradient), 0) * gradient
    np.testing.assert_allclose(step(problem, theta, np.array(batch), 0.7), expected, rtol=1e-9, atol=1e-9)


@given(st.lists(numbers, min_size=1, max_size=8))
def test_normalised_weights_are_those_of_the_package(u):
    assume(all(v == 0 or abs(v) > 1e-100 for v in u))
    expected = to_weights(torch.tensor(u, dtype=torch.float64)).numpy()
    np.testing.assert_allclose(normalised_weights(np.array(u)), expected, rtol=1e-12)


def test_weights_where_nothing_agrees():
    u = np.array([-1.0, 0.0, -2.0])
    assert normalised_weights(u).tolist() == analysed_weights(u).tolist() == [0.0, 0.0, 0.0]
    assert analysed_weights(np.array([-1.0, 3.0])).tolist() == [0.0, 1.5]


# --- Lemma 1 ---------------------------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(problems(), shares, st.data())
def test_corrected_step_lowers_the_clean_loss_by_what_the_lemma_says(case, share, data):
    problem, theta = case
    batch = np.array(data.draw(st.lists(st.integers(0, len(problem.targets) - 1), min_size=1, max_size=12)))
    alpha = share * limit(problem)
    promised = alpha / len(batch) * (1 - share) * np.sum(positive_parts(problem, theta, batch) ** 2)
    after = problem.clean_loss(step(problem, theta, batch, alpha))
    assert after <= problem.clean_loss(theta) - promised + ROUNDING


@pytest.mark.parametrize(("n", "expected"), [(1, 0.5), (2, 2.5), (5, 8.5), (10, 18.5)])
def test_printed_step_raises_the_clean_loss_of_identical_hubers(n, expected):
    problem = identical_hubers(n)
    assert (problem.smoothness, problem.gradient_bound) == (1.0, 1.0)
    alpha = printed_largest_step(problem.smoothness, problem.gradient_bound, n)
    theta = np.ones(1)
    assert problem.clean_loss(theta) == 0.5
    assert problem.clean_loss(step(problem, theta, np.arange(n), alpha)) == expected


@given(st.integers(1, 20), st.floats(1e-6, 1))
def test_no_larger_limit_would_do(n, excess):
    problem, theta = identical_hubers(n), np.ones(1)
    at_limit = step(problem, theta, slice(None), limit(problem))
    beyond = step(problem, theta, slice(None), limit(problem) * (1 + excess))
    assert problem.clean_loss(at_limit) <= 0.5 + 1e-12
    assert problem.clean_loss(beyond) > 0.5 + excess


def test_equality_at_the_limit_does_not_mean_a_critical_point():
    problem = identical_hubers(1)
    theta = step(problem, np.ones(1), [0], limit(problem))
    assert problem.clean_loss(theta) == 0.5
    assert problem.clean_gradient(theta) == -1


def test_below_the_printed_limit_a_run_can_cycle():
    problem = identical_hubers(10)
    alpha = 0.95 * printed_largest_step(1, 1, 10)
    run = descend(problem, np.ones(1), np.full(50, alpha), batch_size=10)
    np.testing.assert_allclose(run.squared_norms, 1.0)
    np.testing.assert_allclose(run.thetas[::2], 1.0)


# --- Theorem 2 -------------------------------------------------------------------------------------------------------


@given(problems(max_size=5), st.floats(0.01, 0.99), st.data())
def test_mean_over_all_batches_goes_down_as_the_proof_says(case, share, data):
    problem, theta = case
    size = len(problem.targets)
    n = data.draw(st.integers(1, size))
    alpha = share * limit(problem)
    batches = [np.array(batch) for batch in itertools.combinations(range(size), n)]
    after = np.mean([problem.clean_loss(step(problem, theta, batch, alpha)) for batch in batches])
    fourth_power = np.sum(problem.clean_gradient(theta) ** 2) ** 2
    gain = alpha * (1 - share) * problem.clean_size / size * fourth_power
    assert after <= problem.clean_loss(theta) - gain + ROUNDING


@settings(max_examples=50, deadline=None)
@given(problems(), st.floats(0.05, 0.95))
def test_rate_holds_along_full_batch_runs(case, share):
    problem, theta = case
    alpha = share * limit(problem)
    run = descend(problem, theta, np.full(60, alpha), len(problem.targets))
    constant = rate_constant(
        alpha,
        problem.smoothness,
        problem.gradient_bound,
        run.clean_losses[0],
        problem.clean_size / len(problem.targets),
    )
    smallest = np.minimum.accumulate(run.squared_norms[:-1])
    assert (smallest <= constant / np.sqrt(np.arange(1, 61)) + ROUNDING).all()
    assert (np.diff(run.clean_losses) <= ROUNDING).all()


@pytest.mark.parametrize(("clean_size", "strangers"), [(10, 0), (1, 9), (2, 8)])
def test_rate_is_nearly_attained(clean_size, strangers):
    """So a constant that is smaller by three per cent, or without its factor N / M, would fail."""
    steps, alpha, share = 4000, 0.02, clean_size / 10
    y = np.concatenate([np.zeros(clean_size), np.full(strangers, 1e6)])
    problem = Problem(np.ones((10, 1)), y, clean_size)
    start = np.array([1 + alpha * steps * share])
    run = descend(problem, start, np.full(steps, alpha), batch_size=10)
    bound = rate_constant(alpha, 1, 1, problem.clean_loss(start), share) / np.sqrt(steps)
    assert 0.96 < run.squared_norms[:-1].min() / bound <= 1


def noisy_logistic(seed, clean_size=10, size=40):
    rng = np.random.default_rng(seed)
    y = rng.choice([-1.0, 1.0], size)
    x = rng.normal(size=(size, 2)) + np.outer(y, [1.0, 0.0])
    y[clean_size:] *= rng.choice([-1.0, 1.0], size - clean_size)
    return Problem(x, y, clean_size, LOGISTIC)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("batch_size", [1, 8])
def test_rates_hold_for_means_over_batch_orders(seed, batch_size):
    problem, start, steps = noisy_logistic(seed), np.zeros(2), 100
    L, sigma, gap, share = problem.smoothness, problem.gradient_bound, np.log(2), 1 / 4
    alpha = limit(problem) / 2
    alphas = np.full(steps, np.sqrt(2 * gap / (L * sigma**2 * steps)))
    for chosen, weighting, bound in (
        (np.full(steps, alpha), analysed_weights, rate_constant(alpha, L, sigma, gap, share) / np.sqrt(steps)),
        (alphas, normalised_weights, normalised_bound(alphas, L, sigma, gap, share)),
    ):
        runs = [descend(problem, start, chosen, batch_size, order, weighting) for order in range(10)]
        assert 0 < np.mean([run.squared_norms[:-1] for run in runs], axis=0).min() <= bound


@settings(max_examples=50, deadline=None)
@given(problems(), st.lists(st.floats(1e-3, 10), min_size=1, max_size=30))
def test_normalised_bound_holds_along_full_batch_runs(case, alphas):
    problem, theta = case
    size = len(problem.targets)
    run = descend(problem, theta, alphas, size, weighting=normalised_weights)
    share = problem.clean_size / size
    bound = normalised_bound(alphas, problem.smoothness, problem.gradient_bound, run.clean_losses[0], share)
    assert run.squared_norms[:-1].min() <= bound + ROUNDING


def test_formulas_of_the_bounds():
    assert largest_step(4.0, 0.5) == 2.0
    assert printed_largest_step(4.0, 0.5, 3) == 6.0
    # sqrt(gap N / (M alpha (1 - L alpha sigma^2 / 2))) with L = sigma = 1
    assert rate_constant(1.0, 1.0, 1.0, gap=2.0, clean_share=0.25) == pytest.approx(4.0)
    # (gap + L sigma^2 / 2 * sum alphas^2) N / (M sum alphas)
    assert normalised_bound([1.0, 2.0], 2.0, 1.0, gap=1.0, clean_share=0.5) == pytest.approx(4.0)


def test_constant_step_with_normalised_weights_does_not_come_to_rest():
    problem = Problem(np.ones((2, 1)), np.array([0.9, -0.9]), clean_size=2)
    levels = []
    for alpha in (0.1, 0.05):
        run = descend(problem, np.array([1.5]), np.full(400, alpha), 2, weighting=normalised_weights)
        assert (np.diff(run.clean_losses)[-100:] > 0).any()
        levels.append(np.abs(run.thetas[-100:]).mean())
    assert levels[0] / levels[1] == pytest.approx(2, rel=0.2)
    decaying = 0.1 / np.sqrt(np.arange(1, 401))
    late = descend(problem, np.array([1.5]), decaying, 2, weighting=normalised_weights).thetas[-100:]
    assert np.abs(late).mean() < 0.3 * levels[0]


# --- runs ------------------------------------------------------------------------------------------------------------


def test_descend_records_every_point():
    problem = noisy_logistic(0)
    run = descend(problem, np.zeros(2), [0.1, 0.2, 0.3], batch_size=40)
    theta = np.zeros(2)
    for t, alpha in enumerate([0.1, 0.2, 0.3, 0.0]):
        np.testing.assert_allclose(run.thetas[t], theta, rtol=1e-12)
        assert run.clean_losses[t] == pytest.approx(problem.clean_loss(theta))
        assert run.squared_norms[t] == pytest.approx(np.linalg.norm(problem.clean_gradient(theta)) ** 2)
        theta = step(problem, theta, slice(None), alpha)
    assert len(run.thetas) == len(run.clean_losses) == len(run.squared_norms) == 4


def test_descend_draws_uniform_batches_without_repeats():
    # Example i moves theta by a power of ten of its own, so the move tells which examples were in the batch.
    x = 10.0 ** np.arange(4)[:, None]
    problem = Problem(x, np.zeros(4), clean_size=4)
    start = np.array([1e4])  # on the straight parts: gradients x_i, whose mean is that of G
    alpha = 2 / x.mean()
    moves = [start - descend(problem, start, [alpha], 2, seed).thetas[1] for seed in range(2400)]
    drawn = [f"{round(float(move[0])):07d}" for move in moves]
    pairs = {f"{a + b:07d}": 0 for a, b in itertools.combinations([1, 100, 10**4, 10**6], 2)}
    for batch in drawn:
        pairs[batch] += 1
    assert all(300 < count < 500 for count in pairs.values()), pairs  # 400 expected, standard deviation 18


def test_seed_decides_the_batches():
    problem = noisy_logistic(2)
    runs = [descend(problem, np.zeros(2), np.ones(5), 4, seed).thetas for seed in (0, 0, 1)]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones(3), np.ones(3), 1), "of shape"),
        ((np.ones((3, 2)), np.ones(2), 1), "of shape"),
        ((np.full((3, 2), np.nan), np.ones(3), 1), "finite"),
        ((np.ones((3, 2)), np.ones(3), 0), "clean_size must lie in 1..3, not 0"),
        ((np.ones((3, 2)), np.ones(3), 4), "clean_size must lie in 1..3, not 4"),
        ((np.ones((3, 2)), np.zeros(3), 1, LOGISTIC), "-1 or 1"),
    ],
)
def test_problem_refuses_what_is_not_one(arguments, message):
    with pytest.raises(ValueError, match=message):
        Problem(*arguments)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: largest_step(0.0, 1.0), "must be positive"),
        (lambda: largest_step(1.0, float("nan")), "must be positive"),
        (lambda: printed_largest_step(1.0, 1.0, 0), "batch_size must be at least 1"),
        (lambda: rate_constant(2.0, 1.0, 1.0, 1.0, 1.0), "strictly between"),
        (lambda: rate_constant(0.0, 1.0, 1.0, 1.0, 1.0), "strictly between"),
        (lambda: rate_constant(1.0, 1.0, 1.0, -1.0, 1.0), "gap"),
        (lambda: rate_constant(1.0, 1.0, 1.0, 1.0, 1.5), "clean_share"),
        (lambda: normalised_bound([], 1.0, 1.0, 1.0, 1.0), "alphas"),
        (lambda: normalised_bound([0.1, 0.0], 1.0, 1.0, 1.0, 1.0), "alphas"),
        (lambda: descend(identical_hubers(3), np.ones(1), [0.1], 4), "batch_size must lie in 1..3, not 4"),
        (lambda: descend(identical_hubers(3), np.ones(1), [0.1], 0), "batch_size must lie in 1..3, not 0"),
    ],
)
def test_arguments_out_of_range(call, message):
    with pytest.raises(ValueError, match=message):
        call()
