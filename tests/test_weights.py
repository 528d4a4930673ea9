"""Weights obey equations (8) and (9)."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from l2rw_core.weights import positive_part, scaled, to_weights

finite = st.integers(-(10**9), 10**9).map(lambda k: k / 1000)


@given(st.lists(finite, min_size=1, max_size=30))
def test_weights_are_the_positive_parts_scaled_to_sum_to_one(values):
    u = torch.tensor(values, dtype=torch.float64)
    w = to_weights(u)
    assert (w >= 0).all()
    assert torch.equal(w == 0, u <= 0)
    assert float(w.sum()) == pytest.approx(1.0 if (u > 0).any() else 0.0, abs=1e-12)
    for i, j in zip(range(len(u)), range(1, len(u)), strict=False):
        if u[i] > 0 and u[j] > 0:
            assert float(w[i] * u[j]) == pytest.approx(float(w[j] * u[i]), rel=1e-9)


@given(st.lists(finite, min_size=1, max_size=10), st.floats(1e-3, 1e3))
def test_weights_do_not_depend_on_the_scale_of_the_scores(values, factor):
    u = torch.tensor(values, dtype=torch.float64)
    torch.testing.assert_close(to_weights(factor * u), to_weights(u), rtol=1e-9, atol=1e-12)


def test_weights_are_detached():
    u = torch.tensor([1.0, -1.0, 3.0], requires_grad=True)
    w = to_weights(u)
    assert not w.requires_grad
    assert w.tolist() == [0.25, 0.0, 0.75]


@pytest.mark.parametrize(
    "u", [torch.tensor([]), torch.ones(2, 2), torch.tensor([1.0, torch.nan]), torch.tensor([torch.inf])]
)
def test_impossible_scores_are_refused(u):
    with pytest.raises(ValueError, match="alignments"):
        to_weights(u)


@given(st.lists(finite, min_size=2, max_size=20), st.integers(1, 19))
def test_shares_of_a_batch_get_the_weights_of_the_whole(values, cut):
    u = torch.tensor(values, dtype=torch.float64)
    shares = [positive_part(part) for part in (u[:cut], u[cut:]) if len(part)]
    total = sum(part.sum() for part in shares)
    whole = torch.cat([scaled(part, total) for part in shares])
    torch.testing.assert_close(whole, to_weights(u), rtol=1e-12, atol=1e-15)


def test_a_total_of_another_precision_leaves_the_weights_in_theirs():
    assert scaled(torch.ones(2), torch.tensor(4.0, dtype=torch.float64)).tolist() == [0.25, 0.25]
    assert scaled(torch.ones(2).half(), torch.tensor([4.0], dtype=torch.float64)).dtype == torch.half


def test_what_is_not_checked_passes_and_keeps_its_shape():
    u = torch.tensor([1.0, torch.nan, -2.0], requires_grad=True)
    positive = positive_part(u, checked=False)
    assert not positive.requires_grad
    assert positive[0] == 1
    assert positive[1].isnan()
    assert positive[2] == 0
