"""In a real kernel: *Interrupt* keeps what was learned, and the control trains while the kernel goes on answering."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager

SETUP = """
from l2rw_core.datasets import UniformFlip, load
from l2rw_core.experiments import Experiment, fit_each
from l2rw_core.interactive import live_run
from l2rw_core.figures import figure, show

digits = load("digits")
base = Experiment(data="digits", model="mlp", biases=(UniformFlip(0.4),), clean_size=50, steps=200_000, lr=0.1)
runs = {row: base.with_(method=row) for row in ("baseline", "l2rw")}


class Told:
    def on_step(self, positions, update):
        if not self.__dict__.get("begun"):
            self.begun = True
            print("begun", flush=True)

    def on_evaluation(self, log_p):
        pass


def drawn(own):
    fig, ax = figure()
    return show(fig, alt=f"{len(own)} results", caption=f"{len(own)} results")
"""


@pytest.fixture(scope="module")
def kernel() -> Iterator[tuple[KernelManager, BlockingKernelClient]]:
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel()
    client = manager.blocking_client()
    client.start_channels()
    client.wait_for_ready(timeout=120)
    assert run(client, SETUP)[0] == "ok"
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def run(client: BlockingKernelClient, code: str, on_text=lambda text: None) -> tuple[str, str, list[dict]]:
    """Status of a cell, what it printed, and the data that it showed."""
    printed, shown = [], []

    def look(message: dict) -> None:
        if message["msg_type"] == "stream" and message["content"]["name"] == "stdout":
            printed.append(message["content"]["text"])
            on_text(message["content"]["text"])
        if message["msg_type"] in ("display_data", "execute_result"):
            shown.append(message["content"]["data"])

    reply = client.execute_interactive(code, timeout=240, output_hook=look)
    return reply["content"]["status"], "".join(printed), shown


def test_interrupting_a_cell_that_trains_keeps_what_was_learned(kernel) -> None:
    manager, client = kernel
    interrupt = lambda text: manager.interrupt_kernel() if "begun" in text else None  # noqa: E731
    status, printed, _ = run(
        client, "live = fit_each(runs, digits, {'baseline': Told()}, progress=False)", on_text=interrupt
    )
    assert status == "ok"
    assert printed.splitlines()[-1].startswith("stopped after ")
    assert printed.splitlines()[-1].endswith(" of 400,000 steps; what was learned so far is shown")
    status, printed, _ = run(client, "print([len(r.curve.step) >= 2 and r.is_whole for r in live.values()])")
    assert printed == "[False, False]\n"


def test_the_kernel_answers_while_the_control_trains_and_stop_works_at_once(kernel) -> None:
    _, client = kernel
    status, _, (data,) = run(client, "control = live_run(runs, drawn, source=digits, noise=0.3)\ncontrol")
    assert status == "ok"
    assert {"application/vnd.jupyter.widget-view+json", "text/html", "text/plain"} <= set(data)
    run(client, "control.train()")
    said_after(client, " done. ")
    run(client, "control.stop()")
    said = said_after(client, "Stopped after")
    assert "what was learned so far is shown" in said


def said_after(client: BlockingKernelClient, words: str) -> str:
    """What the control says once it says these words; between two cells it may take steps."""
    deadline = time.monotonic() + 120
    while words not in (said := run(client, "print(control.said)")[1]):
        assert time.monotonic() < deadline, said
        time.sleep(0.3)
    return said
