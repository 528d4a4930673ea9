"""Install the wheel alone, as somebody does who wants it in a loop of their own, and run the README's loop.

    python tools/bare_wheel.py [--offline]

The environment is a new one and has the package, torch, numpy, tqdm and what these bring. In it the loop trains, and
whatever needs more says in one line which extra brings it. With --offline everything comes from uv's cache.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
NOT_THERE = ("anywidget", "joblib", "matplotlib", "pandas", "scipy", "sklearn", "torchvision", "tyro")

LOOP = """
import torch
torch.manual_seed(0)
loader = [(torch.rand(8, 3, 32, 32), torch.randint(10, (8,))) for _ in range(3)]
clean_batch = loader[0]
{loop}
assert step.weights.shape == (8,), step
print("the README's loop:", step)
"""
NOTHING_ELSE = """
from importlib.util import find_spec
there = [name for name in {names} if find_spec(name)]
assert not there, f"the base brings {{there}}"
"""
NAMED = """
import importlib, l2rw_core.extras
for part, extra in {parts}.items():
    try:
        importlib.import_module(f"l2rw_core.{{part}}")
    except l2rw_core.extras.MissingExtra as error:
        assert f"l2rw-core[{{extra}}]" in str(error), error
        print(f"{{part}}: {{error}}")
    else:
        raise SystemExit(f"{{part}} needs no extra, so it can be imported here: say so in tools/bare_wheel.py")
"""
PARTS = {"audit": "audit", "experiments": "experiments", "figures": "chapters", "interactive": "chapters"}


class Failed(Exception):
    """A command failed; the message is what it said."""


def loop_of_the_readme() -> str:
    """The README's loop as it is after the change of three lines."""
    (diff,) = re.findall(r"```diff\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    return "\n".join(line[1:] for line in diff.splitlines() if not line.startswith("-"))


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command away from the checkout, where only what is installed can be imported."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def checked(*command: str | Path, cwd: Path) -> str:
    """What a command prints; Failed if it fails."""
    done = run(*command, cwd=cwd)
    if done.returncode:
        raise Failed(f"{' '.join(map(str, command[:4]))} ...\n{done.stdout}{done.stderr}")
    return done.stdout


def install(folder: Path, offline: bool) -> Path:
    """A new environment with the wheel and nothing else; returns its folder of programs."""
    uv = (sys.executable, "-m", "uv", *(["--offline"] if offline else []))
    checked(*uv, "build", "--wheel", "--out-dir", folder / "dist", ROOT, cwd=folder)
    (wheel,) = (folder / "dist").glob("*.whl")
    checked(*uv, "venv", "--python", sys.executable, folder / "venv", cwd=folder)
    programs = folder / "venv" / "bin"
    checked(*uv, "pip", "install", "--python", programs / "python", "-c", ROOT / "constraints.txt", wheel, cwd=folder)
    return programs


def try_out(programs: Path, folder: Path) -> None:
    """Run the loop, and ask for what is not there."""
    program = LOOP.format(loop=loop_of_the_readme()) + NOTHING_ELSE.format(names=NOT_THERE) + NAMED.format(parts=PARTS)
    print(checked(programs / "python", "-c", program, cwd=folder), end="")
    done = run(programs / "l2rw", "--help", cwd=folder)
    if not done.returncode or len(done.stderr.splitlines()) != 1 or "l2rw-core[experiments]" not in done.stderr:
        raise Failed(f"the command l2rw has to say in one line what it lacks, and said:\n{done.stdout}{done.stderr}")
    print(done.stderr, end="")


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Install the wheel alone and run the README's loop.")
    parser.add_argument("--offline", action="store_true", help="take all packages from uv's cache")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            try_out(install(folder, options.offline), folder)
        except Failed as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
