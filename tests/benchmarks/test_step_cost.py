"""The comparison times only what computes the method, and says why it left something out."""

from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

import pytest
import torch
from torch import nn

from benchmarks.cases import CASES, Case
from benchmarks.measure import operator_seconds, peak_bytes
from benchmarks.step_cost import Arguments, compare, main
from benchmarks.systems import SYSTEMS, System, ours
from l2rw_core.figures.benchmarks import load_benchmark, median_ratio
from l2rw_core.models import Mlp

TINY = Case("tiny", "a tiny MLP", lambda: Mlp([4, 8, 3]), lambda k: torch.rand(k, 4), 6, 4, repeats=2, classes=3)


def flipped(task):
    step = ours("forward")(task)
    return lambda: step().flip(0)


def doubled(task):
    return ours("forward")(replace(task, lr=2 * task.lr))


def broken(task):
    raise TypeError("not made for this")


@pytest.fixture(scope="module")
def lines():
    chosen = {name: SYSTEMS[name] for name in ("plain", "forward", "reverse", "copy", "higher", "torchopt", "betty")}
    wrong = {"flipped": System("flipped", flipped), "doubled": System("doubled", doubled)}
    wrong["broken"] = System("broken", broken)
    return {line["system"]: line for line in compare(TINY, chosen | wrong, rounds=2)}


def test_every_exact_system_is_checked_and_timed(lines):
    for name in ("forward", "reverse", "copy"):
        assert lines[name]["weight_error"] < 1e-12
        assert len(lines[name]["ratios"]) == 2
        assert lines[name]["memory_ratio"] > 0
    assert lines["plain"]["ratios"] == [1.0, 1.0]


@pytest.mark.parametrize("name", ["higher", "torchopt", "betty"])
def test_a_peer_is_timed_where_it_is_installed_and_skipped_with_the_reason_where_not(lines, name):
    try:
        installed = version(SYSTEMS[name].package)
        assert lines[name]["version"] == installed
        assert lines[name]["weight_error"] < (1e-9 if SYSTEMS[name].exact else 0.5)
    except PackageNotFoundError:
        assert lines[name]["skipped"] == f"{SYSTEMS[name].package} is not installed"
        assert not lines[name]["refused"]


@pytest.mark.parametrize(("name", "fault"), [("flipped", "its weights are"), ("doubled", "its step ends")])
def test_a_system_that_computes_something_else_is_refused(lines, name, fault):
    assert lines[name]["refused"]
    assert fault in lines[name]["skipped"]
    assert "ratios" not in lines[name]


def test_a_system_that_fails_stops_no_other(lines):
    assert lines["broken"]["skipped"] == "it failed with TypeError: not made for this"
    assert not lines["broken"]["refused"]


def test_a_model_whose_package_is_missing_is_skipped_by_name():
    (line,) = compare(replace(TINY, needs="no_such_package"), {"forward": SYSTEMS["forward"]}, rounds=1)
    assert line["skipped"] == "no_such_package is not installed"


def test_a_step_handed_to_another_engine_is_not_timed_under_the_name_of_the_first():
    class Hidden(nn.Module):
        """Computes where dual numbers do not see it, so that `forward` hands it on."""

        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 3, bias=False)

        def forward(self, x):
            return torch.func.vmap(lambda row: self.layer.weight @ row)(x)

    chosen = {name: SYSTEMS[name] for name in ("plain", "forward")}
    with pytest.warns(RuntimeWarning, match='is used instead of "forward"'):
        _, line = compare(replace(TINY, build=Hidden), chosen, rounds=1)
    assert "handed this model to 'reverse'" in line["skipped"]


def test_the_program_appends_and_the_newest_run_of_a_case_counts(tmp_path, monkeypatch):
    monkeypatch.setitem(CASES, "tiny", TINY)
    path = tmp_path / "step_cost.jsonl"
    for _ in range(2):
        assert main(Arguments(rounds=1, cases=["tiny"], systems=["forward"], results=path)) == 0
    assert len(path.read_text().splitlines()) == 4
    found = load_benchmark("step_cost", folder=tmp_path)
    assert {line["started"] for line in found} == {max(line["started"] for line in found)}
    forward = next(line for line in found if line["system"] == "forward")
    assert median_ratio(forward) == forward["ratios"][0] > 0
    assert forward["bound"] == (3 * 4 + 5 * 6) / (3 * 6)
    assert forward["uncoupled_bound"] == (3 * 4 + 4 * 6) / (3 * 6)


def test_memory_is_what_is_held_and_what_is_alive_at_once():
    model = nn.Linear(10, 10, bias=False)

    def step():
        for _ in range(3):
            torch.ones(1000, 1000)

    assert peak_bytes(step, model, "cpu") == 4 * (100 + 1000 * 1000)


@pytest.mark.parametrize(
    ("build", "inputs", "groups"),
    [
        (lambda: nn.Linear(4, 2), (3, 4), {"products"}),
        (lambda: nn.MaxPool2d(2), (3, 1, 4, 4), {"pooling"}),
        (lambda: nn.BatchNorm1d(4), (3, 4), {"normalisation"}),
    ],
    ids=["linear", "pool", "norm"],
)
def test_operators_are_told_apart(build, inputs, groups):
    layer, x = build(), torch.rand(inputs, requires_grad=True)
    spent = operator_seconds(lambda: layer(x))
    assert {name for name in ("products", "pooling", "normalisation") if spent[name] > 0} == groups


def test_an_approximation_is_not_among_the_exact_ones_and_waits_to_be_asked_for():
    assert not SYSTEMS["difference"].exact
    assert all(SYSTEMS[name].exact for name in ("forward", "ghost", "reverse", "loop", "two_pass", "lookahead"))
    assert not {"difference", "loop"} & set(Arguments().systems)
