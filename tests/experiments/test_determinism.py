"""The same seed gives the same record; other engines and thread counts train the same network to a tolerance."""

import json

import pytest
import torch
from small_runs import OF_ONE_RUN, SMALL

from l2rw_core.datasets import BackgroundFlip, load, make_split, to_tensors
from l2rw_core.experiments import fit
from l2rw_core.models import LeNet
from l2rw_core.reweight import Reweighter
from l2rw_core.running.checkpoints import read_checkpoint
from l2rw_core.scoring import ENGINES

EXPERIMENT = SMALL.with_(method="l2rw", biases=(BackgroundFlip(0.4),), augment=True)


def fields_of(record):
    return {name: value for name, value in json.loads(record.to_json()).items() if name not in OF_ONE_RUN}


def test_the_same_seed_gives_the_same_record():
    first = fields_of(fit(EXPERIMENT, progress=False))
    torch.rand(3)  # what was drawn before does not matter
    assert fields_of(fit(EXPERIMENT, progress=False)) == first
    assert fields_of(fit(EXPERIMENT.with_(seed=1), progress=False))["curve"] != first["curve"]


def trained(dtype, engine="forward", threads=1, steps=4):
    """Parameters of a LeNet after some steps on the digits, in one vector."""
    split = make_split(load("digits"), EXPERIMENT.biases, EXPERIMENT.clean_set, 0)
    (x, y), clean = (to_tensors(part, dtype=dtype) for part in (split.train, split.clean))
    torch.manual_seed(0)
    model = LeNet(10, 1, 8).to(dtype)
    optimizer = torch.optim.SGD(model.parameters(), 0.02, 0.9)
    reweighter = Reweighter(model, optimizer, torch.nn.CrossEntropyLoss(reduction="none"), engine)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for k in range(steps):
            reweighter.step((x[20 * k : 20 * k + 20], y[20 * k : 20 * k + 20]), clean)
    finally:
        torch.set_num_threads(before)
    return torch.cat([p.detach().flatten() for p in model.parameters()]).double()


def difference(a, b):
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("engine", [e for e in ENGINES if e != "forward"])
def test_engines_train_the_same_network(engine):
    double, single = (1e-4, 1e-3) if ENGINES[engine].off_by else (1e-9, 1e-4)  # it is an approximation
    assert difference(trained(torch.float64, engine), trained(torch.float64)) < double
    assert difference(trained(torch.float32, engine), trained(torch.float32)) < single


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_threads_train_the_same_network(dtype, tolerance):
    assert difference(trained(dtype, threads=3), trained(dtype)) < tolerance


def test_a_checkpoint_holds_the_random_state_and_all_that_decides_the_order_of_data(tmp_path):
    path = tmp_path / "run"
    fit(EXPERIMENT, progress=False, checkpoint=path, checkpoint_every=-1)
    state = read_checkpoint(path, torch.device("cpu"))
    assert state["experiment"]["seed"] == 0
    assert (state["stage"], state["step"]) == (0, 6)  # with the seed, the order of batches and their augmentation
    assert len(state["checksum"]) == 64
    generator = torch.Generator()
    generator.set_state(state["random"])
    assert not torch.equal(state["random"], torch.Generator().manual_seed(0).get_state())
