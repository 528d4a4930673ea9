"""The accuracy of approximations is measured on runs that differ in nothing else."""

from small_runs import SMALL

from benchmarks import approximate
from benchmarks.approximate import VARIANTS, Arguments, cells, key, lines, main, trained


def test_variants_are_as_far_from_exact_as_they_say(monkeypatch):
    monkeypatch.setattr(approximate, "LOOK_EVERY", 2)
    found = {method.__name__: trained(SMALL.with_(method=method, steps=6)) for method in VARIANTS}
    assert list(found) == ["forward", "difference", "forward, every 2", "forward, every 5", "forward, every 20"]
    assert found["forward"]["distance"] < 1e-6 < found["difference"]["distance"] < 0.1
    assert found["forward, every 5"]["distance"] > 0.1


def test_what_is_on_record_is_not_run_again(tmp_path, monkeypatch):
    monkeypatch.setattr(approximate, "cells", lambda: [SMALL.with_(steps=2)])
    monkeypatch.setattr(approximate, "LOOK_EVERY", 1)
    arguments = Arguments(trials=1, results=tmp_path / "approximate.jsonl")
    main(arguments)
    text = arguments.results.read_text()
    assert {key(line) for line in lines(arguments.results)} == {(SMALL.data, 0, v.__name__) for v in VARIANTS}
    main(arguments)
    assert arguments.results.read_text() == text


def test_the_cells_are_those_of_the_record():
    assert {(e.data, e.method, e.scale) for e in cells()} == {
        ("mnist", "l2rw", "reduced"),
        ("fashion_mnist", "l2rw", "reduced"),
    }
