"""The paper's settings, one row a fact, read off the data, the network and the optimizer that a run really builds."""

import numpy as np
import pytest
import torch

from l2rw_core.datasets import Source, pad_crop_flip
from l2rw_core.experiments import grid, train
from l2rw_core.experiments.train import halts
from l2rw_core.models import count_parameters


def stand_in(name, side, channels, per_class, classes=10):
    """As many images as the real data set has, each of one grey: what is looked at is how many of them go where."""
    draw = np.random.default_rng(0)
    y = np.repeat(np.arange(classes), per_class)
    x = np.zeros((len(y), side, side, channels), np.uint8)
    x[:] = draw.integers(0, 256, (len(y), 1, 1, 1))
    few = np.arange(classes).repeat(3)
    return Source(name, x, y, x[: len(few)], few, tuple(map(str, range(classes))))


@pytest.fixture(scope="module")
def cifar():
    return stand_in("cifar10", 8, 3, 5_000)


def experiment_of(name, row, scale, **place):
    cells = grid(name, scale).cells
    place = {"data": "cifar10", **place}
    return next(c.trial(0) for c in cells if c.row == row and place.items() <= c.place.items())


class Built:
    """What a run of an experiment builds, before its first step."""

    def __init__(self, experiment, source):
        self.run = train._Run(experiment, train.prepare(experiment, source), torch.device("cpu"))

    @property
    def groups(self):
        return self.run.optimizer.param_groups

    def rate_at(self, step):
        """Learning rate of the step with this number, of a run whose steps do nothing else."""
        self.run.step = step
        self.run.method.step = lambda batch, clean, number: (_ for _ in ()).throw(StopIteration)
        with pytest.raises((StopIteration, RuntimeError)):
            self.run._step()
        return self.groups[0]["lr"]


@pytest.fixture(scope="module")
def of_table_2(cifar):
    return {
        (row, scale): Built(experiment_of("table2", row, scale), cifar)
        for scale in ("paper", "quarter")
        for row in ("baseline+ft", "baseline+es", "l2rw")
    }


@pytest.mark.parametrize("scale", ["paper", "quarter"])
@pytest.mark.parametrize("row", ["baseline+ft", "baseline+es", "l2rw"])
def test_section_4_2_as_it_is_built(of_table_2, row, scale):
    built = of_table_2[row, scale]
    run, part = built.run, {"paper": 1, "quarter": 4}[scale]
    steps, drops = {"baseline+es": (60_000, (40_000, 50_000))}.get(row, (80_000, (40_000, 60_000)))
    facts = {
        "parameters of ResNet-32": (count_parameters(run.model), 463_018),
        "rate": (built.groups[0]["lr"], 0.1),
        "momentum": ({g["momentum"] for g in built.groups}, {0.9}),
        "no damping, no Nesterov": ({(g["dampening"], g["nesterov"]) for g in built.groups}, {(0, False)}),
        "batch": (len(run.batches.indices(0)), 100),
        "clean batch": (len(run.clean_batches.indices(0)), 100),
        "noisy images": (len(run.train[1]), 44_900),
        "clean images": (len(run.clean[1]), 100),
        "clean images of a class": (set(torch.bincount(run.clean[1]).tolist()), {10}),
        "images held out": (len(run.split.held_out), 5_000),
        "wrong labels": (round(float(run.split.train.flipped.mean()), 2), 0.36),
        "wrong labels held out": (round(float(run.split.held_out.flipped.mean()), 2), 0.36),
        "background class": (run.experiment.biases[-1].background, 3),
        "steps": (run.experiment.steps, steps // part),
        "fine-tuning": (run.experiment.fine_tune_steps, 5_000 // part if row == "baseline+ft" else 0),
        "rates": (
            [round(built.rate_at(step // part - 1 + after), 6) for step in drops for after in (0, 1)],
            [0.1, 0.01, 0.01, 0.001],
        ),
    }
    assert {name: value for name, (value, _) in facts.items()} == {name: fact for name, (_, fact) in facts.items()}


def test_decay_is_for_kernels_alone(of_table_2):
    """2e-4 on the weights of convolutions and of the last layer, none on shifts and biases."""
    run = of_table_2["l2rw", "paper"].run
    decay = {id(p): group["weight_decay"] for group in run.optimizer.param_groups for p in group["params"]}
    names = dict(run.model.named_parameters())
    assert len(decay) == len(names)
    for name, parameter in names.items():
        assert decay[id(parameter)] == (2e-4 if parameter.ndim > 1 else 0.0), name
    assert {p.ndim for p in names.values()} == {1, 2, 4}


def test_images_are_shifted_by_two_pixels_at_most_and_mirrored_and_black_is_minus_one(cifar):
    experiment = experiment_of("table2", "l2rw", "quarter").with_(hold_out=0)
    (halt,) = halts(experiment.with_(evaluate_every=10**6, statistics_batches=0), (0,), tiny(cifar))
    x = halt.batch[0]
    assert (float(x.min()), x.shape) == (-1.0, (100, 3, 8, 8))  # the border; the images have no black
    black = (x == -1).all(1)
    for border in (black.all(2), black.all(1)):
        width = torch.maximum(border[:, :3].sum(1), border[:, -3:].sum(1))
        assert set(width.tolist()) == {0, 1, 2}
    ramp = torch.arange(8.0).expand(200, 1, 8, 8)
    mirrored = [bool(row[3] > row[4]) for row in pad_crop_flip(ramp, torch.Generator().manual_seed(0))[:, 0, 4]]
    assert 70 < sum(mirrored) < 130


def tiny(source):
    """Images that are light all over."""
    return Source(
        source.name, np.full_like(source.x_train, 200), source.y_train, source.x_test, source.y_test, source.classes
    )


def test_section_4_1_as_it_is_built():
    """28 by 28 images of two digits at 200:1, plain SGD steps of momentum .9 at 1e-3, the network with one output."""
    source = stand_in("mnist", 28, 1, 5_200)
    cell = next(c for c in grid("fig2").cells if c.row == "l2rw" and c.place["ratio"] == 200)
    built = Built(cell.trial(0), source)
    run = built.run
    assert count_parameters(run.model) == 167_113
    assert torch.bincount(run.train[1].long()).tolist() == [20, 4970]
    assert torch.bincount(run.clean[1].long()).tolist() == [5, 5]
    assert {(g["lr"], g["momentum"], g["weight_decay"]) for g in built.groups} == {(1e-3, 0.9, 0)}
    assert (len(run.batches.indices(0)), len(run.clean_batches.indices(0))) == (100, 10)
    assert (run.experiment.steps, built.rate_at(7_999)) == (8_000, 1e-3)
    assert run.split.held_out is None


def test_table_1_is_the_wide_network_with_a_thousand_clean_images():
    experiment = experiment_of("table1", "l2rw", "paper")
    assert (experiment.model, experiment.clean_size, experiment.hold_out) == ("wrn28_10", 1000, 5_000)
    assert (experiment.steps, experiment.lr_drops) == (60_000, (40_000, 50_000))
    assert (experiment.weight_decay, experiment.lr, experiment.momentum, experiment.augment) == (2e-4, 0.1, 0.9, True)
