"""Imports point one way, and whoever imports one tool loads that tool.

Each rule is looked at twice, in the text: what a module imports anywhere, inside a function too, and what is loaded on
the way when it is imported. That the text says rightly what is loaded, fresh processes show.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "l2rw_core"
CORE = ("arrays", "engines", "factors", "health", "ledger", "reweight", "scoring", "weights")
PRACTICE = ("audit", "loops")
LABORATORY = ("datasets", "experiments", "figures", "interactive", "methods", "models", "report", "theory")
SHARED = ("cli", "running")

NEVER = {
    **dict.fromkeys(CORE, (*PRACTICE, *LABORATORY, *SHARED)),
    "engines": (*(part for part in CORE if part != "engines"), *PRACTICE, *LABORATORY, *SHARED),
    "weights": (*(part for part in CORE if part != "weights"), *PRACTICE, *LABORATORY, *SHARED),
    "audit": ("experiments", "methods", "report", "cli", "interactive"),
    "loops": ("experiments", "methods", "report", "cli", "audit", "figures", "interactive"),
    "experiments": ("figures", "report", "audit", "loops", "cli", "interactive"),
    "datasets": ("experiments", "methods", "report", "audit", "figures", "loops", "cli", "interactive"),
    "methods": ("experiments", "report", "audit", "figures", "loops", "cli", "interactive"),
    "figures": ("report", "audit", "loops", "cli"),
    "running": (*CORE, *PRACTICE, *LABORATORY, "cli"),
}
"""Part of the package -> the parts that it never imports."""

WITH_A_LIBRARY = {"l2rw_core.loops.hf", "l2rw_core.loops.lightning"}
"""Modules that import a library which need not be there: their text is looked at alone."""


@cache
def modules() -> dict[str, Path]:
    """Every module of the package by its name; a package has the name of its folder."""
    paths = {".".join(path.relative_to(ROOT.parent).with_suffix("").parts): path for path in ROOT.rglob("*.py")}
    return {name.removesuffix(".__init__"): path for name, path in sorted(paths.items())}


def part_of(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def imported_by(name: str, at_once: bool = False) -> Iterator[str]:
    """The modules of the package that the text of a module imports: anywhere in it, or when it is itself imported."""
    tree = ast.parse(modules()[name].read_text())
    for node in when_imported(tree) if at_once else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules())
        elif isinstance(node, ast.ImportFrom) and node.module in modules():
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (whole if whole in modules() else node.module for whole in names)


def when_imported(tree: ast.AST) -> Iterator[ast.AST]:
    """What runs of a text at once: no function, and nothing that is for type checkers alone."""
    for node in ast.iter_child_nodes(tree):
        for_checkers = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if not for_checkers and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node
            yield from when_imported(node)


def loaded_by(*names: str) -> set[str]:
    """What of the package is loaded when these are imported, by the text; its own first file, which loads the core for
    everybody, is left out."""
    loaded: set[str] = set()
    waiting = [above for name in names for above in with_packages(name)]
    while waiting:
        name = waiting.pop()
        if name not in loaded:
            loaded.add(name)
            waiting += [above for other in imported_by(name, at_once=True) for above in with_packages(other)]
    return loaded


def with_packages(name: str) -> list[str]:
    """A module and the packages that it lies in, whose first files run before it."""
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(2, len(parts) + 1)]


def libraries_of(name: str) -> set[str]:
    """What else the text of a module imports, outside of Python itself."""
    nodes = list(ast.walk(ast.parse(modules()[name].read_text())))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {whole.split(".")[0] for whole in names} - sys.stdlib_module_names - {"l2rw_core"}


def printed(code: str) -> set[str]:
    """The words that a fresh process prints."""
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def modules_of(part: str) -> list[str]:
    return [name for name in modules() if part_of(name) == part and name not in WITH_A_LIBRARY]


@pytest.mark.parametrize("parts", [CORE, ("audit",), ("loops",), ("experiments", "running")], ids=" ".join)
def test_the_text_says_what_a_fresh_process_loads(parts):
    names = [name for part in parts for name in modules_of(part)]
    code = (
        "import sys, types\n"
        f"package = types.ModuleType('l2rw_core'); package.__path__ = [{str(ROOT)!r}]\n"
        "sys.modules['l2rw_core'] = package\n"
        f"import {', '.join(names)}\n"
        "print(*(name for name in sys.modules if name.startswith('l2rw_core.')))"
    )
    assert printed(code) == loaded_by(*names)


@pytest.mark.parametrize("part", NEVER)
def test_no_text_imports_what_it_must_not(part):
    own = [name for name in modules() if part_of(name) == part]
    assert own
    wrong = [f"{name} imports {other}" for name in own for other in imported_by(name) if part_of(other) in NEVER[part]]
    assert wrong == []


@pytest.mark.parametrize("part", NEVER)
def test_nothing_is_loaded_on_the_way_that_must_not_be(part):
    assert {name for name in loaded_by(*modules_of(part)) if part_of(name) in NEVER[part]} == set()


def test_the_core_needs_torch_alone():
    core = [name for name in modules() if part_of(name) in CORE]
    needed = {name: libraries_of(name) - {"torch"} for name in core}
    beside_torch = {"l2rw_core.arrays": {"numpy"}, "l2rw_core.ledger": {"numpy", "pandas"}}
    assert {name: others for name, others in needed.items() if others} == beside_torch
    code = (
        "import sys, torch.func, torch.nn.attention, numpy; before = set(sys.modules)\n"
        f"import {', '.join(['l2rw_core', *core])}\n"
        "print(*({name.split('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names))"
    )
    assert printed(code) == {"l2rw_core", "torch"}


TOOLS = {
    "weights": {"weights"},
    "ledger": {"arrays", "ledger"},
    "engines.lookahead": {"engines", "engines.lookahead", "engines.passes"},
    "engines.two_pass": {"engines", *(f"engines.{name}" for name in ("two_pass", "dual", "attention", "passes"))},
    "loops.tensorboard": {"loops", "loops.tensorboard", "weights"},
    "running.checkpoints": {"running", "running.checkpoints"},
}


@pytest.mark.parametrize("tool", TOOLS)
def test_an_import_of_one_tool_loads_that_tool(tool):
    assert loaded_by(f"l2rw_core.{tool}") == {f"l2rw_core.{name}" for name in TOOLS[tool]}


@pytest.mark.parametrize("loop", ["distributed", "capture", "sklearn"])
def test_a_loop_loads_no_other_loop(loop):
    loaded = loaded_by(f"l2rw_core.loops.{loop}")
    assert {name for name in loaded if part_of(name) == "loops"} == {"l2rw_core.loops", f"l2rw_core.loops.{loop}"}


def test_no_module_leads_back_to_itself():
    """Not even through the first file of a package: whoever imports a module runs the first files above it."""
    graph = {
        name: {
            above
            for other in imported_by(name)
            for above in with_packages(other)
            if not f"{name}.".startswith(f"{above}.")
        }
        for name in modules()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize(
    "package", ["l2rw_core", "l2rw_core.audit", "l2rw_core.engines", "l2rw_core.loops", "l2rw_core.running"]
)
def test_no_module_is_hidden_by_what_its_package_hands_on(package):
    text = ast.parse(modules()[package].read_text())
    handed_on = {
        alias.asname or alias.name for node in text.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert {name for name in handed_on if f"{package}.{name}" in modules()} == set()
