"""Who uses one trainer does not load another, and who uses none loads none."""

import subprocess
import sys

HEAVY = {"lightning", "pytorch_lightning", "transformers", "accelerate", "sklearn", "skorch"}


def test_no_trainer_is_loaded_until_its_adapter_is():
    code = "import sys, l2rw_core, l2rw_core.loops; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not HEAVY & set(out.split())
