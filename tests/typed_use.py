"""How the package is called from a program whose types are checked: read by a type checker, not run."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from l2rw_core import Reweighter, Step, to_weights
from l2rw_core.alignment import alignment
from l2rw_core.audit import WeightLedger, check_clean_set, explain, suspects
from l2rw_core.datasets import CleanSet, UniformFlip, load, make_split, to_tensors
from l2rw_core.layers import layer_factors

model = nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
loss_fn = nn.CrossEntropyLoss(reduction="none")
x, y = torch.randn(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])

reweighter = Reweighter(model, optimizer, loss_fn)
ledger = WeightLedger(len(y))
step: Step = reweighter.step((x, y), (x, y), torch.arange(6))
ledger.record(step)
for batch in DataLoader(TensorDataset(x, y), batch_size=2):
    reweighter.step(batch, (x, y))
reweighter.step([x, y], [x, y])
reweighter.step(({"input": x}, y), ((x,), y))
loss: Tensor = reweighter.loss((x, y), (x, y))

losses, u = alignment(model, lambda outputs, targets: loss_fn(outputs, targets), (x, y), (x, y), engine="reverse")
weights: Tensor = to_weights(u)
print(layer_factors(model, loss_fn, (x, y), (x, y)), explain(model, loss_fn, (x, y), (x, y)))

for labels in (y, y.numpy(), [0, 1, 2, 0, 1, 2]):
    suspects(ledger, labels, predicted=np.zeros(6))
findings: list[str] = check_clean_set((x.numpy(), y.numpy()), (x, y)).findings

source = load("digits")
split = make_split(source, (UniformFlip(0.4),), CleanSet(50), 0)
images, given = to_tensors(split.train)
