"""The example scripts run as their first line says."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_data_parallel_training_under_torchrun():
    script = ROOT / "reference" / "examples" / "data_parallel.py"
    arguments = script.read_text().splitlines()[0].split("torchrun ")[1].split()
    command = [sys.executable, "-m", "torch.distributed.run", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    words = done.stdout.replace(",", "").split()
    assert words[:2] == ["2", "processes:"]
    accuracy, on_wrong, share_of_wrong = (float(w) for w in words if w.startswith("0."))
    assert accuracy > 0.85
    assert on_wrong < 0.8 * share_of_wrong
