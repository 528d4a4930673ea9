"""The study of sources runs, decides as it says, and what is on record was decided so."""

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("transformers", reason="transformers is not installed: the extra 'transformers' brings it")
pytest.importorskip("accelerate", reason="accelerate is not installed: the extra 'transformers' brings it")

from benchmarks.audits import read
from benchmarks.language import (
    AFTERWARDS,
    METHODS,
    TUNING,
    Arguments,
    Choice,
    Scale,
    decide,
    draw,
    pretrained,
    quality,
    rows_of,
    run_missing,
    scores,
    shares_of,
)
from benchmarks.made_language import OTHERS

ROOT = Path(__file__).parents[2]
RECORD = read(ROOT / "data" / "results" / "benchmarks" / "language.jsonl")
TINY = Scale(200, 4, 40, 8, 10, 8, (0, 1, 2), 2, (1e-3, 1e-2), (0.5,), 16)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Arguments of a tiny study, and its lines."""
    path = tmp_path_factory.mktemp("language") / "language.jsonl"
    arguments = Arguments(["misleading"], 1, TINY, path)
    return arguments, list(run_missing(arguments))


def test_a_study_tunes_then_tries_and_is_not_run_again(recorded):
    arguments, (tuning, trial) = recorded
    assert (tuning["trial"], trial["trial"]) == (TUNING, 0)
    assert [run["method"] for run in tuning["runs"]] == [m for m in METHODS for _ in TINY.rates]
    afterwards = {f"{method}, then target" for method in AFTERWARDS}
    assert {run["method"] for run in trial["runs"]} == set(METHODS) | afterwards
    assert [line["case"] for line in read(arguments.results)] == ["misleading -1", "misleading 0"]
    assert list(run_missing(arguments)) == []


def test_what_follows_begins_where_the_held_out_loss_was_least(recorded):
    runs = {run["method"]: run for run in recorded[1][1]["runs"]}
    for method in AFTERWARDS:
        assert runs[f"{method}, then target"]["held_out"][0] == min(runs[method]["held_out"])
    assert len({run["held_out"][0] for method, run in runs.items() if method in METHODS}) == 1


def test_weights_are_shares_of_the_sources(recorded):
    runs = {run["method"]: run for run in recorded[1][1]["runs"]}
    assert runs["uniform"]["weight"] == [0.25] * 4
    assert runs["oracle"]["weight"] == [1, 0, 0, 0]
    assert sum(runs["l2rw"]["weight"]) == pytest.approx(1, abs=1e-3)
    assert "weight" not in runs["target"]


def test_scores_are_inner_products_with_the_mean_gradient_of_the_target_examples():
    sample, model = draw("useless", 0, TINY), pretrained(TINY)
    parameters = list(model.parameters())

    def gradient(texts):
        loss = model(input_ids=texts.words, labels=texts.labels).loss
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)])

    each = [gradient(sample.target.of(torch.tensor([k]))) for k in range(len(sample.target.words))]
    mean, u = torch.stack(each).mean(0), scores(model, sample)
    for row in (0, 15, 35):
        assert float(u[row]) == pytest.approx(float(gradient(sample.pool.of(torch.tensor([row]))) @ mean), rel=1e-3)
    kept = rows_of("selection", Choice(1e-3, 0.25), sample, u)
    assert len(kept) == 10
    assert u[kept].min() >= np.delete(u.numpy(), kept.numpy()).max()


def test_a_loss_is_never_far_below_that_of_the_dialect_itself():
    sample = draw("useless", 0, TINY)
    assert 1 < sample.floor < quality(pretrained(TINY), sample.test)[0]


def test_shares_count_every_source():
    assert shares_of(torch.tensor([1.0, 3.0]), torch.tensor([2, 0])) == [0.75, 0, 0.25, 0]


def test_on_record_rates_and_shares_are_those_that_the_tuning_trial_decided():
    for setting in OTHERS:
        lines = {line["trial"]: line for line in RECORD if line["setting"] == setting}
        assert len(lines) > 5
        decided = decide(lines.pop(TUNING)["runs"])
        for line in lines.values():
            runs = {run["method"]: run for run in line["runs"]}
            for method, (choice,) in decided.items():
                assert (runs[method]["rate"], runs[method]["share"]) == choice
