"""An experiment is a value: it survives JSON, and nonsense is refused before anything runs."""

import json

import pytest

from l2rw_core.datasets import BackgroundFlip, LongTail, PairImbalance, Subset, UniformFlip
from l2rw_core.experiments import Experiment, grid, mnist_imbalance


def test_an_experiment_survives_json():
    experiment = Experiment(
        biases=(LongTail(50), UniformFlip(0.3, False), BackgroundFlip(0.1, 2)), lr_drops=(10, 20), method="random"
    )
    assert Experiment.from_dict(json.loads(json.dumps(experiment.to_dict()))) == experiment


def test_trials_share_a_key_and_nothing_else_does():
    base = Experiment()
    assert base.with_(seed=7).key == base.key
    changes = [
        {"method": "baseline"},
        {"lr": 2e-3},
        {"biases": (PairImbalance(8, 2),)},
        {"steps": 9},
        {"clean_size": 20},
    ]
    keys = {base.with_(**change).key for change in changes}
    assert len(keys | {base.key}) == len(changes) + 1


def test_figure_2_at_the_scale_of_the_paper():
    experiment = mnist_imbalance()
    (bias,) = experiment.biases
    assert (bias.size, bias.majority_share, experiment.clean_size) == (5000, 0.995, 10)
    assert (experiment.steps, experiment.batch_size, experiment.lr, experiment.momentum) == (8000, 100, 1e-3, 0.9)
    assert (experiment.scale, experiment.data, experiment.model) == ("paper", "mnist", "lenet")


@pytest.mark.parametrize(("ratio", "share"), {10: 0.9, 20: 0.95, 50: 0.98, 100: 0.99, 200: 0.995}.items())
def test_nominal_ratios_are_those_of_the_records(ratio, share):
    (bias,) = mnist_imbalance(ratio=ratio).biases
    assert bias.majority_share == share


def test_figure_2_has_any_ratio_from_2_and_lists_its_scales():
    (bias,) = mnist_imbalance(ratio=30).biases
    assert bias.counts == (167, 4833)
    with pytest.raises(ValueError, match=r"imbalance must be at least 2 .*, got 1.5"):
        mnist_imbalance(ratio=1.5)
    with pytest.raises(ValueError, match="choose paper or quick"):
        mnist_imbalance(scale="reduced")


BIASED = {
    "a pair": ((PairImbalance(4, 9, 0.995),), {"imbalance": 50}, (PairImbalance(4, 9, 0.98),)),
    "a long tail": ((LongTail(10, 400), UniformFlip(0.4)), {"imbalance": 3}, (LongTail(3, 400), UniformFlip(0.4))),
    "neither": ((Subset(500), UniformFlip(0.4)), {"imbalance": 3}, (LongTail(3), UniformFlip(0.4))),
    "balanced": ((Subset(500), UniformFlip(0.4)), {"imbalance": 1}, (Subset(500), UniformFlip(0.4))),
    "flips": ((Subset(500), UniformFlip(0.4)), {"noise": 0.1}, (Subset(500), UniformFlip(0.1))),
    "no flips": ((LongTail(10),), {"noise": 0.1}, (LongTail(10), UniformFlip(0.1))),
    "no flips wanted": ((LongTail(10),), {"noise": 0}, (LongTail(10),)),
}


@pytest.mark.parametrize(("before", "change", "after"), BIASED.values(), ids=BIASED)
def test_biased_changes_what_it_is_asked_to_and_nothing_else(before, change, after):
    base = Experiment(biases=before, clean_size=17, seed=3)
    assert base.biased(**change) == base.with_(biases=after)
    assert base.biased(clean=20) == base.with_(clean_size=20)


@pytest.mark.parametrize(
    ("name", "usual"),
    [("table1", {"imbalance": 1.0, "noise": 0.4, "clean": 50}), ("table2", {"imbalance": 1.0, "noise": 0.4})],
)
def test_a_run_that_is_asked_for_what_it_has_is_still_the_one_on_record(name, usual):
    for cell in grid(name, "quick").cells:
        assert cell.experiment.biased(**usual).key == cell.experiment.key
