"""Expressions of a page's script, evaluated by node."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def in_node(script: Path, name: str) -> Callable[..., Any]:
    """Evaluates an expression in which the module is called `name`, with constants as given; skips without node."""
    node = shutil.which("node")
    if not node:
        pytest.skip("needs node")

    def run(expression: str, **constants: Any) -> Any:
        program = f"import * as {name} from {json.dumps(script.as_uri())};\n"
        program += "".join(f"const {key} = {json.dumps(value)};\n" for key, value in constants.items())
        program += f"console.log(JSON.stringify({expression}));"
        command = [node, "--no-warnings", "--input-type=module", "--eval", program]
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)

    return run
