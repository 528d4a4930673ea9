"""An experiment is a value: it survives JSON, and nonsense is refused before anything runs."""

import json

import pytest

from l2rw_core.datasets import BackgroundFlip, LongTail, PairImbalance, UniformFlip
from l2rw_core.experiments import MAJORITY_SHARES, Experiment, mnist_imbalance


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


@pytest.mark.parametrize("ratio", MAJORITY_SHARES)
def test_nominal_ratios(ratio):
    (bias,) = mnist_imbalance(ratio=ratio).biases
    assert 1 / (1 - bias.majority_share) == pytest.approx(ratio)


def test_figure_2_lists_its_ratios_and_scales():
    with pytest.raises(ValueError, match=r"150:1; choose one of 10, 20, 50, 100, 200"):
        mnist_imbalance(ratio=150)
    with pytest.raises(ValueError, match="choose paper or quick"):
        mnist_imbalance(scale="reduced")
