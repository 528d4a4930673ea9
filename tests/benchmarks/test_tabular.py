"""The comparison on tables is on record, and the page shows it, with what was lost."""

from pathlib import Path

from benchmarks.audits import read
from benchmarks.tabular import METHODS, TABLES, table

ROOT = Path(__file__).parents[2]
LINES = read(ROOT / "data" / "results" / "benchmarks" / "tabular.jsonl")


def test_the_page_shows_what_is_on_record():
    assert table(LINES) in (ROOT / "reference" / "api" / "audit.md").read_text()
    assert {line["case"] for line in LINES} == set(TABLES)
    assert all(set(line["accuracy"]) == set(METHODS) for line in LINES)


def test_a_cell_is_the_mean_and_the_range_of_its_trials():
    trials = [
        {"case": "wine", "n": 1234, "accuracy": {method: 0.5 + place / 10 for place, method in enumerate(METHODS)}},
        {"case": "wine", "n": 1234, "accuracy": dict.fromkeys(METHODS, 0.4)},
    ]
    row = table(trials).splitlines()[2]
    assert row.startswith("| wine, 1,234 | 20% uniform | 2 | 0.450<br>0.400 to 0.500 | 0.500<br>0.400 to 0.600 |")
    assert row.endswith("| **0.700**<br>0.400 to 1.000 |")
