"""The comparison of rankings is on record, and the page shows it, with what was lost."""

from pathlib import Path

import numpy as np

from benchmarks.audit_data import CASES, build
from benchmarks.audits import METHODS, _plain_columns, latest, read, table
from l2rw_core.audit import Images, encode

ROOT = Path(__file__).parents[2]
LINES = read(ROOT / "data" / "results" / "benchmarks" / "audits.jsonl")


def test_the_page_shows_what_is_on_record():
    assert table(LINES) in (ROOT / "reference" / "api" / "audit.md").read_text()
    assert all(set(line["methods"]) == set(METHODS) for line in LINES)


def test_the_measured_ranking_is_close_to_the_best_of_the_others_everywhere():
    lines = latest(LINES)
    for name in {line["case"] for line in lines}:
        trials = [line["methods"] for line in lines if line["case"] == name]
        means = {method: np.mean([trial[method]["auroc"] for trial in trials]) for method in METHODS}
        assert means.pop("measured") > max(means.values()) - 0.01, name


def test_a_trial_that_was_run_again_counts_once_as_it_was_last():
    first, second = LINES[0], LINES[1]
    changed = first | {"n": 12_345}
    assert latest([first, second, changed]) == [changed, second]
    assert table([first, second, changed]).count("12,345") == 1


def test_labels_are_made_wrong_as_often_as_is_said_and_never_the_trusted_ones():
    train, clean, truth = build(CASES["wine"], Path(), 0)
    assert 0.1 < (train.labels != truth).mean() < 0.3
    assert len(train) + len(clean) == 178
    assert sorted(set(clean.labels)) == sorted(set(truth))


def test_trees_see_the_principal_components_of_images():
    rng = np.random.default_rng(0)
    data, clean = (
        Images(rng.integers(0, 256, (n, 12, 12, 1), dtype=np.uint8), np.array(["a", "b"] * (n // 2)), ["?"] * n)
        for n in (120, 10)
    )
    assert _plain_columns(data, encode(data, clean), 0).shape == (120, 50)
