"""Noisy digits on several processes: torchrun --standalone --nproc-per-node 2 reference/examples/data_parallel.py

Every process holds half of each batch; the weights and the update are those of the whole batch.
"""

import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from l2rw_core.datasets import load
from l2rw_core.loops.distributed import DistributedReweighter
from l2rw_core.models import Mlp

CLEAN, EPOCHS, BATCH = 100, 10, 100

dist.init_process_group("gloo")  # "nccl" where every process has a GPU of its own
processes = dist.get_world_size()

digits = load("digits")
x, y = torch.tensor(digits.x_train).float().flatten(1) / 255, torch.tensor(digits.y_train)
random = torch.Generator().manual_seed(0)  # the same data in every process
order = torch.randperm(len(y), generator=random)
x, y = x[order], y[order]
wrong = torch.rand(len(y), generator=random) < 0.4
noisy = torch.where(wrong, torch.randint(10, y.shape, generator=random), y)
clean, train = TensorDataset(x[:CLEAN], y[:CLEAN]), TensorDataset(x[CLEAN:], noisy[CLEAN:], noisy[CLEAN:] != y[CLEAN:])

# A sampler gives each process its own share of the examples.
sampler = DistributedSampler(train)
loader = DataLoader(train, BATCH // processes, sampler=sampler, drop_last=True)
(clean_batch,) = DataLoader(clean, CLEAN, sampler=DistributedSampler(clean, drop_last=True))

torch.manual_seed(0)
model = Mlp([64, 64, 10])
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
reweighter = DistributedReweighter(model, optimizer, nn.CrossEntropyLoss(reduction="none"))

for epoch in range(EPOCHS):
    sampler.set_epoch(epoch)
    on_wrong, steps = torch.zeros(()), 0
    for inputs, labels, is_wrong in loader:
        step = reweighter.step((inputs, labels), clean_batch)
        on_wrong += step.weights[is_wrong].sum()
        steps += 1
dist.all_reduce(on_wrong)  # each process has seen the weights of its own examples

if dist.get_rank() == 0:
    accuracy = (
        model(torch.tensor(digits.x_test).float().flatten(1) / 255).argmax(1) == torch.tensor(digits.y_test)
    ).float()
    print(f"{processes} processes: test accuracy {accuracy.mean():.3f}, ", end="")
    print(f"weight on wrong labels {on_wrong / steps:.3f}, which are {noisy.ne(y).float().mean():.3f} of all")
dist.destroy_process_group()
