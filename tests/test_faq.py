"""The page of questions: its code runs, and what it says about the method holds."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from l2rw_core import Reweighter, to_weights
from l2rw_core.scoring import score

PAGE = Path(__file__).parents[1] / "reference" / "faq.md"
LOSS = nn.CrossEntropyLoss(reduction="none")


@pytest.fixture(scope="module")
def blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.M | re.S)


def test_the_code_of_the_page_runs_from_top_to_bottom(blocks):
    torch.manual_seed(0)
    known = {
        "torch": torch,
        "x": torch.randn(32, 20),
        "y": torch.randint(3, (32,)),
        "x_clean": torch.randn(9, 20),
        "y_clean": torch.arange(9) % 3,
    }
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), known)
    assert known["step"].weights.shape == (32,)
    assert known["pixel_loss"](torch.randn(4, 3, 5, 5), torch.zeros(4, 5, 5, dtype=torch.long)).shape == (4,)
    assert len(blocks) == 3


def test_questions_are_questions_people_asked():
    text = PAGE.read_text()
    threads = re.findall(r"https://github\.com/[\w.-]+/[\w.-]+/issues/\d+", text)
    assert len(set(threads)) >= 25
    assert len(re.findall(r"^### ", text, re.M)) >= 20


def test_chapters_that_the_page_names_exist():
    root = PAGE.parent
    for name in re.findall(r"\{doc\}`([^`<]+)`", PAGE.read_text() + (root / "glossary.md").read_text()):
        assert any((root / name).with_suffix(end).exists() for end in (".ipynb", ".md")), name


def test_glossary_is_in_alphabetical_order():
    terms = re.findall(r"^(\w[^\n]*)\n    ", (PAGE.parent / "glossary.md").read_text(), re.M)
    words = [t.lower() for t in terms if t[0].isalpha()]
    assert words == sorted(words)
    assert len(words) > 30


def alignment(model, loss_fn, batch, clean) -> torch.Tensor:
    return score(model, loss_fn, batch, clean, "forward").alignment


def problem(seed: int):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).double()
    batch = torch.randn(8, 5).double(), torch.randint(3, (8,))
    return model, batch, (torch.randn(6, 5).double(), torch.arange(6) % 3)


def test_zero_training_gradient_and_alignments_that_are_not():
    model, batch, clean = problem(0)
    epsilon = torch.zeros(8).double()
    gradient = torch.autograd.grad((epsilon * LOSS(model(batch[0]), batch[1])).sum(), model.parameters())
    assert all(not g.any() for g in gradient)
    assert alignment(model, LOSS, batch, clean).abs().min() > 0


def test_a_constant_in_the_denominator_makes_weights_depend_on_the_step_size():
    model, batch, clean = problem(1)
    u = alignment(model, LOSS, batch, clean)
    small = to_weights(1e-3 * u)
    torch.testing.assert_close(small, to_weights(u), rtol=1e-12, atol=0)
    padded = [(c * u).clamp(min=0) / ((c * u).clamp(min=0).sum() + 1e-5) for c in (1e-3, 1.0)]
    assert (padded[0] - padded[1]).abs().max() > 1e-6


def test_clean_examples_inside_the_training_batch_draw_weight_whatever_their_label():
    larger = 0
    for seed in range(20):
        model, (x, y), (x_clean, y_clean) = problem(seed)
        wrong = (y_clean + 1) % 3
        inside = torch.cat([x, x_clean]), torch.cat([y, wrong])
        w = to_weights(alignment(model, LOSS, inside, (x_clean, wrong)))
        larger += bool(w[8:].mean() > w[:8].mean())
    assert larger >= 18


def test_without_positive_alignments_nothing_moves():
    model, (x, y), _ = problem(2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    reweighter = Reweighter(model, optimizer, LOSS)
    reweighter.step((x, y), (x, y))
    before = [p.detach().clone() for p in model.parameters()]
    u = alignment(model, LOSS, (x, y), (x[:1], (y[:1] + 1) % 3))
    against = u <= 0
    assert against.any()
    step = reweighter.step((x[against], y[against]), (x[:1], (y[:1] + 1) % 3))
    assert not step.weights.any()
    assert all(torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True))
