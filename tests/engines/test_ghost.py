"""The engine with one backward pass: exact where it applies, and replaced where it does not."""

import copy
import warnings

import pytest
import torch
from architectures import ARCHITECTURES, Case, make_case
from torch import nn
from torch.utils.checkpoint import checkpoint

from l2rw_core import Reweighter, alignment
from l2rw_core.scoring import clean_gradient, score

APPLIES = set(ARCHITECTURES) - {"resnet32", "gru", "lstm"}


def scored(case, engine):
    torch.manual_seed(5)
    return score(case.model, case.loss_fn, case.batch, case.clean, engine)


def weighted_gradient(case, scores):
    weights = torch.arange(1.0, 8.0, dtype=torch.float64)
    parameters = [p for p in case.model.parameters() if p.requires_grad]
    return torch.autograd.grad((weights * scores.losses).sum(), parameters, allow_unused=True)


def assert_as_forward(case, engine="ghost"):
    """Alignments, losses and gradient of a weighted loss are those of the forward engine; `engine` did it."""
    found, expected = scored(case, "ghost"), scored(case, "forward")
    assert found.engine == engine
    torch.testing.assert_close(found.losses, expected.losses, rtol=1e-12, atol=0)
    torch.testing.assert_close(found.alignment, expected.alignment, rtol=1e-10, atol=1e-12)
    for mine, other in zip(weighted_gradient(case, found), weighted_gradient(case, expected), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-12)


def case_of(model, inputs, classes=3, loss_fn=None):
    """Random inputs by a function of their number, and random labels."""
    torch.manual_seed(0)
    model = model.double()
    pairs = [(inputs(k), torch.randint(classes, (k,))) for k in (7, 5)]
    return Case(model, loss_fn or nn.CrossEntropyLoss(reduction="none"), *pairs)


def vectors(n):
    return torch.randn(n, 4, dtype=torch.float64)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_alignments_and_weighted_gradient_are_exact(name):
    assert_as_forward(make_case(name), "ghost" if name in APPLIES else "forward")


class Tokens(nn.Module):
    """Embeddings with padding; positions, which are the same for every example; and a bias whose weight is frozen."""

    def __init__(self, **options):
        super().__init__()
        self.words = nn.Embedding(11, 6, padding_idx=2, **options)
        self.positions = nn.Embedding(5, 6)
        self.norm, self.out = nn.LayerNorm(6), nn.Linear(6, 3)
        self.out.weight.requires_grad_(False)

    def forward(self, tokens):
        places = torch.arange(tokens.shape[1]).unsqueeze(0)
        return self.out(self.norm(self.words(tokens) + self.positions(places)).mean(1))


def sentences(n):
    return torch.randint(11, (n, 5))


def test_padding_positions_and_frozen_weights():
    assert_as_forward(case_of(Tokens(), sentences))


def test_convolutions_of_every_kind():
    model = nn.Sequential(
        nn.Conv1d(2, 4, 3, stride=2, padding=1, dilation=2, groups=2),
        nn.ReLU(inplace=True),
        nn.Conv1d(4, 3, 3, bias=False),
        nn.Unflatten(1, (1, 3)),
        nn.Conv2d(1, 2, (2, 3)),
        nn.Unflatten(1, (1, 2)),
        nn.Conv3d(1, 2, (2, 1, 3)),
        nn.Flatten(),
        nn.LazyLinear(3),
    ).double()
    images = lambda n: torch.randn(n, 2, 24, dtype=torch.float64)  # noqa: E731
    model(images(2))
    assert_as_forward(case_of(model, images))


class Attending(nn.Module):
    """A Transformer layer with dropout, a token of its own, positions, and a scale by root mean squares."""

    def __init__(self, masks):
        super().__init__()
        self.masks = masks
        self.token, self.positions = nn.Parameter(torch.randn(1, 1, 8)), nn.Parameter(torch.randn(7, 8))
        self.scale, self.out = nn.Parameter(torch.rand(8) + 0.5), nn.Linear(8, 3)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.2, batch_first=True, norm_first="norm" in masks)

    def forward(self, x):
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.positions
        x = self.scale * x / x.square().mean(-1, keepdim=True).sqrt()
        later = torch.ones(7, 7, dtype=torch.bool).triu(1) if "later" in self.masks else None
        padding = (torch.arange(7) > 4).expand(len(x), 7) if "padding" in self.masks else None
        return self.out(self.layer(x, later, padding).mean(1))


def sequences(n):
    return torch.randn(n, 6, 8, dtype=torch.float64)


@pytest.mark.parametrize("masks", ["", "later", "padding", "later and padding", "norm first"])
def test_transformers_with_every_kind_of_mask(masks):
    case = case_of(Attending(masks), sequences)
    assert_as_forward(case)
    exact = scored(case, "reverse")
    torch.testing.assert_close(scored(case, "ghost").alignment, exact.alignment, rtol=1e-10, atol=1e-12)


def test_a_batch_of_one_leaves_the_clean_gradient_alone():
    """A token of its own is no copy there unless it is made one."""
    case = case_of(Attending(""), sequences)
    given = clean_gradient(case.model, case.loss_fn, case.clean)
    before = {name: g.clone() for name, g in given.gradient.items()}
    one = tuple(part[:1] for part in case.batch)
    alignments = []
    for engine in ("ghost", "reverse"):
        torch.manual_seed(5)
        scores = score(case.model, case.loss_fn, one, given, engine)
        assert scores.engine == engine
        alignments.append(scores.alignment)
        assert all(torch.equal(g, before[name]) for name, g in given.gradient.items())
    torch.testing.assert_close(*alignments, rtol=1e-10, atol=1e-12)


class BetweenExamples(nn.Module):
    """A part of a network without parameters, so that nothing of it is seen."""

    def forward(self, x):
        return x - 0.05 * x.mean(0)


@pytest.mark.parametrize("mixer", [BetweenExamples(), nn.BatchNorm1d(8, affine=False)], ids=["mean", "batch_norm"])
def test_examples_that_interact_are_found_out(mixer):
    assert_as_forward(case_of(nn.Sequential(nn.Linear(4, 8), mixer, nn.Linear(8, 3)), vectors), "forward")


def test_what_is_found_out_holds_for_the_mode_that_it_was_found_in():
    case = case_of(nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8, affine=False), nn.Linear(8, 3)), vectors)
    assert_as_forward(case, "forward")
    case.model.eval()
    assert_as_forward(case, "ghost")


def test_a_part_in_another_mode_is_looked_at_again():
    norm = nn.BatchNorm1d(8, affine=False)
    case = case_of(nn.Sequential(nn.Linear(4, 8), norm, nn.Linear(8, 3)), vectors)
    norm.eval()
    assert_as_forward(case, "ghost")
    norm.train()
    assert_as_forward(case, "forward")


def test_a_single_example_says_nothing_about_more():
    case = case_of(nn.Sequential(nn.Linear(4, 8), BetweenExamples(), nn.Linear(8, 3)), vectors)
    x, y = case.batch
    score(case.model, case.loss_fn, (x[:1], y[:1]), case.clean, "ghost")
    assert_as_forward(case, "forward")


@pytest.mark.parametrize("engine", ["forward", "two_pass"])
def test_forward_mode_ends_at_reverse_where_an_operator_has_none(engine):
    from test_scoring import WithCustomFunction

    case = make_case("mlp")
    model = WithCustomFunction().double()
    with pytest.warns(RuntimeWarning, match="no forward-mode"):
        found = score(model, case.loss_fn, case.batch, case.clean, engine)
    assert found.engine == "reverse"


@pytest.mark.parametrize("inner", [torch.tanh, nn.Linear(6, 6).double()], ids=["no parameter", "a parameter"])
def test_checkpointed_activations(inner):
    model = nn.Sequential(nn.Linear(4, 6), Checkpointed(inner), nn.Linear(6, 3)).double()
    case = case_of(model, vectors)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, expected = scored(case, "ghost"), scored(case, "loop")
    assert found.engine == ("reverse" if isinstance(inner, nn.Module) else "ghost")
    torch.testing.assert_close(found.alignment, expected.alignment, rtol=1e-10, atol=1e-12)


class Checkpointed(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return checkpoint(self.inner, x, use_reentrant=False)


class Unusual(nn.Module):
    """A layer with a parameter, and a way to use it that has no rule."""

    def __init__(self, use):
        super().__init__()
        self.layer, self.scale, self.use = nn.Linear(4, 3), nn.Parameter(torch.ones(3)), use

    def forward(self, x):
        return self.use(self, x)


def changed_later(module, x):
    y = x * 1
    out = nn.functional.linear(y, torch.ones(3, 4, dtype=x.dtype), module.layer.bias)
    y.zero_()
    return out


@pytest.mark.parametrize(
    "use",
    [
        lambda m, x: m.layer(x) * m.scale.exp(),
        lambda m, x: m.layer(x) * (m.scale * m.scale),
        lambda m, x: m.layer(x) * (m.scale + 1),
        lambda m, x: nn.functional.linear(x, m.layer.weight * 2),
        lambda m, x: m.layer(x.repeat(2, 1))[: len(x)],
        changed_later,
    ],
    ids=["function", "product", "sum", "made from a parameter", "not examples first", "input changed in place"],
)
def test_other_uses_of_a_parameter_take_the_forward_engine(use):
    assert_as_forward(case_of(Unusual(use), vectors), "forward")


@pytest.mark.parametrize("options", [{"max_norm": 1.0}, {"scale_grad_by_freq": True}, {"sparse": True}], ids=str)
def test_embeddings_that_do_more_take_another_engine(options):
    case = case_of(Tokens(**options), sentences)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's second derivative forgets what is scaled by frequency
        found, expected = scored(case, "ghost"), scored(case, "loop")
    assert found.engine != "ghost"
    torch.testing.assert_close(found.alignment, expected.alignment, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("own_loop", [False, True], ids=["step", "loss"])
def test_training_takes_the_same_path(own_loop):
    case = make_case("group_norm")
    models = {engine: copy.deepcopy(case.model) for engine in ("ghost", "forward")}
    for engine, model in models.items():
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
        reweighter = Reweighter(model, optimizer, case.loss_fn, engine)
        for _ in range(20):
            if own_loop:
                optimizer.zero_grad()
                reweighter.loss(case.batch, case.clean).backward()
                optimizer.step()
            else:
                reweighter.step(case.batch, case.clean)
        assert reweighter.engine == engine
    for mine, other in zip(models["ghost"].parameters(), models["forward"].parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-12)


def test_losses_are_differentiated_once():
    case = make_case("mlp")
    losses, _ = alignment(case.model, case.loss_fn, case.batch, case.clean, "ghost")
    losses.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="score the batch again"):
        losses.sum().backward()


def test_autocast_is_close_to_full_precision():
    case = make_case("lenet")
    exact = scored(case, "ghost").alignment
    single = Case(case.model.float(), case.loss_fn, *((x.float(), y) for x, y in (case.batch, case.clean)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = scored(single, "ghost")
        found.losses.sum().backward()
    assert found.engine == "ghost"
    assert all(p.grad.dtype == torch.float32 for p in case.model.parameters())
    assert torch.nn.functional.cosine_similarity(found.alignment.double(), exact, dim=0) > 0.99


class Times(nn.Module):
    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(shape))

    def forward(self, x):
        return x * self.scale


SCALES = {
    "layer norm over tokens": ((4, 5), nn.Linear(5, 6), nn.LayerNorm(6)),
    "layer norm over all": ((4, 5), nn.Linear(5, 6), nn.LayerNorm((4, 6))),
    "layer norm of a vector": ((5,), nn.Linear(5, 6), nn.LayerNorm(6)),
    "group norm": ((2, 5, 5), nn.Conv2d(2, 6, 3), nn.GroupNorm(3, 6)),
    "batch norm that does not train": ((2, 5, 5), nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6).eval()),
    "a number": ((5,), nn.Linear(5, 6), Times()),
    "a vector of one": ((5,), nn.Linear(5, 6), Times(1)),
    "one for each token": ((4, 5), nn.Linear(5, 6), Times(4, 1)),
}


@pytest.mark.parametrize("name", SCALES)
def test_a_scale_is_summed_over_its_places_once(name):
    torch.manual_seed(0)
    shape, *layers = SCALES[name]
    model = nn.Sequential(*layers, nn.Tanh(), nn.Flatten(), nn.LazyLinear(3)).double()
    batch, clean = ((torch.randn(k, *shape).double(), torch.randint(3, (k,))) for k in (7, 5))
    model(batch[0])
    for p in model.parameters():
        nn.init.normal_(p)
    loss_fn = nn.CrossEntropyLoss(reduction="none")
    scores = score(model, loss_fn, batch, clean, engine="ghost")
    assert scores.engine == "ghost"
    torch.testing.assert_close(scores.alignment, alignment(model, loss_fn, batch, clean, "loop")[1])
    weights = torch.rand(7).double()
    of_tape, ordinary = (
        torch.autograd.grad((weights * losses).sum(), list(model.parameters()))
        for losses in (scores.losses, loss_fn(model(batch[0]), batch[1]))
    )
    torch.testing.assert_close(of_tape, ordinary)
