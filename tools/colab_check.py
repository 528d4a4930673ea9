"""Run every notebook as a Colab user would, and the tests of the method: Colab's versions, no data, no repository.

    python tools/colab_check.py [NAME ...]

The notebooks are those that readers open, as `make notebooks` leaves them. Builds the wheel; makes an environment with
the versions of `tools/colab.txt`; lets one notebook install the package by its own first cell, from the last commit in
place of the public address; then installs the wheel, requires that this has changed none of Colab's versions, and runs
the notebooks by papermill in an empty folder, which has to stay empty. Without a NAME it ends
with the tests that depend on what PyTorch does inside. The environment is kept in `_build/colab`, so a second run is
quick; outputs never are.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import nbformat
import papermill
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from repository import CELL_ID, CHAPTERS, current_address, extras_of

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "_build" / "notebooks"
PYTHON = "3.13"
KERNEL = "colab"
METHOD = (
    "engines",
    "test_factors.py",
    "test_in_your_loop.py",
    "test_methods.py",
    "test_reweight.py",
    "test_scoring.py",
)
"""Tests of the method: another version of PyTorch may do the same in another way inside."""

CLOSED_PORT = "http://127.0.0.1:9"
"""As a proxy: nothing listens there, so a download of data fails at once."""


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Run the notebooks in an environment with Colab's versions.")
    parser.add_argument("names", nargs="*", help="only notebooks whose name contains one of these")
    parser.add_argument("--python", default=PYTHON, help="version or interpreter, for uv")
    parser.add_argument("--timeout", type=int, default=600, help="seconds that a cell may take, for a busy machine")
    parser.add_argument("--keep", type=Path, default=ROOT / "_build" / "colab", help="folder of the environment")
    options = parser.parse_args(arguments)
    made = sorted(NOTEBOOKS.rglob("*.ipynb"))
    chosen = [path for path in made if not options.names or any(name in path.stem for name in options.names)]
    if not chosen:
        wanted = f" is named like {', '.join(options.names)}" if options.names else " is there"
        parser.error(f"no notebook{wanted}; `make notebooks` makes them")
    try:
        python = make_environment(options.keep, options.python)
        with tempfile.TemporaryDirectory() as folder:
            faulty = check(python, chosen, Path(folder), options.timeout)
            return faulty if options.names else int(check_method(python, Path(folder)) or faulty)
    except subprocess.CalledProcessError as error:
        print(f"failed: {' '.join(map(str, error.cmd))}\n{error.stderr or ''}", file=sys.stderr)
        return 1


def check(python: Path, chosen: Sequence[Path], folder: Path, timeout: int) -> int:
    """Run the first cell, then the notebooks, and print a line for each; returns the exit status."""
    register_kernel(python, folder / "share")
    os.environ["JUPYTER_PATH"] = str(folder / "share")
    faults = [try_first_cell(python, chosen[0], folder)]
    install_wheel(python, chosen, folder)
    moved = ", ".join(moved_versions(python))
    faults.append(told("Colab's versions after installing the package", moved and f"changed: {moved}"))
    faults += [run(path, folder, timeout) for path in chosen]
    return int(any(faults))


def told(what: str, fault: str, started: float | None = None) -> bool:
    """Print a line on what was tried, and its fault at once; returns whether there is one."""
    took = "" if started is None else f"  {time.monotonic() - started:.1f} s"
    print(f"{'FAILED' if fault else 'ok    '} {what}{took}", flush=True)
    if fault:
        print(fault, file=sys.stderr, flush=True)
    return bool(fault)


# --- the environment -------------------------------------------------------------------------------------------------


def make_environment(folder: Path, wanted: str) -> Path:
    """An environment with Colab's versions and not the package; returns its Python."""
    python = folder / "bin" / "python"
    if not python.exists():
        uv("venv", "--seed", "--python", interpreter(wanted), folder)
    uv("pip", "install", "--python", python, "-r", ROOT / "tools" / "colab.txt")
    uv("pip", "uninstall", "--python", python, "l2rw-core")
    found = output(python, "-c", "import platform; print(platform.python_version())")
    print(f"Colab's versions on Python {found}", flush=True)
    if wanted == PYTHON and not found.startswith(PYTHON):
        print(f"warning: Colab has Python {PYTHON}; there is none here, and uv could not fetch one", file=sys.stderr)
    return python


def interpreter(wanted: str) -> str:
    """What uv is to make the environment with: the version if it finds or fetches it, else what pyenv or we have."""
    found = subprocess.run([*UV, "python", "find", wanted], capture_output=True, text=True, check=False)
    if found.returncode == 0:
        return found.stdout.strip()
    if kept := sorted(Path.home().glob(f".pyenv/versions/{wanted}*/bin/python")):
        return str(kept[-1])
    fetched = subprocess.run([*UV, "python", "install", wanted], capture_output=True, text=True, check=False)
    return wanted if fetched.returncode == 0 else sys.executable


def install_wheel(python: Path, chosen: Sequence[Path], folder: Path) -> None:
    """Build the wheel and install it with the extras that the notebooks ask for, over whatever is there."""
    uv("build", "--out-dir", folder / "dist", ROOT)  # by way of the source archive: no stale files get in
    (wheel,) = (folder / "dist").glob("*.whl")
    extras = sorted({CHAPTERS, *(extra for path in chosen for extra in extras_of(json.loads(path.read_text())))})
    uv("pip", "install", "--python", python, "--reinstall-package", "l2rw-core", f"{wheel}[{','.join(extras)}]")


def moved_versions(python: Path) -> list[str]:
    """Versions of `tools/colab.txt` that the environment no longer has."""
    lines = (ROOT / "tools" / "colab.txt").read_text().splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")]
    have = output(*UV, "pip", "freeze", "--python", python).splitlines()
    return sorted(set(wanted) - {re.sub(r"\+\w+$", "", line) for line in have})


# --- the notebooks ---------------------------------------------------------------------------------------------------


def register_kernel(python: Path, share: Path) -> None:
    """Make the environment known to papermill, without the working tree on its path, and with no way to any data."""
    (share / "kernels" / KERNEL).mkdir(parents=True)
    environment = {
        "L2RW_PROGRESS": "0",
        "PYTHONPATH": "",
        "PYTHONNOUSERSITE": "1",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    closed = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), CLOSED_PORT)
    command = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"display_name": "Colab", "language": "python", "argv": command, "env": environment | closed}
    (share / "kernels" / KERNEL / "kernel.json").write_text(json.dumps(spec))


def try_first_cell(python: Path, path: Path, folder: Path) -> bool:
    """Whether a notebook's first cell fails to install the package; git is shown the last commit for the address.

    Only this cell is run, so that the network is open to the registries for as long as it takes.
    """
    notebook = nbformat.read(path, as_version=4)
    cell = next(cell for cell in notebook.cells if cell.cell_type == "code")
    script = folder / "first_cell.ipy"
    script.write_text(f"{cell.source}\nimport l2rw_core\nprint('from', l2rw_core.__file__)\n")
    at_home = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.{ROOT.as_uri()}.insteadOf"}
    at_home |= {"GIT_CONFIG_VALUE_0": current_address(ROOT), "PYTHONPATH": "", "PYTHONNOUSERSITE": "1"}
    started = time.monotonic()
    done = subprocess.run(
        [python, "-m", "IPython", "--no-banner", script],
        cwd=folder, env=os.environ | at_home, capture_output=True, text=True, check=False,
    )  # fmt: skip
    installed = done.returncode == 0 and "site-packages" in done.stdout
    return told(f"first cell ({CELL_ID})", "" if installed else done.stdout + done.stderr, started)


def run(path: Path, folder: Path, timeout: int) -> bool:
    """Run a notebook in an empty folder, its cells for `timeout` seconds each; returns whether something is wrong."""
    work = folder / path.stem
    work.mkdir()
    os.environ.pop("L2RW_DATA", None)
    started, fault = time.monotonic(), ""
    try:
        done = papermill.execute_notebook(
            path,
            folder / f"{path.stem}.ipynb",
            kernel_name=KERNEL,
            cwd=work,
            progress_bar=False,
            execution_timeout=timeout,
        )
        noise = [o.text for cell in done.cells for o in cell.get("outputs", []) if o.get("name") == "stderr"]
        fault = f"wrote to stderr: {' '.join(noise)}" if noise else ""
    except (papermill.PapermillExecutionError, CellTimeoutError, DeadKernelError) as error:
        fault = str(error)
    left = sorted(str(file.relative_to(work)) for file in work.rglob("*"))
    shutil.rmtree(work)
    fault = fault or (f"left behind: {', '.join(left)}" if left else "")
    return told(str(path.relative_to(NOTEBOOKS)), fault, started)


# --- the method ------------------------------------------------------------------------------------------------------


def check_method(python: Path, folder: Path) -> bool:
    """Whether one of the method's tests fails, of the working tree."""
    (wheel,) = (folder / "dist").glob("*.whl")
    uv("pip", "install", "--python", python, "-c", ROOT / "tools" / "colab.txt", f"{wheel}[dev]")
    files = [f"tests/{name}" for name in METHOD]
    started = time.monotonic()
    done = subprocess.run(
        [python, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", *files],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return told("tests of the method", done.stdout + done.stderr if done.returncode else "", started)


UV = (sys.executable, "-m", "uv")


def uv(*arguments: str | Path) -> None:
    """Run uv, quietly; CalledProcessError with what it said if it fails."""
    subprocess.run([*UV, *map(str, arguments)], capture_output=True, text=True, check=True)


def output(*command: str | Path) -> str:
    """What a command prints."""
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
