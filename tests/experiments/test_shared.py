"""Training that runs have in common is done once, and nothing of their records tells."""

import json

import pytest
import torch
from small_runs import OF_ONE_RUN, SMALL

from l2rw_core.datasets import BackgroundFlip
from l2rw_core.experiments import fit
from l2rw_core.experiments.shared import SharedStates, common_steps

FULL = SMALL.with_(
    method="baseline",
    biases=(BackgroundFlip(0.4),),
    steps=16,
    lr_drops=(8, 12),
    evaluate_every=2,
    hold_out=200,
    statistics_batches=2,
    weight_decay=1e-3,
    augment=True,
)
EARLY = FULL.with_(steps=12, lr_drops=(8, 10))
ROWS = {
    "baseline+ft": FULL.with_(fine_tune_steps=5),
    "baseline+es": EARLY,
    "baseline+es+ft": EARLY.with_(fine_tune_steps=5),
    "l2rw": FULL.with_(method="l2rw"),
    "l2rw+ft": FULL.with_(method="l2rw", fine_tune_steps=5),
    "s-model+conf": FULL.with_(method="s_model_conf"),
    "s-model+conf+es+ft": EARLY.with_(method="s_model_conf", fine_tune_steps=5),
}


def same(record):
    left_out = (*OF_ONE_RUN, "shared_training")
    return {name: value for name, value in json.loads(record.to_json()).items() if name not in left_out}


def test_every_row_that_begins_with_a_shared_state_ends_as_a_run_from_nothing(tmp_path):
    shared = SharedStates(tmp_path, tuple(ROWS.values()))
    steps = {}
    for row, experiment in ROWS.items():
        record = fit(experiment, progress=False, shared=shared)
        assert same(record) == same(fit(experiment, progress=False)), row
        steps[row] = record.shared_training and record.shared_training["steps"]
    assert steps == {
        "baseline+ft": None,
        "baseline+es": 10,
        "baseline+es+ft": 12,
        "l2rw": None,
        "l2rw+ft": 16,
        "s-model+conf": 16,
        "s-model+conf+es+ft": 12,
    }


def test_time_that_was_spent_in_another_run_is_counted_and_said(tmp_path):
    shared = SharedStates(tmp_path, tuple(ROWS.values()))
    first = fit(ROWS["baseline+ft"], progress=False, shared=shared)
    branch = fit(ROWS["baseline+es"], progress=False, shared=shared)
    assert 0 < branch.shared_training["seconds"] <= first.duration + 0.1
    assert branch.duration >= branch.shared_training["seconds"]
    assert branch.started >= first.started


@pytest.mark.parametrize(
    ("one", "other", "steps"),
    [
        (FULL, EARLY, 10),  # the rate drops at another step
        (FULL, FULL.with_(fine_tune_steps=5), 16),
        (FULL, FULL.with_(steps=14), 14),
        (FULL, FULL.with_(steps=15), 0),  # its last evaluation falls between those of the longer run
        (FULL, FULL.with_(seed=1), 0),
        (FULL, FULL.with_(precision="bfloat16"), 0),
        (FULL, FULL.with_(clean_size=30), 0),
        (FULL.with_(method="mentornet_pd"), EARLY.with_(method="mentornet_pd"), 0),  # a curriculum knows its length
        (FULL.with_(method="s_model_conf"), EARLY.with_(method="s_model_conf"), 0),  # from another plain model
        (FULL.with_(method="l2rw"), EARLY.with_(method="l2rw"), 0),  # held-out images are weighed at half of the steps
        (FULL.with_(method="l2rw", hold_out=0), EARLY.with_(method="l2rw", hold_out=0), 10),
    ],
)
def test_how_far_two_runs_are_the_same(one, other, steps):
    assert common_steps(one, other) == common_steps(other, one) == steps


def test_a_state_of_other_data_is_refused(tmp_path):
    shared = SharedStates(tmp_path, tuple(ROWS.values()))
    fit(FULL, progress=False, shared=shared)
    path = shared.path(FULL, 10)
    path.write_bytes(b"something else")
    with pytest.raises(ValueError, match="is damaged or is not a checkpoint: delete it"):
        fit(EARLY, progress=False, shared=shared)


def test_a_run_waits_for_one_that_spares_it_training_and_states_go_when_nobody_needs_them(tmp_path):
    shared = SharedStates(tmp_path, (FULL, EARLY, ROWS["l2rw"]))
    assert shared.waits_for(EARLY, [FULL])
    assert not shared.waits_for(ROWS["l2rw"], [FULL, EARLY])
    fit(FULL, progress=False, shared=shared)
    assert not shared.waits_for(EARLY, [FULL])
    shared.clear([EARLY])
    assert shared.path(FULL, 10).exists()
    shared.clear([ROWS["l2rw"]])
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_shared_has_no_part_in_it(tmp_path):
    """A state is found by what decides the training, so another method or noise rate finds nothing."""
    shared = SharedStates(
        tmp_path, (FULL, FULL.with_(fine_tune_steps=5), FULL.with_(method="random", fine_tune_steps=5))
    )
    fit(FULL, progress=False, shared=shared)
    torch.manual_seed(0)
    assert fit(FULL.with_(method="random"), progress=False, shared=shared).shared_training is None
