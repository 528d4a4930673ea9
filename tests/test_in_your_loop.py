"""What people bring to a loop of their own: losses of many shapes, parameters that are special, and training tricks."""

import copy

import pytest
import torch
import torch.nn.functional as F
from architectures import Branching, TiedLanguageModel
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from l2rw_core import Reweighter
from l2rw_core.models import Mlp
from l2rw_core.scoring import score

CROSS_ENTROPY = nn.CrossEntropyLoss(reduction="none")
N, M, LENGTH = 6, 4, 5
IGNORED = -100


class Tagger(nn.Module):
    """A masked language model of one Transformer layer whose output layer is the embedding."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(9, 8)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, batch_first=True)
        self.output = nn.Linear(8, 9)
        self.output.weight = self.embed.weight

    def forward(self, tokens):
        return self.output(self.encoder(self.embed(tokens)))


class LowRank(nn.Module):
    """A frozen linear layer and what is learned beside it (LoRA): ``B A x``, of rank 2, zero at the beginning."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.A = nn.Parameter(torch.randn(2, layer.in_features) / 2)
        self.B = nn.Parameter(torch.zeros(layer.out_features, 2))

    def forward(self, x):
        return self.layer(x) + x @ self.A.T @ self.B.T


def adapted():
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    return nn.Sequential(LowRank(model[0]), model[1], LowRank(model[2]))


def token_loss(logits, tokens):
    """(n, length, K), (n, length) -> (n,): the mean over the tokens that are not ignored; 0 where there are none."""
    each = F.cross_entropy(logits.transpose(1, 2), tokens, reduction="none", ignore_index=IGNORED)
    return each.sum(1) / (tokens != IGNORED).sum(1).clamp(min=1)


def pixel_loss(logits, mask):
    """(n, K, height, width), (n, height, width) -> (n,): the mean over pixels."""
    return F.cross_entropy(logits, mask, reduction="none").flatten(1).mean(1)


def label_set_loss(logits, labels):
    """(n, K), (n, K) -> (n,): the mean over labels."""
    return F.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(1)


def gaussian_loss(outputs, targets):
    """(n, 2), (n,) -> (n,): negative log-likelihood of a mean and a logarithm of a variance."""
    return F.gaussian_nll_loss(outputs[:, 0], targets, outputs[:, 1].exp(), reduction="none")


def numbers(n):
    return torch.randn(n, 4)


def classes(n):
    return torch.randint(3, (n,))


def masked(n):
    tokens = torch.randint(9, (n, LENGTH))
    return tokens.where(torch.rand(n, LENGTH) < 0.5, IGNORED)


CASES = {
    "squared error": (lambda: Mlp([4, 8, 1], nn.Tanh), nn.MSELoss(reduction="none"), numbers, torch.randn),
    "Huber": (lambda: Mlp([4, 8, 1], nn.Tanh), nn.HuberLoss(reduction="none", delta=0.5), numbers, torch.randn),
    "Gaussian likelihood": (lambda: Mlp([4, 8, 2], nn.Tanh), gaussian_loss, numbers, torch.randn),
    "several labels": (
        lambda: Mlp([4, 8, 5], nn.Tanh),
        label_set_loss,
        numbers,
        lambda n: torch.randint(2, (n, 5)).to(torch.get_default_dtype()),
    ),
    "masked tokens": (Tagger, token_loss, lambda n: torch.randint(9, (n, LENGTH)), masked),
    "pixels": (
        lambda: nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), nn.ReLU(), nn.Upsample(scale_factor=2), nn.Conv2d(4, 3, 1)),
        pixel_loss,
        lambda n: torch.rand(n, 1, 6, 6),
        lambda n: torch.randint(3, (n, 6, 6)),
    ),
    "frozen, unused and shared": (Branching, CROSS_ENTROPY, numbers, classes),
    "tied": (TiedLanguageModel, CROSS_ENTROPY, lambda n: torch.randint(11, (n, 5)), lambda n: torch.randint(11, (n,))),
    "low-rank adapters": (adapted, CROSS_ENTROPY, numbers, classes),
}


@pytest.fixture(params=CASES)
def case(request):
    return made(request.param)


@pytest.fixture(autouse=True)
def _double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def made(name, seed=0):
    build, loss_fn, inputs, targets = CASES[name]
    torch.manual_seed(seed)
    model = build()
    return model, loss_fn, (inputs(N), targets(N)), (inputs(M), targets(M))


def sgd(model, **options):
    return torch.optim.SGD(model.parameters(), **{"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1} | options)


def gradient(model, loss):
    """Of all trainable parameters, one after the other; zero where the loss does not reach."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    found = torch.autograd.grad(loss, trainable, allow_unused=True)
    return torch.cat(
        [(torch.zeros_like(p) if g is None else g).flatten() for p, g in zip(trainable, found, strict=True)]
    )


def unlike(model, other):
    return {n for (n, p), q in zip(model.named_parameters(), other.parameters(), strict=True) if not torch.equal(p, q)}


def test_alignments_are_inner_products_of_gradients_taken_one_by_one(case):
    model, loss_fn, (x, y), (cx, cy) = case
    v = gradient(model, loss_fn(model(cx), cy).mean())
    expected = torch.stack([gradient(model, loss_fn(model(x[[i]]), y[[i]])[0]) @ v for i in range(N)])
    found = score(model, loss_fn, (x, y), (cx, cy))
    assert found.engine == "forward"
    assert expected.abs().max() > 0
    torch.testing.assert_close(found.alignment, expected, rtol=1e-10, atol=1e-12)


def test_step_and_loss_follow_the_gradient_of_the_weighted_losses(case):
    model, loss_fn, (x, y), clean = case
    by_step, by_loss = copy.deepcopy(model), copy.deepcopy(model)
    weights = Reweighter(by_step, sgd(by_step), loss_fn).step((x, y), clean).weights
    optimizer = sgd(by_loss)
    Reweighter(by_loss, None, loss_fn).loss((x, y), clean).backward()
    optimizer.step()
    assert not unlike(by_step, by_loss)
    assert weights.any()
    optimizer = sgd(model)
    (weights @ loss_fn(model(x), y)).backward()
    optimizer.step()
    for p, q in zip(by_step.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "still"),
    [
        ("frozen, unused and shared", {"frozen.weight", "unreached.weight", "unreached.bias"}),
        ("low-rank adapters", {f"{i}.layer.{part}" for i in (0, 2) for part in ("weight", "bias")}),
    ],
)
def test_what_is_frozen_or_unused_stays_and_all_else_moves(name, still):
    model, loss_fn, batch, clean = made(name)
    before = copy.deepcopy(model)
    reweighter = Reweighter(model, sgd(model), loss_fn)
    for _ in range(3):
        reweighter.step(batch, clean)
    assert unlike(model, before) == {name for name, _ in model.named_parameters()} - still


def test_freezing_all_that_the_optimizer_holds_is_refused_and_ends_with_unfreezing():
    model, loss_fn, batch, clean = made("low-rank adapters")
    for p in model.parameters():
        p.requires_grad_(True)
    first = model[0]
    reweighter = Reweighter(model, sgd(first), loss_fn)
    before = copy.deepcopy(model)
    first.requires_grad_(False)
    with pytest.raises(ValueError, match=r"holds none of the model's trainable parameters.*unfreeze"):
        reweighter.step(batch, clean)
    assert not unlike(model, before)
    assert reweighter.steps == 0
    first.requires_grad_(True)
    reweighter.step(batch, clean)
    assert {name.split(".")[0] for name in unlike(model, before)} == {"0"}


def test_a_token_that_is_ignored_has_no_part():
    model, loss_fn, (x, y), clean = made("masked tokens")
    expected = score(model, loss_fn, (x, y), clean)
    y[2] = IGNORED
    found = score(model, loss_fn, (x, y), clean)
    others = torch.arange(N) != 2
    assert found.losses[2] == found.alignment[2] == 0
    torch.testing.assert_close(found.alignment[others], expected.alignment[others])


def test_a_loss_for_each_token_is_refused():
    model, _, batch, clean = made("masked tokens")
    with pytest.raises(ValueError, match=r"one loss per example, shape \(4,\) for this clean batch, got \(4, 5\)"):
        Reweighter(model, None, lambda z, y: F.cross_entropy(z.transpose(1, 2), y, reduction="none")).loss(batch, clean)


# Tricks ----------------------------------------------------------------------------------------------------------


TURNED = 1000


def opposed(outputs, targets):
    """A loss that falls where that of the clean batch rises, for a batch that `turned` has marked."""
    losses = CROSS_ENTROPY(outputs, targets % TURNED)
    return losses if targets[0] < TURNED else 0 * losses - losses.mean()


def turned(batch):
    """The same batch, whose examples get no weight beside itself as the clean batch."""
    inputs, labels = batch
    return inputs, labels + TURNED


def parts(count):
    """The same network twice, and batches."""
    torch.manual_seed(0)
    model = Mlp([4, 8, 3], nn.Tanh)
    batches = [(numbers(N), classes(N)) for _ in range(count)]
    return model, copy.deepcopy(model), batches


def test_accumulated_gradients_are_the_mean_over_micro_batches_and_one_without_weight_adds_nothing():
    model, other, batches = parts(3)
    reweighter = Reweighter(model, None, opposed)
    for k, batch in enumerate(batches):
        (reweighter.loss(turned(batch) if k == 1 else batch, batch) / 3).backward()
    found = torch.cat([p.grad.flatten() for p in model.parameters()])
    expected = 0
    for k in (0, 2):
        single = Reweighter(other, None, CROSS_ENTROPY)
        expected += gradient(other, single.loss(batches[k], batches[k])) / 3
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_clipping_bounds_the_gradient_of_the_weighted_loss():
    model, other, (batch,) = parts(1)
    optimizer = sgd(model, lr=1.0, momentum=0, weight_decay=0)
    whole = gradient(other, Reweighter(other, None, CROSS_ENTROPY).loss(batch, batch))
    Reweighter(model, None, CROSS_ENTROPY).loss(batch, batch).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.01)
    optimizer.step()
    moved = torch.cat([(q - p).detach().flatten() for p, q in zip(model.parameters(), other.parameters(), strict=True)])
    torch.testing.assert_close(moved, 0.01 * whole / whole.norm(), rtol=1e-4, atol=1e-12)
    assert whole.norm() > 0.01


def test_a_gradient_scaler_leaves_out_an_update_without_any_gradient():
    """The condition is the one that chapter 12 and the page of questions give."""
    model, other, batches = parts(4)
    scaler, optimizer = torch.amp.GradScaler("cpu"), sgd(model)
    scaled = Reweighter(model, None, opposed)
    for k, batch in enumerate(batches):
        scaler.scale(scaled.loss(turned(batch) if k == 1 else batch, batch)).backward()
        if any(p.grad is not None for p in model.parameters()):
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 0.05)
            scaler.step(optimizer)
            scaler.update()
        optimizer.zero_grad()
    plain, optimizer = Reweighter(other, None, opposed), sgd(other)
    for k, batch in enumerate(batches):
        plain.loss(turned(batch) if k == 1 else batch, batch).backward()
        nn.utils.clip_grad_norm_(other.parameters(), 0.05)
        optimizer.step()
        optimizer.zero_grad()
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-14)


def test_a_gradient_scaler_stops_where_that_condition_is_not_asked():
    model, _, (batch,) = parts(1)
    scaler, optimizer = torch.amp.GradScaler("cpu"), sgd(model)
    scaler.scale(Reweighter(model, None, opposed).loss(turned(batch), batch)).backward()
    with pytest.raises(AssertionError, match="No inf checks"):
        scaler.step(optimizer)


def test_a_schedule_moves_with_the_steps_whether_they_have_weight_or_not():
    model, _, batches = parts(6)
    optimizer = sgd(model)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    reweighter, rates, moved = Reweighter(model, optimizer, opposed), [], []
    for k, batch in enumerate(batches):
        before = copy.deepcopy(model)
        rates.append(optimizer.param_groups[0]["lr"])
        reweighter.step(turned(batch) if k == 2 else batch, batch)
        schedule.step()
        moved.append(bool(unlike(model, before)))
    assert rates == [0.1 / 2**k for k in range(6)]
    assert moved == [True, True, False, True, True, True]


def test_averaged_parameters_are_those_of_the_steps():
    model, _, batches = parts(4)
    reweighter = Reweighter(model, sgd(model), CROSS_ENTROPY)
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.7))
    expected = None
    for batch in batches:
        reweighter.step(batch, batch)
        averaged.update_parameters(model)
        flat = torch.cat([p.detach().flatten() for p in model.parameters()])
        expected = flat if expected is None else 0.7 * expected + 0.3 * flat
    found = torch.cat([p.detach().flatten() for p in averaged.module.parameters()])
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
