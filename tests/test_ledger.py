"""A ledger adds up what the steps said, and the ranking made from it finds labels that are known to be wrong."""

import io
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from torch import nn

from l2rw_core import Reweighter, Step, to_weights
from l2rw_core.datasets import (
    BackgroundFlip,
    BatchStream,
    CleanSet,
    LongTail,
    UniformFlip,
    load,
    make_split,
    to_tensors,
)
from l2rw_core.ledger import QUANTITIES, WeightLedger, suspects
from l2rw_core.loops.distributed import SharedStep
from l2rw_core.models import Mlp


def step_of(u, losses=None):
    u = torch.as_tensor(u, dtype=torch.float64)
    losses = torch.ones_like(u) if losses is None else torch.as_tensor(losses)
    return Step(losses.mean(), to_weights(u), u, losses, torch.tensor(1.0))


@st.composite
def visits(draw):
    """Batches of (ids, alignments, losses) over five examples, ids repeated within a batch now and then."""
    size = draw(st.integers(1, 6))
    one = st.tuples(st.integers(0, 4), st.integers(-9, 9), st.integers(0, 9))
    return draw(st.lists(st.lists(one, min_size=size, max_size=size), min_size=1, max_size=5))


@given(visits())
@settings(max_examples=40)
def test_totals_and_means_are_those_of_a_plain_list(batches):
    ledger, kept = WeightLedger(5), {i: [] for i in range(5)}
    for batch in batches:
        ids, u, f = (list(column) for column in zip(*batch, strict=True))
        step = step_of([float(v) for v in u], [float(v) for v in f])
        ledger.record(step, torch.tensor(ids))
        for i, w, a, loss in zip(ids, step.weights.tolist(), u, f, strict=True):
            kept[i].append((len(ids) * w, a > 0, a, loss))
    assert ledger.seen.tolist() == [len(kept[i]) for i in range(5)]
    for i, rows in kept.items():
        for name, column in zip(("weight", "helpful", "influence", "loss"), zip(*rows, strict=True), strict=False):
            assert float(ledger.total(name)[i]) == pytest.approx(sum(column))
            assert float(ledger.mean(name)[i]) == pytest.approx(np.mean(column))
        if not rows:
            assert all(ledger.mean(name)[i].isnan() and ledger.recent(name)[i].isnan() for name in QUANTITIES)


def test_the_moving_average_forgets():
    ledger = WeightLedger(2, decay=0.5)
    for loss in (8.0, 4.0, 2.0):
        ledger.record(step_of([1.0], [loss]), [1])
    assert float(ledger.recent("loss")[1]) == pytest.approx(0.5 * (0.5 * 8 + 0.5 * 4) + 0.5 * 2)
    assert ledger.recent("loss")[0].isnan()


@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=9), st.floats(1e-6, 1e6))
def test_alignment_is_a_signed_share_that_does_not_know_the_scale(u, factor):
    first, second = WeightLedger(len(u)), WeightLedger(len(u))
    u = torch.tensor(u, dtype=torch.float64)
    first.record(step_of(u), range(len(u)))
    second.record(step_of(factor * u), range(len(u)))
    values = first.mean("alignment")
    torch.testing.assert_close(values, second.mean("alignment"))
    assert (values.abs() <= 1).all()
    assert torch.equal(values.sign(), u.sign())


def test_a_small_alignment_fades_by_the_median_of_its_batch_and_one_large_one_fades_no_other():
    u = [1.0, -2.0, 3.0, -4.0, 1000.0]
    ledger = WeightLedger(len(u))
    ledger.record(step_of(u), range(len(u)))
    assert ledger.mean("alignment").tolist() == pytest.approx([v / (abs(v) + 0.1 * 3.0) for v in u])


def test_an_all_zero_batch_counts_as_a_visit_without_weight():
    ledger = WeightLedger(3)
    ledger.record(step_of([-1.0, -2.0]), [0, 2])
    assert ledger.mean("weight")[[0, 2]].tolist() == [0, 0]
    assert ledger.seen.tolist() == [1, 0, 1]


def test_margins_count_only_where_logits_were_given():
    ledger = WeightLedger(3)
    ledger.record(step_of([1.0, 1.0]), [0, 1])
    logits = torch.tensor([[2.0, 5.0, 1.0], [4.0, 0.0, 3.0]])
    ledger.record(step_of([1.0, 1.0]), [1, 2], logits, torch.tensor([1, 2]))
    assert ledger.mean("margin")[1:].tolist() == [3.0, -1.0]
    assert ledger.mean("margin")[0].isnan()
    assert ledger.seen.tolist() == [1, 2, 1]


def test_a_single_logit_gives_a_signed_margin():
    ledger = WeightLedger(2)
    ledger.record(step_of([1.0, 1.0]), [0, 1], torch.tensor([3.0, 3.0]), torch.tensor([1.0, 0.0]))
    assert ledger.mean("margin").tolist() == [3.0, -3.0]


def test_saved_and_loaded_it_goes_on_as_if_never_stopped():
    rng = np.random.default_rng(0)
    batches = [(rng.permutation(6)[:4], rng.normal(size=4)) for _ in range(8)]
    whole, first, second = WeightLedger(6), WeightLedger(6), WeightLedger(6, decay=0.1)
    for ids, u in batches:
        whole.record(step_of(u), ids)
    for ids, u in batches[:3]:
        first.record(step_of(u), ids)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second.load_state_dict(torch.load(file, weights_only=True))
    for ids, u in batches[3:]:
        second.record(step_of(u), ids)
    assert second.decay == whole.decay
    for name in QUANTITIES:
        torch.testing.assert_close(whole.recent(name), second.recent(name), rtol=0, atol=0, equal_nan=True)
        torch.testing.assert_close(whole.total(name), second.total(name), rtol=0, atol=0)


GOOD = step_of([1.0, -1.0])


@pytest.mark.parametrize(
    ("ids", "step", "more", "message"),
    [
        ([0, 5], GOOD, {}, "id 5 is out of range: this ledger has 5 examples, ids go from 0 to 4"),
        ([0, -1], GOOD, {}, "id -1 is out of range"),
        (None, GOOD, {}, "the step has no ids"),
        ([0], GOOD, {}, r"1 ids need weights of shape \(1,\), got \(2,\)"),
        ([[0, 1]], GOOD, {}, r"ids must have shape \(b,\)"),
        ([], GOOD, {}, r"ids must have shape \(b,\)"),
        ([0, 1], SimpleNamespace(weights=GOOD.weights), {}, "the step has no alignment"),
        ([0, 1], SimpleNamespace(weights=[1, 0], alignment=[1, np.nan], losses=[1, 1]), {}, "alignment is NaN"),
        ([0, 1], GOOD, {"logits": torch.zeros(3, 2), "targets": [0, 1]}, "2 ids need logits"),
        ([0, 1], GOOD, {"logits": torch.zeros(2, 2), "targets": [0, 2]}, "targets must lie between 0 and 1"),
        ([0, 1], GOOD, {"logits": torch.full((2, 2), np.inf), "targets": [0, 1]}, "logits are NaN or infinite"),
        ([0, 1], GOOD, {"logits": torch.zeros(2, 1), "targets": [0, 0]}, r"\(2, 1\) leave no other .*squeeze\(1\)"),
        ([0, 1], GOOD, {"logits": torch.zeros(2, 0), "targets": [0, 0]}, r"\(2, 0\) leave no other class"),
        ([0, 1], GOOD, {"logits": torch.zeros(2, 2)}, r"logits need targets, .*: record\(step, logits="),
        ([0, 1], GOOD, {"logits": torch.zeros(2, 2), "targets": [0, 0.5]}, "whole numbers from 0 to 1, got 0.5: give"),
        ([0, 1], GOOD, {"logits": torch.zeros(2), "targets": [0, np.nan]}, "whole numbers from 0 to 1, got nan"),
        ([0, 1], GOOD, {"logits": torch.zeros(2, 2), "targets": ["u", "v"]}, "targets must be whole numbers, got list"),
    ],
)
def test_a_wrong_step_is_refused_and_leaves_the_ledger_alone(ids, step, more, message):
    ledger = WeightLedger(5)
    ledger.record(GOOD, [3, 4])
    before = ledger.state_dict()
    with pytest.raises(ValueError, match=message):
        ledger.record(step, ids, **more)
    for name, value in ledger.state_dict().items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(before[name])), name


def test_whole_numbers_are_targets_whatever_their_type():
    for targets in ([0, 1], np.array([0.0, 1.0]), torch.tensor([False, True])):
        ledger = WeightLedger(2)
        ledger.record(GOOD, [0, 1], torch.tensor([-1.0, 3.0]), targets)
        assert ledger.total("margin").tolist() == [1.0, 3.0]


@pytest.mark.parametrize("ids", [[0.0, 1.0], [True, False], ["p1", "p2"]])
def test_ids_are_integers(ids):
    with pytest.raises(TypeError, match="ids must be integers"):
        WeightLedger(5).record(GOOD, ids)


def test_a_foreign_state_is_refused():
    ledger = WeightLedger(5)
    ledger.record(GOOD, [3, 4])
    before = ledger.total("loss")
    for state, message in (
        ({}, "lacks n"),
        (WeightLedger(4).state_dict(), "of 4 examples"),
        (WeightLedger(5).state_dict() | {"sums": torch.zeros(3)}, "damaged: sums"),
    ):
        with pytest.raises(ValueError, match=message):
            ledger.load_state_dict(state)
    assert torch.equal(ledger.total("loss"), before)


@pytest.mark.parametrize(("n", "decay"), [(0, 0.9), (True, 0.9), (2.5, 0.9), (3, 1.0), (3, -0.1)])
def test_impossible_ledgers_are_refused(n, decay):
    with pytest.raises(ValueError, match="must"):
        WeightLedger(n, decay)


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        ([0], {}, r"labels must have shape \(2,\)"),
        ([0, 1], {"predicted": [1]}, r"predicted must have shape \(2,\)"),
        (np.array(["2020-01-01", "NaT"], "datetime64[D]"), {}, r"labels\[1\] is NaT: give every example a label"),
        ([0, 1], {"predicted": ["0", "1"]}, "predicted like .*'0'.*: write both alike, or no label would agree"),
        (["0", "1"], {"predicted": [0, 1]}, "labels are like .*'0'.* and predicted like .*0.*: write both alike"),
        ([0, 1], {"by": "charm"}, "unknown signal 'charm'; choose one of both, alignment"),
        ([0, 1], {"by": "margin"}, "the ledger holds no margin: record steps first, with logits"),
        ([0, 1], {"reference": 0}, "reference must lie between 0 and 1"),
    ],
)
def test_suspects_refuses_what_it_cannot_use(labels, options, message):
    ledger = WeightLedger(2)
    ledger.record(GOOD, [0, 1])
    with pytest.raises(ValueError, match=message):
        suspects(ledger, labels, **options)
    with pytest.raises(ValueError, match="holds no alignment: record steps first"):
        suspects(WeightLedger(2), [0, 1])


@pytest.mark.parametrize("kind", [torch.long, torch.bfloat16])
def test_labels_of_any_tensor_are_taken(kind):
    ledger = WeightLedger(3)
    ledger.record(step_of([1.0, -1.0, -2.0]), [0, 1, 2])
    labels = torch.tensor([0, 1, 1], dtype=kind)
    labels = labels.requires_grad_() if kind.is_floating_point else labels
    assert suspects(ledger, labels)["given_label"].sort_index().tolist() == [0, 1, 1]


def test_the_table_has_cleanlabs_columns_and_its_ids():
    ledger = WeightLedger(4)
    ledger.record(step_of([1.0, -1.0, -2.0]), [0, 1, 2])
    table = suspects(ledger, list("abaa"), predicted=list("abba"))
    assert list(table.columns[:4]) == ["given_label", "predicted_label", "label_score", "is_label_issue"]
    assert table.index.name == "id"
    assert table.index[0] == 2
    assert table.loc[2, "is_label_issue"]
    assert not table.loc[1, "is_label_issue"], "the model agrees with this label"
    assert table.index[-1] == 3
    assert np.isnan(table.loc[3, "label_score"])
    assert not table.loc[3, "is_label_issue"]
    assert "predicted_label" not in suspects(ledger, list("abaa"))


def trained(biases, seed=0, steps=400):
    """A ledger of digits under known biases, and the split that knows which labels are wrong."""
    split = make_split(load("digits"), biases, CleanSet(size=50), seed)
    (x, y), (cx, cy) = to_tensors(split.train), to_tensors(split.clean)
    torch.manual_seed(seed)
    model = Mlp([64, 64, 10])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    reweighter = Reweighter(model, optimizer, nn.CrossEntropyLoss(reduction="none"))
    stream, ledger = BatchStream(len(y), 100, seed), WeightLedger(len(y))
    for number in range(steps):
        ids = stream.indices(number)
        step = reweighter.step((x[ids], y[ids]), (cx, cy), ids)
        with torch.no_grad():
            logits = model(x[ids])
        ledger.record(step, logits=logits, targets=y[ids])
    return ledger, split


def area(ledger, split, **options):
    """Area under the ROC curve of `suspects` for the labels that are wrong."""
    score = suspects(ledger, split.train.y, **options)["label_score"].sort_index()
    return roc_auc_score(~split.train.flipped, score)


@pytest.fixture(scope="module")
def uniform():
    return trained((UniformFlip(0.4),))


@pytest.mark.parametrize(("by", "least"), [("alignment", 0.93), ("loss", 0.93), ("margin", 0.93), ("weight", 0.75)])
def test_the_ranking_finds_flipped_labels(uniform, by, least):
    assert area(*uniform, by=by) > least


BIASES = {
    "uniform": (UniformFlip(0.4),),
    "few wrong": (UniformFlip(0.1),),
    "one class flooded": (BackgroundFlip(0.4, 3),),
    "long tail": (LongTail(20), UniformFlip(0.2)),
    "long tail, one class flooded": (LongTail(20), BackgroundFlip(0.2, 3)),
}


@pytest.mark.parametrize("biases", BIASES.values(), ids=BIASES)
def test_the_default_ranks_as_well_as_the_best_of_what_it_is_made_of(biases):
    ledger, split = trained(biases, steps=300)
    of_loss = roc_auc_score(split.train.flipped, ledger.mean("loss"))
    of_alignment = roc_auc_score(~split.train.flipped, ledger.mean("alignment"))
    assert area(ledger, split) > max(of_loss, of_alignment) - 0.015
    assert area(ledger, split, by="loss") == pytest.approx(of_loss)


def test_flagged_labels_are_mostly_wrong_and_few_wrong_ones_are_missed(uniform):
    ledger, split = uniform
    issue = suspects(ledger, split.train.y)["is_label_issue"].sort_index().to_numpy()
    assert split.train.flipped[issue].mean() > 0.8
    assert issue[split.train.flipped].mean() > 0.8


def shifted_classes(share_wrong):
    """Two classes far apart in alignment, a third of wrong labels in one and `share_wrong` of them in the other."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [300, 30])
    wrong = rng.random(330) < np.where(labels, share_wrong, 1 / 3)
    ledger = WeightLedger(330)
    for _ in range(40):
        helps = rng.random(330) < np.where(labels, 0.9, 0.5) - 0.4 * wrong
        ledger.record(step_of(np.where(helps, 1.0, -1.0)), range(330))
    return ledger, labels, wrong


@pytest.mark.parametrize("share_wrong", [0.1, 1 / 3, 0.8])
def test_no_class_is_suspect_or_excused_as_a_whole(share_wrong):
    """Under imbalance a balanced clean set lets the frequent class look harmful, whether its labels are right."""
    ledger, labels, wrong = shifted_classes(share_wrong)
    score = suspects(ledger, labels)["label_score"].sort_index()
    assert roc_auc_score(~wrong, score) > 0.98
    across = np.where(labels, wrong, ~wrong)  # wrong labels of the one class beside right ones of the other
    assert roc_auc_score(labels[across] == 0, score[across]) > 0.95
    assert roc_auc_score(labels[across] == 0, ledger.mean("alignment")[across]) < 0.75
    right = [score[(labels == c) & ~wrong].median() for c in (0, 1)]
    assert abs(right[0] - right[1]) < 0.1


def test_conditioning_on_the_class_helps_in_a_long_tail():
    ledger, split = trained((LongTail(20), UniformFlip(0.2)))
    assert area(ledger, split) > max(0.7, roc_auc_score(~split.train.flipped, ledger.mean("alignment")))


def test_importing_the_package_does_not_import_the_audit():
    code = "import sys, l2rw_core; assert not {'pandas', 'l2rw_core.audit'} & set(sys.modules), 'heavy'"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_equal_share_is_1_also_where_a_batch_lies_in_several_processes():
    u, losses = torch.ones(2), torch.ones(2)
    ledger = WeightLedger(2)
    weights = torch.full((2,), 1 / 8)
    ledger.record(SharedStep(losses.mean(), weights, u, losses, torch.tensor(1.0), examples_of_all=8), [0, 1])
    assert ledger.mean("weight").tolist() == [1, 1]
