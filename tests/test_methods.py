"""Each method has the property that its equation or its name promises."""

import pytest
import torch
from architectures import make_case
from torch import nn

from l2rw_core import methods
from l2rw_core.alignment import alignment
from l2rw_core.models import Mlp
from l2rw_core.reweight import to_weights

COUNTS = torch.tensor([5, 95])


def build(name, model=None, counts=COUNTS, total_steps=100, lr=0.1):
    model = model or Mlp([4, 8, 3]).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    return methods.get(name)(model, optimizer, nn.CrossEntropyLoss(reduction="none"), counts, total_steps)


@pytest.mark.parametrize("name", methods.METHODS)
def test_a_step_follows_the_gradient_of_the_weights_it_reports(name):
    case, expected = make_case("mlp"), make_case("mlp")
    counts = torch.bincount(case.batch[1], minlength=3)
    method = build(name, case.model, counts)
    torch.manual_seed(1)
    update = method.step(case.batch, case.clean, 3)
    assert float(update.weights.sum()) == pytest.approx(1)
    assert (update.weights >= 0).all()
    losses = expected.loss_fn(expected.model(case.batch[0]), case.batch[1])
    assert torch.allclose(update.losses, losses)
    (update.weights * losses).sum().backward()
    for p, q in zip(case.model.parameters(), expected.model.parameters(), strict=True):
        torch.testing.assert_close(p.detach(), q.detach() - 0.1 * q.grad, rtol=1e-9, atol=1e-12)


def test_only_l2rw_looks_at_the_clean_set():
    for name, kind in methods.METHODS.items():
        case, other = make_case("mlp", 1), make_case("mlp", 1)
        counts = torch.bincount(case.batch[1], minlength=3)
        updates = []
        for c, clean in ((case, case.clean), (other, (-case.clean[0], case.clean[1].roll(1)))):
            torch.manual_seed(7)
            updates.append(build(name, c.model, counts).step(c.batch, clean, 0))
        assert torch.equal(updates[0].weights, updates[1].weights) != kind.uses_clean


def test_baseline_weighs_all_alike():
    w = build("baseline").weights(torch.rand(8), torch.ones(8).long(), 0)
    assert w.tolist() == [1 / 8] * 8


def test_l2rw_is_the_package_method():
    case, other = make_case("mlp"), make_case("mlp")
    update = build("l2rw", case.model).step(case.batch, case.clean, 0)
    u = alignment(other.model, other.loss_fn, other.batch, other.clean)[1]
    assert torch.equal(update.weights, to_weights(u))


def test_random_weights_are_rectified_gaussians():
    torch.manual_seed(0)
    method = build("random")
    draws = torch.stack([method.weights(torch.rand(50), torch.ones(50).long(), k) for k in range(400)])
    assert float((draws == 0).double().mean()) == pytest.approx(0.5, abs=0.02)
    torch.testing.assert_close(draws.sum(1), torch.ones(400))
    ratio = float(draws.square().mean() / draws.mean().square())  # for max(z, 0): (1/2) / (1/(2 pi)) = pi
    assert ratio == pytest.approx(torch.pi, rel=0.1)


def test_proportion_gives_every_class_the_same_total():
    labels = torch.tensor([0] * 5 + [1] * 95)
    w = build("proportion").weights(torch.rand(100), labels, 0)
    assert float(w[:5].sum()) == pytest.approx(0.5)
    assert float(w.sum()) == pytest.approx(1)
    assert w[:5].unique().numel() == 1


def test_resample_balances_every_batch_and_forgets_nobody():
    labels = torch.tensor([0] * 5 + [1] * 95)
    stream = methods.get("resample").batches(labels, 20, seed=3)
    seen = [stream.indices(step) for step in range(19)]
    assert all(torch.bincount(labels[chosen]).tolist() == [10, 10] for chosen in seen)
    counts = torch.bincount(torch.cat(seen), minlength=100)
    assert counts[:5].tolist() == [38] * 5
    assert counts[5:].tolist() == [2] * 95
    assert torch.equal(stream.indices(7), seen[7])
    assert not torch.equal(methods.get("resample").batches(labels, 20, seed=4).indices(0), seen[0])


def test_resample_with_a_batch_that_classes_do_not_divide():
    labels = torch.arange(3).repeat_interleave(torch.tensor([2, 30, 7]))
    chosen = methods.get("resample").batches(labels, 10, seed=0).indices(5)
    assert torch.bincount(labels[chosen]).tolist() == [4, 3, 3]


def test_hard_mining_takes_the_majority_examples_of_highest_loss():
    """The released code compares the batch mean with itself here and takes the first ones instead."""
    labels = torch.tensor([1, 1, 0, 1, 1, 0, 1])
    losses = torch.tensor([0.1, 5.0, 0.2, 0.3, 4.0, 9.0, 0.4])
    w = build("hard_mining").weights(losses, labels, 0)
    assert w.tolist() == [0, 0.25, 0.25, 0, 0.25, 0.25, 0]


def test_hard_mining_draws_larger_batches():
    assert len(methods.get("hard_mining").batches(torch.zeros(4990), 100, 0).indices(0)) == 500
    assert len(methods.get("hard_mining").batches(torch.zeros(60), 100, 0).indices(0)) == 60


def test_hard_mining_without_a_rare_example_still_trains():
    w = build("hard_mining").weights(torch.tensor([0.5, 2.0, 1.0]), torch.ones(3).long(), 0)
    assert w.tolist() == [0, 1, 0]


def test_self_paced_starts_with_the_easiest_and_ends_with_all():
    losses = torch.tensor([3.0, 1.0, 4.0, 2.0])
    method = build("self_paced", total_steps=11)
    assert method.weights(losses, torch.ones(4).long(), 0).tolist() == [0, 0.5, 0, 0.5]
    assert method.weights(losses, torch.ones(4).long(), 10).tolist() == [0.25] * 4


def test_unknown_method_lists_the_valid_ones():
    with pytest.raises(ValueError, match=r"'l2rv'; choose one of baseline, .*l2rw"):
        methods.get("l2rv")
