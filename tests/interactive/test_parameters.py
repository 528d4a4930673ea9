"""Parameters that cannot be are refused in one sentence, in the chapter's own process and by papermill."""

from __future__ import annotations

import math
from pathlib import Path

import nbformat
import papermill
import pytest

from l2rw_core.datasets import PairImbalance
from l2rw_core.experiments import grid, mnist_imbalance
from l2rw_core.interactive import ParameterError, check_parameters
from l2rw_core.interactive.parameters import check_data

DIGITS = {"quick": grid("noise_imbalance", "quick").cells[0].experiment}
USUAL = {"profile": "quick", "seed": 0, "imbalance": 10.0, "noise": 0.4, "clean": 50}
CHAPTER = Path(__file__).parents[2] / "chapters" / "03_what_a_weight_measures.ipynb"

WRONG = {
    "profile": ({"profile": "qick"}, "profile must be one of quick, and is 'qick'"),
    "seed": ({"seed": -1}, "seed must be a whole number from 0 .*, and is -1"),
    "fraction of a seed": ({"seed": 1.5}, "seed must be a whole number"),
    "percent": ({"noise": "40%"}, "noise must be a share from 0 to 1, such as 0.4 .*, and is '40%'"),
    "too much noise": ({"noise": 1.5}, "noise must be a share from 0 to 1.*1.5"),
    "no number": ({"noise": math.nan}, "noise must be a share.*nan"),
    "nothing": ({"noise": None}, "noise must be a share.*None"),
    "truth value": ({"clean": True}, "clean must be a whole number of images.*True"),
    "no clean image": ({"clean": 0}, "clean must be a whole number of images from 1, and is 0"),
    "below balance": ({"imbalance": 0.5}, "imbalance must be a number from 1.*0.5"),
    "infinite imbalance": ({"imbalance": math.inf}, "imbalance must be a number from 1"),
    "too large a clean set": ({"clean": 390}, "digits does not allow .*clean=390: the clean set wants .* ask for"),
    "too large an imbalance": ({"imbalance": 1000}, "imbalance=1000, .*: 400 images .* choose a milder tail"),
    "own limits": ({"noise": 0.0, "limits": {"noise": (0.1, 0.9)}}, "noise must be from 0.1 to 0.9 in this chapter"),
}


@pytest.mark.parametrize(("change", "says"), WRONG.values(), ids=WRONG)
def test_a_value_that_cannot_be_is_refused_in_one_sentence(change: dict, says: str) -> None:
    with pytest.raises(ParameterError, match=f"(?i){says}") as refused:
        check_parameters(DIGITS, **{**USUAL, **change})
    assert refused.value._render_traceback_() == [f"ParameterError: {refused.value}"]


@pytest.mark.parametrize(
    "change", [{}, {"imbalance": 1}, {"noise": 0}, {"noise": 0.123, "imbalance": 3.7}, {"clean": 7}]
)
def test_whatever_the_data_allow_passes(change: dict) -> None:
    check_parameters(DIGITS, **{**USUAL, **change})


def test_a_pair_may_have_any_imbalance_that_leaves_a_rare_image() -> None:
    pair = mnist_imbalance(scale="quick", data="mnist_4982")
    assert isinstance(pair.biases[0], PairImbalance)
    check_data(pair, imbalance=30)
    check_data(pair, imbalance=800, clean=10)
    with pytest.raises(
        ParameterError, match="no image of class 0 would be left to train on; choose a milder imbalance"
    ):
        check_data(pair, imbalance=1000, clean=10)


def test_a_chapter_without_data_checks_what_it_has() -> None:
    check_parameters(["quick", "paper"], profile="paper", seed=3)
    with pytest.raises(ParameterError, match="one of quick, paper"):
        check_parameters(["quick", "paper"], profile="reduced", seed=3)


def executed(tmp_path: Path, **parameters: object) -> nbformat.NotebookNode:
    """The first cells of a chapter, by papermill: up to the check of its parameters."""
    notebook = nbformat.read(CHAPTER, as_version=4)
    end = next(k for k, cell in enumerate(notebook.cells) if cell.id == "checked")
    notebook.cells = notebook.cells[: end + 1]
    nbformat.write(notebook, tmp_path / "in.ipynb")
    return papermill.execute_notebook(
        tmp_path / "in.ipynb", tmp_path / "out.ipynb", parameters, cwd=tmp_path, progress_bar=False
    )


def test_papermill_fails_on_a_parameter_that_a_chapter_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(papermill.PapermillExecutionError) as failed:
        executed(tmp_path, seed=1, imbalanse=30)
    assert failed.value.traceback == ["ParameterError: this chapter has no parameter 'imbalanse'; it has profile, seed"]


def test_papermill_sets_what_a_chapter_has(tmp_path: Path) -> None:
    notebook = executed(tmp_path, seed=1, profile="paper")
    assert all(not cell.get("outputs") for cell in notebook.cells)
