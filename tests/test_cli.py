"""The `l2rw` command, in its own process once and in this one otherwise."""

import subprocess
import sys
from typing import get_args

import pytest

from l2rw_core import cli
from l2rw_core.experiments import MAJORITY_SHARES, largest_ratio, load_records, mnist_imbalance

SMALL = ["run", "--data", "digits", "--ratio", "10", "--method", "baseline", "--threads", "1", "--steps", "12"]


def test_runs_records_and_does_not_repeat(tmp_path):
    command = [sys.executable, "-m", "l2rw_core", *SMALL, "--trials", "2", "--records", str(tmp_path)]
    first = subprocess.run(command, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stderr
    assert first.stdout.count("test error") == 2
    kept = load_records("fig2", tmp_path)
    assert [(r.experiment.seed, r.experiment.steps) for r in kept] == [(0, 12), (1, 12)]
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.stdout == first.stdout
    assert load_records("fig2", tmp_path) == kept


def test_it_starts_without_what_only_some_of_its_commands_need():
    code = "import sys, l2rw_core.cli; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torchvision", "sklearn", "matplotlib", "IPython", "ipywidgets"} & set(loaded)


def test_again_repeats_and_show_summarises(tmp_path, capsys):
    cli.main([*SMALL, "--records", str(tmp_path)])
    cli.main([*SMALL, "--again", "--records", str(tmp_path)])
    assert len(load_records("fig2", tmp_path)) == 2
    capsys.readouterr()
    cli.main(["show", "--records", str(tmp_path)])
    header, row = capsys.readouterr().out.splitlines()
    assert "last error %" in header
    assert "baseline" in row


def test_a_length_of_ones_own_is_not_called_the_papers(tmp_path):
    cli.main([*SMALL, "--scale", "paper", "--records", str(tmp_path)])
    assert load_records("fig2", tmp_path)[0].experiment.scale == "reduced"


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["show", "--help"]])
def test_explains_itself(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 0
    assert "record" in capsys.readouterr().out


def test_showing_an_empty_folder_says_so(tmp_path, capsys):
    cli.main(["show", "--records", str(tmp_path)])
    assert "nothing on record" in capsys.readouterr().out


def test_the_imbalance_is_the_largest_that_the_data_have(tmp_path, capsys):
    cli.main(["run", "--data", "digits", "--method", "baseline", "--steps", "1", "--records", str(tmp_path)])
    assert "digits 4 against 9, 20:1" in capsys.readouterr().out
    assert cli.Run(method="baseline")._ratio() == 200
    assert cli.Run(data="digits", ratio=10)._ratio() == 10


@pytest.mark.parametrize("data", get_args(cli.DataName))
def test_the_largest_imbalance_leaves_rare_images_beside_the_clean_set(data):
    (pair,) = mnist_imbalance(ratio=largest_ratio(data), data=data).biases
    assert pair.counts[0] > 5
    larger = [ratio for ratio in MAJORITY_SHARES if ratio > largest_ratio(data)]
    assert all(mnist_imbalance(ratio=ratio, data=data).biases[0].counts[0] <= 5 for ratio in larger)


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
