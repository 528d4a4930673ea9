"""What the check of a step costs is on record, and is what the pages say."""

import json
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.check import CASES, Timed, shares

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "data" / "results" / "benchmarks" / "check.jsonl"


def test_the_check_is_a_part_of_the_step():
    measured = shares("LeNet, m = 10", rounds=3)
    assert len(measured) == 3
    assert all(0 < share < 1 for share in measured)


def test_the_gradients_of_the_update_are_no_part_of_the_check():
    model = nn.Linear(3, 2)
    model.weight.register_hook(lambda g: _work_for(0.3))
    loss_fn = nn.CrossEntropyLoss(reduction="none")
    timed = Timed(model, torch.optim.SGD(model.parameters(), 0.1), loss_fn, engine="reverse")
    batch = torch.randn(8, 3), torch.randint(2, (8,))
    timed.step(batch, batch)
    assert timed.seconds < 0.3


def test_a_batch_without_weight_is_timed_too():
    model = nn.Linear(3, 1)
    loss_fn = nn.MSELoss(reduction="none")
    timed = Timed(model, torch.optim.SGD(model.parameters(), 0.1), lambda out, y: loss_fn(out[:, 0], y))
    x, y = torch.ones(4, 3), model(torch.ones(4, 3))[:, 0].detach()
    step = timed.step((x, y + 1), (x, y - 1))
    assert step.effective_examples == 0
    assert timed.seconds >= 0


def _work_for(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_the_newest_record_is_below_what_the_faq_says():
    lines = map(json.loads, RECORD.read_text().splitlines())
    costs = {line["case"]: np.median(line["shares"]) for line in lines}
    assert costs.keys() == CASES.keys()
    lenet, resnet = ([cost for case, cost in costs.items() if case.startswith(name)] for name in ("LeNet", "ResNet-32"))
    said = f"at most {max(lenet):.1%} of a step of LeNet and {max(resnet):.1%} of one of ResNet-32"
    assert said in (ROOT / "reference" / "faq.md").read_text()
    assert max(*lenet, *resnet) <= 0.02
