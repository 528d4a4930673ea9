"""Time, memory and operators of single steps."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.systems import Step

GROUPS = {
    "products": ("conv", "mm", "linear", "dot_product"),
    "normalisation": ("norm",),
    "pooling": ("pool",),
}
"""Group -> parts of the names of its operators; the first group that fits counts."""
OTHER = "other"


def interleaved(steps: Mapping[str, Step], rounds: int, repeats: int, device: str) -> dict[str, list[float]]:
    """Seconds of a step, one entry a round. The systems take turns, and each round starts with another one.

    On a CPU the clock counts the processor time of this process, which other programs touch little; on a GPU it is wall
    time between two moments at which the device is idle.
    """
    names = list(steps)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for k in range(rounds):
        for name in names[k % len(names) :] + names[: k % len(names)]:
            gc.collect()  # no system pays for what another one left behind
            seconds[name].append(_seconds(steps[name], repeats, device))
    return seconds


def _seconds(step: Step, repeats: int, device: str) -> float:
    clock: Callable[[], float] = time.process_time
    if device != "cpu":
        clock = time.perf_counter
        torch.cuda.synchronize()
    start = clock()
    _repeat(step, repeats)
    if device != "cpu":
        torch.cuda.synchronize()
    return (clock() - start) / repeats


def peak_bytes(step: Step, model: nn.Module, device: str, steps: int = 2) -> int:
    """Most bytes alive at once during some steps in a row: parameters and buffers, and all that the steps allocate.

    The gradients that one step leaves are there in the next one, as in training. On a CPU the bytes are summed from
    PyTorch's own record of each allocation and release. Unlike the process's resident set, that record is the same in
    every run, and does not depend on what the allocator kept from earlier steps. What libraries below PyTorch allocate
    for themselves, such as oneDNN's scratch space, is not in it.
    """
    model.zero_grad(set_to_none=True)
    gc.collect()
    storages = (t.untyped_storage() for t in [*model.parameters(), *model.buffers()])
    present = sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())
    if device != "cpu":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        _repeat(step, steps)
        return present + torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as profiler:
        _repeat(step, steps)
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    alive = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        alive += event.nbytes()
        peak = max(peak, alive)
    return present + peak


def _repeat(step: Step, times: int) -> None:
    for _ in range(times):
        step()


def operator_seconds(step: Step) -> dict[str, float]:
    """Processor time that one step spends inside each group of operators, on a CPU.

    What is left of the step's time is spent between operators: in Python, in autograd, in the optimizer's loop.
    """
    with _OperatorClock() as clock:
        step()
    return clock.seconds


class _OperatorClock(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.seconds = dict.fromkeys([*GROUPS, OTHER], 0.0)

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        start = time.thread_time()
        result = func(*args, **(kwargs or {}))
        self.seconds[_group(str(func))] += time.thread_time() - start
        return result


def _group(operator: str) -> str:
    return next((name for name, parts in GROUPS.items() if any(part in operator for part in parts)), OTHER)
