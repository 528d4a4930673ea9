"""Each method has the property that its equation or its name promises."""

import copy

import numpy as np
import pytest
import torch
from architectures import make_case
from torch import nn
from torch.func import functional_call

from l2rw_core import methods
from l2rw_core.datasets import BackgroundFlip, CleanSet, Examples, PairImbalance, load, make_split
from l2rw_core.methods import Minibatch, Task
from l2rw_core.methods.by_label import log_probabilities
from l2rw_core.models import Mlp
from l2rw_core.scoring import alignment
from l2rw_core.weights import to_weights

LABELS = torch.tensor([0] * 5 + [1] * 95)
OWN_LOSS = {
    *("reed_soft", "reed_hard", "s_model", "s_model_conf", "focal", "gce", "sce", "label_smoothing", "elr"),
    *("logit_adjustment", "ldam_drw", "clean_mixed"),
}
"""Methods whose gradient is not that of weighted cross-entropies of the training batch."""
UNNORMALISED = {"meta_weight_net", "inverse_frequency"}
OWN_STEP = {"clean_only", "adam_ahead"}
"""Methods that do not move against the gradient of weighted losses."""


def build(name, model=None, labels=LABELS, total_steps=100, lr=0.1, **knowledge):
    model = model or Mlp([4, 8, 3]).double()
    kind = torch.optim.AdamW if name == "adam_ahead" else torch.optim.SGD
    optimizer = kind(model.parameters(), lr=lr, weight_decay=0.0)
    task = Task(labels, max(3, int(labels.max()) + 1), total_steps, **knowledge)
    return methods.get(name)(model, optimizer, nn.CrossEntropyLoss(reduction="none"), task)


def build_for(name, case):
    """The method on a case's own batch as its whole training set."""
    knowledge = {"share_right": torch.tensor([0.3, 1.0, 0.8]), "confusion": torch.full((3, 3), 1 / 3)}
    return build(name, case.model, case.batch[1], **knowledge)


def minibatch(case):
    return Minibatch(*case.batch, torch.arange(len(case.batch[1])))


def batch_of(labels):
    labels = torch.as_tensor(labels)
    return Minibatch(torch.zeros(len(labels), 1), labels, torch.arange(len(labels)))


@pytest.mark.parametrize("name", sorted(set(methods.METHODS) - OWN_LOSS - OWN_STEP))
def test_a_step_follows_the_gradient_of_the_weights_it_reports(name):
    case, expected = make_case("mlp"), make_case("mlp")
    method = build_for(name, case)
    torch.manual_seed(1)
    update = method.step(minibatch(case), case.clean, 3)
    if name not in UNNORMALISED:
        assert float(update.weights.sum()) == pytest.approx(1)
    assert (update.weights >= 0).all()
    losses = expected.loss_fn(expected.model(case.batch[0]), case.batch[1])
    assert torch.allclose(update.losses, losses)
    (update.weights * losses).sum().backward()
    for p, q in zip(case.model.parameters(), expected.model.parameters(), strict=True):
        torch.testing.assert_close(p.detach(), q.detach() - 0.1 * q.grad, rtol=1e-9, atol=1e-12)


def test_uses_clean_says_who_looks_at_the_clean_set():
    for name, kind in methods.METHODS.items():
        case, other = make_case("mlp", 1), make_case("mlp", 1)
        x, y = case.batch
        for c, clean in ((case, (x, y)), (other, (x, (y + 1) % 3))):  # its loss falls, or rises
            method = build_for(name, c)
            for step in (0, 24, 49, 74, 99):
                torch.manual_seed(7)
                method.step(minibatch(c), clean, step)
        same = all(torch.equal(p, q) for p, q in zip(case.model.parameters(), other.model.parameters(), strict=True))
        assert same != kind.uses_clean, name


@pytest.mark.parametrize("name", methods.METHODS)
def test_what_a_method_remembers_survives_a_copy(name):
    """Five steps in a row, or three, a new object with the state of the old one, and two more: the same."""
    case, other = make_case("mlp", 1), make_case("mlp", 1)
    torch.manual_seed(0)
    method = build_for(name, case)
    torch.manual_seed(0)
    resumed = build_for(name, other)
    for step in range(5):
        for c, m in ((case, method), (other, resumed)):
            torch.manual_seed(step)
            m.step(minibatch(c), c.clean, 40 + step)
        if step == 2:
            state, moments = copy.deepcopy(resumed.state_dict()), copy.deepcopy(resumed.optimizer.state_dict())
            resumed = build_for(name, other)
            resumed.optimizer.load_state_dict(moments)
            resumed.load_state_dict(state)
    for p, q in zip(case.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(p, q)


def test_baseline_weighs_all_alike():
    w = build("baseline").weights(torch.rand(8), batch_of([1] * 8), 0)
    assert w.tolist() == [1 / 8] * 8


def test_l2rw_is_the_package_method():
    case, other = make_case("mlp"), make_case("mlp")
    update = build("l2rw", case.model).step(minibatch(case), case.clean, 0)
    u = alignment(other.model, other.loss_fn, other.batch, other.clean)[1]
    assert torch.equal(update.weights, to_weights(u))


def stepped(name, theta, losses, epsilon, optimizer):
    """Parameters after the optimizer's own step on sum of epsilon_i f_i, by its formulas, with a graph in epsilon."""
    g = torch.autograd.grad((epsilon * losses).sum(), list(theta.values()), create_graph=True)
    group, after = optimizer.param_groups[0], {}
    for (key, p), d in zip(theta.items(), g, strict=True):
        state, lr, decay = optimizer.state[p], group["lr"], group["weight_decay"]
        if name == "momentum_ahead":
            after[key] = p - lr * (group["momentum"] * state["momentum_buffer"] + d + decay * p)
            continue
        (b1, b2), t = group["betas"], int(state["step"]) + 1
        m, v = b1 * state["exp_avg"] + (1 - b1) * d, b2 * state["exp_avg_sq"] + (1 - b2) * d**2
        step = m / (1 - b1**t) / ((v / (1 - b2**t)).sqrt() + group["eps"])
        after[key] = p * (1 - lr * decay) - lr * step
    return after


@pytest.mark.parametrize("name", ["momentum_ahead", "adam_ahead"])
def test_looking_through_the_optimizer_is_differentiating_through_its_step(name):
    """Against autograd through the formulas of its step, with moments and decay in it."""
    case = make_case("mlp")
    method = build_for(name, case)
    for group in method.optimizer.param_groups:
        group.update({"weight_decay": 0.1} | ({"momentum": 0.9} if name == "momentum_ahead" else {}))
    for step in range(3):  # fills the moments
        method.step(minibatch(case), case.clean, step)
    theta = dict(case.model.named_parameters())
    epsilon = torch.zeros(len(case.batch[1]), dtype=torch.float64, requires_grad=True)
    losses = case.loss_fn(functional_call(case.model, theta, (case.batch[0],)), case.batch[1])
    ahead = stepped(name, theta, losses, epsilon, method.optimizer)
    clean_loss = case.loss_fn(functional_call(case.model, ahead, (case.clean[0],)), case.clean[1]).mean()
    (slope,) = torch.autograd.grad(clean_loss, epsilon)
    update = method.step(minibatch(case), case.clean, 3)
    lr = method.optimizer.param_groups[0]["lr"]
    torch.testing.assert_close(update.alignment, -slope / lr, rtol=1e-7, atol=1e-12)
    plain = alignment(case.model, case.loss_fn, case.batch, case.clean)[1]
    assert not torch.allclose(update.alignment, plain, rtol=1e-2), "the optimizer makes a difference"


@pytest.mark.parametrize(("name", "optimizer"), [("momentum_ahead", "adamw"), ("adam_ahead", "sgd")])
def test_looking_through_another_optimizer_is_refused(name, optimizer):
    model = Mlp([4, 8, 3])
    kind = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[optimizer]
    with pytest.raises(ValueError, match="train with optimizer"):
        methods.get(name)(model, kind(model.parameters(), lr=0.1), nn.CrossEntropyLoss(reduction="none"), None)


@pytest.mark.parametrize(("name", "moves"), [("l2rw", False), ("l2rw_unskipped", True)])
def test_a_step_without_an_agreeing_example_is_skipped_or_not(name, moves):
    """The clean example is the training example with another label, so that their gradients disagree."""
    case = make_case("mlp", 1)
    method = build(name, case.model)
    method.optimizer.param_groups[0]["momentum"] = 0.9
    method.step(minibatch(case), case.batch, 0)
    before = [(p.detach().clone(), method.optimizer.state[p]["momentum_buffer"].clone()) for p in theta_of(case)]
    x, y = (part[:1] for part in case.batch)
    update = method.step(Minibatch(x, y, torch.zeros(1, dtype=torch.int64)), (x, (y + 1) % 3), 1)
    assert update.alignment < 0
    assert not update.weights.any()
    for p, (old, buffer) in zip(theta_of(case), before, strict=True):
        torch.testing.assert_close(p.detach(), old - 0.1 * 0.9 * buffer if moves else old, rtol=1e-9, atol=1e-12)


def theta_of(case):
    return list(case.model.parameters())


def test_random_weights_are_rectified_gaussians():
    torch.manual_seed(0)
    method = build("random")
    draws = torch.stack([method.weights(torch.rand(50), batch_of([1] * 50), k) for k in range(400)])
    assert float((draws == 0).double().mean()) == pytest.approx(0.5, abs=0.02)
    torch.testing.assert_close(draws.sum(1), torch.ones(400))
    ratio = float(draws.square().mean() / draws.mean().square())  # for max(z, 0): (1/2) / (1/(2 pi)) = pi
    assert ratio == pytest.approx(torch.pi, rel=0.1)


def test_clean_only_is_plain_training_on_the_clean_set():
    case, expected = make_case("mlp"), make_case("mlp")
    assert build("clean_only", case.model).step(minibatch(case), case.clean, 0).weights is None
    expected.loss_fn(expected.model(case.clean[0]), case.clean[1]).mean().backward()
    for p, q in zip(case.model.parameters(), expected.model.parameters(), strict=True):
        torch.testing.assert_close(p.detach(), q.detach() - 0.1 * q.grad)


def test_proportion_gives_every_class_the_same_total():
    w = build("proportion").weights(torch.rand(100), batch_of(LABELS), 0)
    assert float(w[:5].sum()) == pytest.approx(0.5)
    assert float(w.sum()) == pytest.approx(1)
    assert w[:5].unique().numel() == 1


def test_class_weights_of_the_textbook_have_mean_one_over_the_data_and_not_over_the_batch():
    method = build("inverse_frequency")
    w = method.weights(torch.rand(100), batch_of(LABELS), 0)
    assert float(w[:5].sum()) == pytest.approx(0.5)
    assert float(w.sum()) == pytest.approx(1)
    frequent = method.weights(torch.rand(10), batch_of([1] * 10), 0)
    assert float(frequent.sum()) == pytest.approx(100 / (2 * 95))


def test_resample_balances_every_batch_and_forgets_nobody():
    stream = methods.get("resample").batches(LABELS, 20, seed=3)
    seen = [stream.indices(step) for step in range(19)]
    assert all(torch.bincount(LABELS[chosen]).tolist() == [10, 10] for chosen in seen)
    counts = torch.bincount(torch.cat(seen), minlength=100)
    assert counts[:5].tolist() == [38] * 5
    assert counts[5:].tolist() == [2] * 95
    assert torch.equal(stream.indices(7), seen[7])
    assert not torch.equal(methods.get("resample").batches(LABELS, 20, seed=4).indices(0), seen[0])


def test_resample_with_a_batch_that_classes_do_not_divide():
    labels = torch.arange(3).repeat_interleave(torch.tensor([2, 30, 7]))
    chosen = methods.get("resample").batches(labels, 10, seed=0).indices(5)
    assert torch.bincount(labels[chosen]).tolist() == [4, 3, 3]


def test_resample_refuses_a_batch_that_cannot_hold_every_class():
    with pytest.raises(ValueError, match="a batch of 2 cannot hold an example of each of 3 classes: raise batch_size"):
        methods.get("resample").batches(torch.arange(6) % 3, 2, seed=0)


def test_smote_fills_the_rare_class_with_points_between_its_own():
    pytest.importorskip("imblearn")
    train = make_split(load("digits"), (PairImbalance(4, 9, 0.9, 120),), CleanSet(10)).train
    filled = methods.get("smote").training_set(train, seed=0)
    assert np.ptp(filled.class_counts(2)) == 0
    assert np.array_equal(filled.x[: len(train)], train.x)
    made = filled.x[len(train) :].astype(float)
    assert set(filled.y[len(train) :]) == {0}
    assert not filled.flipped.any()
    rare = train.x[train.y == 0].astype(float)
    distance = np.inf
    for a in rare:  # the first one made lies on a segment between two of the class
        for b in rare:
            along = np.clip(((made[0] - a) * (b - a)).sum() / max(((b - a) ** 2).sum(), 1e-9), 0, 1)
            distance = min(distance, np.abs(a + along * (b - a) - made[0]).max())
    assert distance <= 2  # grey levels of 255: what rounding leaves


def test_smote_leaves_balanced_data_alone():
    pytest.importorskip("imblearn")
    x = np.zeros((6, 2, 2, 1), np.uint8)
    examples = Examples(x, np.arange(6) % 2, np.arange(6) % 2, np.arange(6))
    assert methods.get("smote").training_set(examples, 0) is examples


def test_hard_mining_takes_the_majority_examples_of_highest_loss():
    """The released code compares the batch mean with itself here and takes the first ones instead."""
    losses = torch.tensor([0.1, 5.0, 0.2, 0.3, 4.0, 9.0, 0.4])
    w = build("hard_mining", labels=torch.tensor([0, 1, 1, 2, 2])).weights(losses, batch_of([1, 1, 0, 1, 1, 0, 1]), 0)
    assert w.tolist() == [0, 0.25, 0.25, 0, 0.25, 0.25, 0]


def test_hard_mining_draws_larger_batches():
    assert len(methods.get("hard_mining").batches(torch.zeros(4990), 100, 0).indices(0)) == 500
    assert len(methods.get("hard_mining").batches(torch.zeros(60), 100, 0).indices(0)) == 60


def test_hard_mining_without_a_rare_example_still_trains():
    method = build("hard_mining", labels=torch.tensor([0, 1, 1, 2, 2]))
    assert method.weights(torch.tensor([0.5, 2.0, 1.0]), batch_of([1, 1, 1]), 0).tolist() == [0, 1, 0]


def test_hard_mining_means_the_rarest_class_that_is_there():
    method = build("hard_mining", labels=torch.tensor([0, 2, 2]))  # none of class 1
    assert method.weights(torch.tensor([0.5, 2.0, 1.0]), batch_of([0, 2, 2]), 0).tolist() == [0.5, 0.5, 0]


def test_self_paced_starts_with_the_easiest_and_ends_with_all():
    losses = torch.tensor([3.0, 1.0, 4.0, 2.0])
    method = build("self_paced", total_steps=11)
    assert method.weights(losses, batch_of([1] * 4), 0).tolist() == [0, 0.5, 0, 0.5]
    assert method.weights(losses, batch_of([1] * 4), 10).tolist() == [0.25] * 4


def test_focal_loss_is_that_of_its_paper():
    outputs, y = torch.randn(7, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2, 0])
    p = outputs.softmax(1)[torch.arange(7), y]
    torch.testing.assert_close(build("focal").objective(outputs, y), -((1 - p) ** 2) * p.log())


def test_active_bias_weighs_by_the_spread_of_past_predictions():
    """By hand: three visits of two examples, one steady and one swinging."""
    method = build("active_bias", labels=torch.tensor([0, 1]), total_steps=10)
    p = torch.tensor([[0.5, 0.1], [0.5, 0.9], [0.5, 0.5]], dtype=torch.float64)
    for step, row in enumerate(p):
        assert method.weights(-row.log(), batch_of([0, 1]), step).tolist()[0] <= 0.5
    variance = float(p[:, 1].var())
    deviation = (variance + variance**2 / 2) ** 0.5
    scores = torch.tensor([0.0, deviation], dtype=torch.float64) + deviation / 2
    w = method.weights(-p[0].log(), batch_of([0, 1]), 9)
    torch.testing.assert_close(w, scores / scores.sum())
    with pytest.raises(ValueError, match="positions"):
        method.weights(-p[0].log(), Minibatch(torch.zeros(2, 1), torch.tensor([0, 1])), 9)


def test_active_bias_begins_with_equal_weights():
    method = build("active_bias", labels=torch.tensor([0, 1]), total_steps=100)
    for step in range(20):
        assert method.weights(torch.rand(2), batch_of([0, 1]), step).tolist() == [0.5, 0.5]


def test_mentornet_pd_weighs_linearly_between_the_threshold_and_twice_it():
    method = build("mentornet_pd", total_steps=10)
    losses = torch.tensor([0.0, 0.5, 1.0, 1.0, 1.0, 1.5, 2.0, 3.0])
    method.threshold = 1.0
    method.memory = 1.0
    w = method.weights(losses, batch_of([1] * 8), 5)
    v = torch.tensor([1, 1, 1, 1, 1, 0.5, 0, 0])
    torch.testing.assert_close(w, v / v.sum())
    assert method.weights(losses, batch_of([1] * 8), 1).tolist() == [1 / 8] * 8


def test_mentornet_pd_threshold_is_a_moving_percentile():
    method = build("mentornet_pd", total_steps=10)
    losses = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0])
    method.weights(losses, batch_of([1] * 5), 0)
    assert method.threshold == 3.0
    method.weights(2 * losses, batch_of([1] * 5), 1)
    assert method.threshold == pytest.approx(0.95 * 3 + 0.05 * 6)


@pytest.mark.parametrize(("name", "beta"), [("reed_soft", 0.95), ("reed_hard", 0.8)])
def test_bootstrapping_is_cross_entropy_with_a_mixed_target(name, beta):
    outputs = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    y = torch.tensor([0, 1, 2, 0, 1, 2])
    p = outputs.detach().softmax(1)
    own = p if name == "reed_soft" else nn.functional.one_hot(p.argmax(1), 3)
    target = beta * nn.functional.one_hot(y, 3) + (1 - beta) * own
    expected = nn.functional.cross_entropy(outputs, target, reduction="none")
    found = build(name).objective(outputs, y)
    torch.testing.assert_close(found, expected)
    (of_found,) = torch.autograd.grad(found.sum(), outputs, retain_graph=True)
    (of_expected,) = torch.autograd.grad(expected.sum(), outputs)  # none flows through the target
    torch.testing.assert_close(of_found, of_expected)


def test_two_classes_with_one_output_have_the_same_probabilities():
    z = torch.randn(9, dtype=torch.float64)
    torch.testing.assert_close(log_probabilities(z), torch.stack([torch.zeros(9).double(), z], 1).log_softmax(1))


def test_s_model_is_the_likelihood_of_a_noisy_label():
    method = build("s_model")
    outputs, y = torch.randn(6, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2])
    transition = method.matrix.softmax(1)
    expected = -(outputs.softmax(1) @ transition)[torch.arange(6), y].log()
    torch.testing.assert_close(method.objective(outputs, y), expected)
    assert float(transition.detach().diagonal().min()) == pytest.approx(1.001 / 1.003)


def test_s_model_finds_the_flips_when_the_model_is_right():
    """With a model that knows every class, the matrix turns into the true transition matrix."""
    torch.manual_seed(0)
    true = torch.tensor([[0.6, 0.4, 0.0], [0.0, 1.0, 0.0], [0.0, 0.4, 0.6]])
    classes = torch.randint(3, (3000,))
    given = torch.multinomial(true[classes], 1)[:, 0]
    model = nn.Linear(3, 3, bias=False).requires_grad_(False)
    model.weight.copy_(20 * torch.eye(3))
    method = methods.get("s_model")(
        model, torch.optim.SGD(model.parameters(), lr=3.0), nn.CrossEntropyLoss(reduction="none"), Task(given, 3, 1)
    )
    batch = Minibatch(nn.functional.one_hot(classes, 3).float(), given)
    for step in range(300):
        method.step(batch, None, step)
    torch.testing.assert_close(method.matrix.detach().softmax(1), true, atol=0.05, rtol=0)


def test_s_model_conf_starts_from_the_confusion():
    confusion = torch.tensor([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0], [0.3, 0.3, 0.4]])
    start = build("s_model_conf", confusion=confusion).matrix.softmax(1)
    torch.testing.assert_close(start.detach(), confusion.double(), atol=2e-3, rtol=0)
    with pytest.raises(ValueError, match=r"needs task\.confusion"):
        build("s_model_conf")


@pytest.mark.parametrize("classes", [10, 100])
def test_weighted_has_the_right_constant_for_any_number_of_classes(classes):
    n = 200 * classes
    labels = np.arange(n) % classes
    examples = Examples(np.zeros((n, 1, 1, 1), np.uint8), labels, labels, np.arange(n))
    flipped = BackgroundFlip(0.4, 3).apply(examples, np.random.default_rng(0), classes)
    counts, right = np.bincount(flipped.y), np.bincount(flipped.y[~flipped.flipped])
    method = build("weighted", labels=torch.from_numpy(flipped.y), share_right=torch.from_numpy(right / counts))
    w = method.weights(torch.rand(4), batch_of([3, 0, 1, 2]), 0)
    expected = (1 / classes) / (0.4 + 0.6 / classes)
    assert float(w[0] / w[1]) == pytest.approx(expected, rel=0.02)
    with pytest.raises(ValueError, match="oracle"):
        build("weighted").weights(torch.rand(4), batch_of([3, 0, 1, 2]), 0)


@pytest.mark.parametrize("name", ["meta_weight_net", "meta_weight_net_normalised"])
def test_meta_weight_net_learns_by_the_exact_gradient_through_the_virtual_step(name):
    """Against autograd through an explicit look-ahead, as its paper defines it."""
    case = make_case("mlp")
    method = build_for(name, case)
    reference = copy.deepcopy(method.net)
    theta = dict(case.model.named_parameters())
    losses = case.loss_fn(functional_call(case.model, theta, (case.batch[0],)), case.batch[1])
    values = reference(losses.detach()[:, None])[:, 0]
    weights = values / (values.sum() if name.endswith("normalised") else len(values))
    g = torch.autograd.grad((weights * losses).sum(), list(theta.values()), create_graph=True)
    ahead = {name: p - 0.1 * d for (name, p), d in zip(theta.items(), g, strict=True)}
    clean_loss = case.loss_fn(functional_call(case.model, ahead, (case.clean[0],)), case.clean[1]).mean()
    expected = torch.autograd.grad(clean_loss, list(reference.parameters()))
    method.step(minibatch(case), case.clean, 0)
    for p, g in zip(method.net.parameters(), expected, strict=True):
        torch.testing.assert_close(p.grad, g, rtol=1e-9, atol=1e-14)


def test_meta_weight_net_takes_a_model_with_a_parameter_that_it_does_not_use():
    model = Mlp([4, 8, 3]).double()
    model.unused = nn.Parameter(torch.ones(2).double())
    case = make_case("mlp")
    method = build("meta_weight_net", model)
    method.step(Minibatch(*case.batch), case.clean, 0)
    assert torch.equal(model.unused, torch.ones(2).double())


def cross_entropies(model, batch):
    return nn.functional.cross_entropy(model(batch.x), batch.y, reduction="none")


@pytest.mark.parametrize("p", [0.9, 0.3, 1e-3])
def test_gce_pulls_as_cross_entropy_times_a_power_of_the_probability(p):
    f = torch.tensor([-np.log(p)], requires_grad=True)
    method = build("gce")
    method.loss_fn = lambda outputs, y: outputs
    loss = method.objective(f, torch.tensor([0]))
    (slope,) = torch.autograd.grad(loss.sum(), f)
    assert slope.item() == pytest.approx(p**0.7, rel=1e-5)
    assert loss.item() < 1 / 0.7


def test_sce_adds_the_other_direction_which_is_bounded():
    case = make_case("mlp")
    losses = build("sce", case.model).objective(case.model(case.batch[0]), case.batch[1])
    p = case.model(case.batch[0]).softmax(1)
    zeros_for_minus_four = torch.full_like(p, -4.0).scatter(1, case.batch[1][:, None], 0.0)
    expected = 0.1 * cross_entropies(case.model, minibatch(case)) - (p * zeros_for_minus_four).sum(1)
    torch.testing.assert_close(losses, expected)


def test_label_smoothing_is_that_of_torch():
    case = make_case("mlp")
    outputs = case.model(case.batch[0])
    expected = nn.functional.cross_entropy(outputs, case.batch[1], label_smoothing=0.1, reduction="none")
    torch.testing.assert_close(build("label_smoothing", case.model).objective(outputs, case.batch[1]), expected)


def test_elr_holds_on_to_what_was_thought_before():
    case = make_case("mlp")
    labels = case.batch[1]
    method = build_for("elr", case)
    thought = torch.zeros(len(labels), 3).double()
    thought[range(len(labels)), (labels + 1) % 3] = 1.0
    method.targets = thought.clone()
    before = case.model(case.batch[0]).softmax(1).detach()
    expected = make_case("mlp")
    method.step(minibatch(case), case.clean, 0)
    target = 0.7 * thought + 0.3 * before
    torch.testing.assert_close(method.targets, target)
    p = expected.model(expected.batch[0]).softmax(1)
    (cross_entropies(expected.model, minibatch(expected)) + 3 * (1 - (p * target).sum(1)).log()).mean().backward()
    for q, r in zip(case.model.parameters(), expected.model.parameters(), strict=True):
        torch.testing.assert_close(q.detach(), r.detach() - 0.1 * r.grad)


def test_elr_and_co_teaching_say_what_they_lack():
    case = make_case("mlp")
    with pytest.raises(ValueError, match="positions"):
        build_for("elr", case).step(Minibatch(*case.batch), case.clean, 0)
    with pytest.raises(ValueError, match="share_right"):
        build("co_teaching")


def test_each_of_two_networks_trains_on_what_the_other_finds_easiest():
    case, expected = make_case("mlp"), make_case("mlp")
    n = len(case.batch[1])
    method = build("co_teaching", case.model, case.batch[1], share_right=torch.tensor([0.5, 0.5, 0.5]))
    peer = copy.deepcopy(method.peer)
    assert any(not torch.equal(p, q) for p, q in zip(peer.parameters(), case.model.parameters(), strict=True))
    update = method.step(minibatch(case), case.clean, 50)
    easiest = cross_entropies(peer, minibatch(case)).topk(round(n / 2), largest=False).indices
    assert set(update.weights.nonzero()[:, 0].tolist()) == set(easiest.tolist())
    assert update.weights[easiest].tolist() == pytest.approx([1 / len(easiest)] * len(easiest))
    easiest_for_peer = cross_entropies(expected.model, minibatch(case)).topk(round(n / 2), largest=False).indices
    cross_entropies(peer, minibatch(case))[easiest_for_peer].mean().backward()
    for p, q in zip(method.peer.parameters(), peer.parameters(), strict=True):
        torch.testing.assert_close(p.detach(), q.detach() - 0.1 * q.grad)


def test_co_teaching_leaves_out_more_until_it_leaves_out_as_many_as_are_wrong():
    method = build("co_teaching", total_steps=1000, share_right=torch.tensor([0.6, 0.6, 0.6]))
    kept = [int((method.weights(torch.rand(100), batch_of([1] * 100), step) > 0).sum()) for step in (0, 25, 50, 999)]
    assert kept == [100, 80, 60, 60]


def test_co_teaching_follows_the_learning_rate():
    case = make_case("mlp")
    method = build_for("co_teaching", case)
    method.optimizer.param_groups[0]["lr"] = 0.0
    before = copy.deepcopy(method.peer.state_dict())
    method.step(minibatch(case), case.clean, 0)
    assert all(torch.equal(value, before[name]) for name, value in method.peer.state_dict().items())


def test_logit_adjustment_is_cross_entropy_by_counts():
    """The balanced softmax: p_k proportional to n_k exp(output_k)."""
    case = make_case("mlp")
    labels = torch.tensor([0] * 6 + [1] * 3 + [2])
    outputs = case.model(case.batch[0])
    weighted = torch.tensor([6.0, 3.0, 1.0]) * outputs.exp()
    expected = -(weighted / weighted.sum(1, keepdim=True)).log()[range(len(outputs)), case.batch[1]]
    torch.testing.assert_close(build("logit_adjustment", labels=labels).objective(outputs, case.batch[1]), expected)


def test_logit_adjustment_of_two_classes_with_one_output_is_the_same():
    method = build("logit_adjustment", labels=torch.tensor([0] * 9 + [1]))
    method.task = Task(method.task.labels, 2, 1)
    method.__post_init__()
    output, y = torch.randn(5).double(), torch.tensor([0.0, 1, 1, 0, 1]).double()
    method.loss_fn = nn.BCEWithLogitsLoss(reduction="none")
    one = method.objective(output, y)
    method.loss_fn = nn.CrossEntropyLoss(reduction="none")
    torch.testing.assert_close(one, method.objective(torch.stack([torch.zeros(5).double(), output], 1), y.long()))


def test_ldam_takes_a_larger_margin_from_rarer_classes():
    labels = torch.tensor([0] * 16 + [1] * 1 + [2] * 81)
    method = build("ldam_drw", labels=labels)
    outputs = torch.zeros(3, 3).double()
    losses = method.objective(outputs, torch.arange(3))
    margins = [30 * 0.5 * (1 / count) ** 0.25 for count in (16, 1, 81)]
    assert losses.tolist() == pytest.approx([np.log(2 + np.exp(-m)) + m for m in margins])


def test_ldam_compares_directions_and_weighs_late():
    labels = torch.tensor([0] * 90 + [1] * 10)
    method = build("ldam_drw", labels=labels)
    x = torch.randn(4, 4).double()
    before = method.model(x)
    with torch.no_grad():
        [module for module in method.model.modules() if isinstance(module, nn.Linear)][-1].weight.mul_(7)
    torch.testing.assert_close(method.model(x), before)
    assert before.abs().max() <= 30
    early, late = (method.weights(torch.rand(2), batch_of([0, 1]), step) for step in (79, 80))
    assert early.tolist() == [0.5, 0.5]
    numbers = [(1 - 0.9999**count) / (1 - 0.9999) for count in (90, 10)]
    assert float(late[1] / late[0]) == pytest.approx(numbers[0] / numbers[1])


def test_ldam_of_two_classes_with_one_output_takes_the_margin_from_the_given_one():
    model = Mlp([4, 8, 1])
    task = Task(torch.tensor([0] * 16 + [1]), 2, 100)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    method = methods.get("ldam_drw")(model, optimizer, nn.BCEWithLogitsLoss(reduction="none"), task)
    losses = method.objective(torch.zeros(2), torch.tensor([0.0, 1.0]))
    margins = [30 * 0.5 * (1 / count) ** 0.25 for count in (16, 1)]
    assert losses.tolist() == pytest.approx([np.log1p(np.exp(-m)) + m for m in margins])


def test_ldam_refuses_a_model_that_does_not_end_in_the_classes():
    with pytest.raises(ValueError, match="one output a class"):
        build("ldam_drw", model=Mlp([4, 8, 1]))


def test_clean_images_in_every_batch_weigh_as_much_as_any_other():
    case, expected = make_case("mlp"), make_case("mlp")
    build_for("clean_mixed", case).step(minibatch(case), case.clean, 0)
    x, y = (torch.cat(pair) for pair in zip(expected.batch, expected.clean, strict=True))
    nn.functional.cross_entropy(expected.model(x), y).backward()
    for p, q in zip(case.model.parameters(), expected.model.parameters(), strict=True):
        torch.testing.assert_close(p.detach(), q.detach() - 0.1 * q.grad)


@pytest.mark.parametrize("resumed", [False, True])
def test_early_stopping_ends_with_the_parameters_of_the_lowest_clean_loss(resumed):
    """Here labels are right for half of the run, and wrong from there on."""
    case = make_case("mlp")
    (x, y), positions = case.clean, torch.arange(len(case.clean[1]))
    method, seen = build("clean_stopped", case.model, y), {}
    for step in range(100):
        method.step(Minibatch(x, y if step < 50 else (y + 1) % 3, positions), case.clean, step)
        if step % 25 == 24 and step < 99:
            loss = nn.functional.cross_entropy(case.model(x), y).item()
            seen[loss] = copy.deepcopy(case.model.state_dict())
        if resumed and step == 60:
            state = copy.deepcopy(method.state_dict())
            method = build("clean_stopped", case.model, y)
            method.load_state_dict(state)
    assert min(seen) == list(seen)[1], "the loss has to rise for the test to say anything"
    best = seen[min(seen)]
    assert all(torch.equal(value, best[name]) for name, value in case.model.state_dict().items())


def test_unknown_method_lists_the_valid_ones():
    with pytest.raises(ValueError, match=r"'l2rv'; choose one of baseline, .*l2rw"):
        methods.get("l2rv")
