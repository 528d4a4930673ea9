"""Figure and tables of step costs say what the recorded lines say."""

import itertools
import json
import re

import numpy as np
import pytest

from l2rw_core.experiments import load_records, results_root
from l2rw_core.figures.benchmarks import (
    Multiple,
    by_case,
    case_title,
    cost_table,
    fastest,
    knob_table,
    load_benchmark,
    median_ratio,
    step_costs,
    surplus,
    surplus_table,
)

LINES = load_benchmark("step_cost")
CASES = by_case(LINES)
KNOBS = load_benchmark("knobs")
TIMED = [line for line in LINES if "ratios" in line]


def test_every_exact_system_on_record_agreed_with_algorithm_1():
    errors = [line["weight_error"] for line in TIMED if line["exact"] and line["system"] != "plain"]
    assert len(errors) > 20
    assert max(errors) < 1e-9


def test_the_sentence_names_the_fastest_on_either_side_and_the_count():
    alt = step_costs(LINES).alt
    for systems in CASES.values():
        exact = {name: line for name, line in systems.items() if line.get("exact") and name != "plain"}
        ours = {name: np.median(line["ratios"]) for name, line in exact.items() if line["package"] == "l2rw-core"}
        peers = {name: np.median(line["ratios"]) for name, line in exact.items() if name not in ours}
        mine, peer = min(ours, key=ours.get), min(peers, key=peers.get)
        count = f"count {systems['plain']['bound']:.2f}."
        assert f"{case_title(systems['plain'])}: {mine} {ours[mine]:.2f}, {peer} {peers[peer]:.2f}, {count}" in alt


def test_a_case_measured_again_keeps_its_place_and_shows_its_newest_run(tmp_path):
    first, *others = CASES
    again = [{**line, "started": "2999-01-01", "seconds": 1.0} for line in CASES[first].values()]
    (tmp_path / "step_cost.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [*LINES, *again]))
    found = by_case(load_benchmark("step_cost", folder=tmp_path))
    assert list(found) == list(CASES)
    assert {line["seconds"] for line in found[first].values()} == {1.0}
    assert all(found[case] == CASES[case] for case in others)


def test_an_approximation_is_never_the_fastest_exact_one():
    systems = CASES["lenet"]
    instant = {**systems, "betty": {**systems["betty"], "ratios": [0.1] * 5}}
    assert fastest(instant, ours=False)["system"] != "betty"


def test_the_table_has_every_measurement_and_says_what_was_skipped():
    first = LINES[0]
    missing = {"system": "torchopt", "skipped": "torchopt is not installed"}
    without = [line for line in LINES if (line["case"], line["system"]) != (first["case"], "torchopt")]
    table = cost_table([*without, {**first, **missing}])
    assert "Ours: forward, ghost, reverse, lookahead. Approximate: betty. " in table.caption
    assert f"Not run: torchopt on {case_title(first)}, because torchopt is not installed." in table.caption
    assert table.html.count("<td>not run</td>") == 1 + sum("skipped" in line for line in LINES)
    assert table.html.count("<span popover") == sum(line["system"] != "plain" for line in TIMED) - 1


def test_a_number_opens_how_it_was_measured_and_is_no_trial():
    line = next(line for line in TIMED if line["system"] == "higher")
    text = Multiple(line, "memory").html
    assert f">{line['memory_ratio']:.2f}</button>" in text
    low, middle, high = np.quantile(line["ratios"], (0.25, 0.5, 0.75))
    assert f"{middle:.2f} plain steps, quartiles {low:.2f} and {high:.2f} of {len(line['ratios'])} rounds" in text
    assert f"higher {line['version']}" in text
    assert "data-records" not in text


def test_surpluses_add_up_to_what_lies_beyond_the_count():
    counts = {"forward": "bound", "ghost": "uncoupled_bound"}
    for name, systems in itertools.product(counts, CASES.values()):
        line = systems[name]
        if "ratios" in line:
            beyond = median_ratio(line) - line[counts[name]]
            assert sum(surplus(systems, name).values()) == pytest.approx(beyond, abs=1e-3)
        plain = surplus({**systems, "plain": {**systems["plain"], "bound": 1.0}}, "plain")
        assert list(plain.values()) == pytest.approx([0] * len(plain))
    assert len(re.findall('<th scope="row">', surplus_table(LINES).html)) == len(CASES)


def test_knobs_stand_beside_the_exact_step():
    table = knob_table(KNOBS)
    assert [row[0] for row in table.rows] == ["exact", *(line["title"] for line in KNOBS if "title" in line)]
    assert table.rows[0][-2:] == ["0", "0%"]
    last = KNOBS[-1]
    assert table.rows[-1][-2:] == [f"{np.mean(last['distances']):.2f}", f"{1 - np.mean(last['same_signs']):.0%}"]


def test_measurements_are_no_trials_and_a_torn_line_is_named(tmp_path):
    assert load_records()  # reads every file of trials, and no benchmark
    text = (results_root() / "benchmarks" / "knobs.jsonl").read_text().splitlines()[0]
    (tmp_path / "knobs.jsonl").write_text(f"{text}\n{text[:50]}\n")
    with pytest.raises(ValueError, match=r"knobs\.jsonl, line 2, is not a measurement"):
        load_benchmark("knobs", folder=tmp_path)


def test_another_kind_of_device_is_another_comparison(tmp_path):
    line = TIMED[0]
    elsewhere = {**line, "machine": {**line["machine"], "device": "Some GPU"}, "started": "2099-01-01T00:00:00+00:00"}
    (tmp_path / "step_cost.jsonl").write_text(f"{json.dumps(line)}\n{json.dumps(elsewhere)}\n")
    assert load_benchmark("step_cost", folder=tmp_path) == [line]
    assert load_benchmark("step_cost", device="Some GPU", folder=tmp_path) == [elsewhere]
