"""Run the tests of what was changed: quick ones, so that they can be run after every edit.

    python tools/check.py [BASE]

What differs from BASE, by default the last commit, decides: a test file that was changed; those that import a module
that was changed, directly; those that name a file that was changed, such as a chapter or a page. Left out are tests
that take long (`apart`) or need the built book: these are part of `make test`.
"""

from __future__ import annotations

import argparse
import ast
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = {"tools/pages": "", "tools": "", "tests": "", "benchmarks": "benchmarks", "l2rw_core": "l2rw_core"}
"""Folder -> the package as which its modules are imported; the longest folder that fits counts."""
NEED_THE_BOOK = ("tests/browser", "tests/book/test_build_cache.py")


def changed_files(base: str) -> list[str]:
    """Files that differ from a commit, or that git does not know yet; paths from the root."""
    git = ("git", "-C", str(ROOT))
    differ = subprocess.run(
        [*git, "diff", "--name-only", "-z", base], capture_output=True, text=True, check=True
    ).stdout
    others = [*git, "ls-files", "--others", "--exclude-standard", "-z"]
    new = subprocess.run(others, capture_output=True, text=True, check=True).stdout
    return sorted({name for name in (differ + new).split("\0") if name})


def module_of(file: str) -> str | None:
    """The name under which a file of Python is imported, None for what is no module."""
    path = Path(file)
    folder = next((f for f in sorted(SOURCES, key=len, reverse=True) if path.is_relative_to(f)), None)
    if path.suffix != ".py" or folder is None:
        return None
    inner = path.relative_to(folder).with_suffix("").parts
    parts = [*filter(None, [SOURCES[folder]]), *(inner if SOURCES[folder] else inner[-1:])]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(text: str) -> set[str]:
    """What a program imports anywhere in it, by full names: modules, and what it takes out of modules."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def needs(name: str, module: str) -> bool:
    """Whether an imported name is a module, something in it, or a package that has it."""
    package = (ROOT / Path(*name.split(".")) / "__init__.py").is_file()
    return name == module or name.startswith(f"{module}.") or (package and module.startswith(f"{name}."))


def handed_on(package: Path) -> dict[str, str]:
    """Name as which a package hands something on -> the module that it comes from."""
    tree = ast.parse((package / "__init__.py").read_text())
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    dotted = ".".join(package.relative_to(ROOT).parts)
    return {f"{dotted}.{alias.name}": node.module for node in nodes for alias in node.names}


def tests_of(changed: Iterable[str]) -> list[str]:
    """Test files that these changes can break directly; paths from the root."""
    changed = list(changed)
    modules = {module for file in changed if (module := module_of(file))}
    data = {Path(file).name for file in changed if not file.endswith(".py")} - {"CHANGELOG.md"}
    homes = {k: v for init in (ROOT / "l2rw_core").rglob("__init__.py") for k, v in handed_on(init.parent).items()}
    chosen = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        file, text = path.relative_to(ROOT).as_posix(), path.read_text()
        names = {homes.get(name, name) for name in imported(text)}
        needed = any(needs(name, module) for name in names for module in modules)
        if file in changed or needed or any(f'"{other}"' in text for other in data):
            chosen.append(file)
    chapters = any(file.endswith(".ipynb") for file in changed)
    return sorted({*chosen, *(["tests/chapters/test_chapters.py"] if chapters else [])})


def command(files: list[str]) -> list[str]:
    """How pytest is called for these files: without what takes long, on all cores where that is worth it."""
    own = [file for file in files if not file.startswith(NEED_THE_BOOK)]
    several = ["--numprocesses", "logical", "--dist", "loadgroup"] if len(own) > 1 else []
    return [sys.executable, "-m", "pytest", "-q", "-m", "not apart and not of_the_book", *several, *own] if own else []


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Run the quick tests of what was changed.")
    parser.add_argument("base", nargs="?", default="HEAD", help="the commit to compare with, for example main")
    files = tests_of(changed_files(parser.parse_args(arguments).base))
    words = command(files)
    print(f"{len(files)} files of tests" if words else "nothing that was changed has tests of its own")
    if not words:
        return 0
    status = subprocess.run(words, cwd=ROOT, env={"OMP_NUM_THREADS": "1", **os.environ}, check=False).returncode
    return 0 if status == 5 else status  # 5: all were left out


if __name__ == "__main__":
    sys.exit(main())
