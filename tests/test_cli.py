"""The `l2rw` command, in its own process once and in this one otherwise."""

import os
import subprocess
import sys
from typing import get_args

import pytest

from l2rw_core import cli
from l2rw_core.experiments import SCALES, grid_names, load_records

SMALL = ["reproduce", "fig2", "--rows", "baseline", "--jobs", "1", "--set", "steps=12", "evaluate_every=6"]


def test_runs_records_and_does_not_repeat(tmp_path):
    command = [sys.executable, "-m", "l2rw_core", *SMALL, "--trials", "2", "--records", str(tmp_path)]
    first = subprocess.run(command, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stderr
    assert "2 trials, 2 to run" in first.stdout
    recorded = load_records("fig2", tmp_path)
    assert [(r.experiment.seed, r.experiment.steps) for r in recorded] == [(0, 12), (1, 12)]
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.stdout == first.stdout.replace("2 to run", "0 to run")
    assert load_records("fig2", tmp_path) == recorded


def test_its_help_loads_no_torch_and_nothing_that_only_some_of_its_commands_need():
    code = """
import sys, l2rw_core.cli
try:
    l2rw_core.cli.main(["--help"])
except SystemExit:
    print(*sys.modules)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = set(out.splitlines()[-1].split())
    assert "tyro" in loaded
    heavy = {"torch", "numpy", "pandas", "scipy", "joblib", "torchvision", "sklearn", "matplotlib", "IPython"}
    assert not heavy & loaded
    assert {name for name in loaded if name.startswith("l2rw_core.")} == {
        "l2rw_core.cli",
        "l2rw_core.extras",
        "l2rw_core.places",
    }


@pytest.mark.parametrize("own", [None, "7"])
def test_threads_that_wait_do_not_spin_for_long_unless_somebody_wants_them_to(own):
    """PyTorch reads the number as it is loaded, which the help does not do."""
    code = """
import os, l2rw_core.cli
try:
    l2rw_core.cli.main(["--help"])
except SystemExit:
    print(os.environ["GOMP_SPINCOUNT"])
"""
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    environment |= {} if own is None else {"GOMP_SPINCOUNT": own}
    command = [sys.executable, "-c", code]
    out = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    assert out.splitlines()[-1] == (own or "1000")


def test_names_that_are_written_out_are_those_there_are():
    assert get_args(cli.GridName) == grid_names()
    assert get_args(cli.Scale) == SCALES


def test_fields_are_set_to_values_of_their_kinds(tmp_path):
    changes = ["steps=3", "lr=0.5", "augment=True", "lr_drops=1,2", "model=mlp", "fine_tune_steps=0"]
    cli.main([*SMALL[:-2], *changes, "--records", str(tmp_path)])
    (record,) = load_records("fig2", tmp_path)
    e = record.experiment
    assert (e.steps, e.lr, e.augment, e.lr_drops, e.model) == (3, 0.5, True, (1, 2), "mlp")
    assert (e.scale, e.method) == ("quick", "baseline")


def test_what_is_changed_is_not_called_the_papers():
    cell, plain = (cli.Reproduce("fig2", "paper", rows=("l2rw",), changes=c)._cells()[0] for c in (("lr=1",), ()))
    assert cli._changed(cell, ("lr=0.5",)).experiment == cell.experiment.with_(lr=0.5, scale="reduced")
    assert cli._changed(plain, ()) == plain
    assert plain.experiment.scale == "paper"


def test_show_summarises(tmp_path, capsys):
    cli.main([*SMALL, "--records", str(tmp_path)])
    capsys.readouterr()
    cli.main(["show", "--records", str(tmp_path)])
    header, row = capsys.readouterr().out.splitlines()
    assert "last error %" in header
    assert "baseline" in row


@pytest.mark.parametrize("arguments", [["--help"], ["reproduce", "--help"], ["show", "--help"]])
def test_explains_itself(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 0
    assert "record" in capsys.readouterr().out


def test_showing_an_empty_folder_says_so(tmp_path, capsys):
    cli.main(["show", "--records", str(tmp_path)])
    assert "nothing on record" in capsys.readouterr().out


def test_showing_an_experiment_that_is_not_on_record_says_what_is(tmp_path, capsys):
    for there in ("the folder holds no record", "there is fig2"):
        with pytest.raises(SystemExit) as stop:
            cli.main(["show", "--name", "nope", "--records", str(tmp_path)])
        assert stop.value.code == 2
        assert capsys.readouterr().err == f"l2rw: nothing of 'nope' is on record in {tmp_path}: {there}\n"
        cli.main([*SMALL, "--records", str(tmp_path)])
        capsys.readouterr()
    cli.main(["show", "--name", "fig2", "--records", str(tmp_path)])
    assert "baseline" in capsys.readouterr().out


def test_a_dry_run_needs_no_device_and_counts_runs_that_are_shared(tmp_path, capsys):
    plan = ["reproduce", "table2", "--dry-run", "--device", "cuda:99", "--records", str(tmp_path)]
    cli.main(plan)
    said = "table2 at the scale quick: 24 trials, of which 5 share the run of another, 19 to run\n"
    assert capsys.readouterr().out == said
    cli.main([*plan, "--rows", "l2rw"])
    assert capsys.readouterr().out == "table2 at the scale quick: 1 trials, 1 to run\n"
