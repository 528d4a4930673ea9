"""Where something is missing, one error names the extra that brings it; and each extra brings what is asked of it."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from l2rw_core.extras import MissingExtra, require

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MODULES = {"imbalanced-learn": "imblearn", "pillow": "PIL", "scikit-learn": "sklearn"}
PARTS = {"audit": "pandas", "experiments": "joblib", "figures": "matplotlib", "interactive": "anywidget"}
WITHOUT = """
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "{module}" else find(name, package)
import l2rw_core.{part}
"""


def modules_of(extra):
    """What an extra brings, by the names under which it is imported."""
    brought = set()
    for requirement in map(Requirement, PROJECT["optional-dependencies"][extra]):
        if requirement.name == PROJECT["name"]:
            brought |= {module for other in requirement.extras for module in modules_of(other)}
        else:
            brought.add(MODULES.get(requirement.name, requirement.name.replace("-", "_")))
    return brought


def test_what_is_there_is_asked_for_in_vain():
    require("audit", "pandas", "torch")


def test_what_is_missing_is_named_with_its_extra():
    with pytest.raises(MissingExtra, match=r"^this needs no_such_thing, .*pip install 'l2rw-core\[audit\]'$"):
        require("audit", "pandas", "no_such_thing")


@pytest.mark.parametrize("part", PARTS)
def test_a_part_without_what_it_needs_is_one_error_before_anything_of_it_is_loaded(part):
    code = WITHOUT.format(module=PARTS[part], part=part)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "MissingExtra: this needs" in done.stderr.splitlines()[-1]
    assert "During handling" not in done.stderr


def test_the_table_of_suspects_names_the_extra_that_it_needs():
    code = WITHOUT.format(module="pandas", part="ledger") + (
        "import torch\nfrom l2rw_core.ledger import WeightLedger, suspects\nsuspects(WeightLedger(2), [0, 1])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MissingExtra: this needs pandas, which the extra audit brings" in done.stderr.splitlines()[-1]


def test_every_extra_brings_what_the_package_asks_of_it():
    asked = [
        (extra, re.findall(r'"(\w+)"', modules))
        for path in (ROOT / "l2rw_core").rglob("*.py")
        for extra, modules in re.findall(r'^ *require\("(\w+)", ([^)]*)\)', path.read_text(), re.MULTILINE)
    ]
    assert len(asked) >= 8
    assert [
        (extra, set(modules) - modules_of(extra)) for extra, modules in asked if set(modules) - modules_of(extra)
    ] == []


def test_the_base_is_torch_numpy_and_a_bar():
    assert {Requirement(text).name for text in PROJECT["dependencies"]} == {"numpy", "torch", "tqdm"}
