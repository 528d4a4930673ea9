"""Who uses one trainer does not load another, and who uses none loads none."""

import subprocess
import sys

import pytest

HEAVY = {"lightning", "pytorch_lightning", "transformers", "accelerate", "sklearn", "skorch"}


@pytest.mark.parametrize("name", ["l2rw_core", "l2rw_core.adapters"])
def test_no_trainer_is_loaded_until_its_adapter_is(name):
    code = f"import sys, {name}; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not HEAVY & set(out.split())
