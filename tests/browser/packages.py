"""What the pages would load from a network, installed by npm: `python tests/browser/packages.py` does it beforehand."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

WANTED = Path(__file__).with_name("package.json")
PACKAGES = Path(__file__).parents[2] / "_build" / "npm"
# Where there is no network this ends in seconds; npm's own defaults wait for minutes.
PATIENCE = ("--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=3000")


class Unavailable(Exception):
    """There is no npm, or it could not install the packages; the message says which."""


def installed_packages(wanted: Path = WANTED) -> Path:
    """`node_modules` with the packages of this manifest, installed if another one or none was.

    Raises:
        Unavailable: they are not there and cannot be installed.
    """
    installed = PACKAGES / "package.json"
    if installed.is_file() and installed.read_bytes() == wanted.read_bytes():
        return PACKAGES / "node_modules"
    npm = shutil.which("npm")
    if npm is None:
        raise Unavailable("npm is not installed")
    shutil.rmtree(PACKAGES, ignore_errors=True)
    unfinished = PACKAGES / "unfinished"
    unfinished.mkdir(parents=True)
    shutil.copy(wanted, unfinished)
    command = [
        npm,
        "install",
        "--no-save",
        "--no-package-lock",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        *PATIENCE,
    ]
    done = subprocess.run(command, cwd=unfinished, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"npm install failed:\n{done.stderr}")
    # The manifest arrives last: its presence says that the packages are complete.
    (unfinished / "node_modules").rename(PACKAGES / "node_modules")
    (unfinished / "package.json").rename(installed)
    return PACKAGES / "node_modules"


if __name__ == "__main__":
    try:
        print(installed_packages())
    except Unavailable as error:
        sys.exit(f"error: {error}")
