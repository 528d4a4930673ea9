"""The `l2rw` command, in its own process once and in this one otherwise."""

import subprocess
import sys

import pytest

from l2rw_core import cli
from l2rw_core.experiments import load_records

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
