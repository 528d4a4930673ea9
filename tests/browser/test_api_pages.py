"""The API reference leaves nothing out, and its links lead to what they name."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from sphinx.util.inventory import InventoryFile
from visiting import soup

import l2rw_core

PAGES = sorted(file.stem for file in (Path(__file__).parents[2] / "reference" / "api").glob("*.md"))
# Modules without a list of what is public, of which the pages show everything that has no underscore.
LOOPS = tuple(f"loops.{name}" for name in ("capture", "distributed", "hf", "lightning", "sklearn", "tensorboard"))
WHOLE = (*LOOPS, "factors", "health", "ledger", "models", "report.clean_size", "theory")


@pytest.fixture(scope="module")
def documented(book: Path) -> set[str]:
    """Names in the inventory that Sphinx writes for links from other books."""
    with (book / "objects.inv").open("rb") as file:
        inventory = InventoryFile.load(file, "", lambda base, name: name)
    return {name for kind, names in inventory.items() if kind.startswith("py:") for name in names}


def modules() -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(l2rw_core.__path__, "l2rw_core."):
        if not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def public_names() -> Iterator[str]:
    """Functions and classes that the package offers; constants explain themselves where they are used."""
    for module in [l2rw_core, *modules()]:
        for name in getattr(module, "__all__", ()):
            if callable(getattr(module, name)):
                yield f"{module.__name__}.{name}"
    for part in WHOLE:
        module = importlib.import_module(f"l2rw_core.{part}")
        for name, thing in vars(module).items():
            own = (inspect.isfunction(thing) or inspect.isclass(thing)) and thing.__module__ == module.__name__
            if own and not name.startswith("_"):
                yield f"{module.__name__}.{name}"


def test_every_public_name_is_documented(documented: set[str]) -> None:
    wanted = set(public_names())
    assert {"l2rw_core.Reweighter", "l2rw_core.methods.MetaWeightNet", "l2rw_core.theory.descend"} <= wanted
    assert wanted - documented == set()


def test_what_the_documented_classes_do_is_documented(documented: set[str]) -> None:
    assert {"l2rw_core.Reweighter.step", "l2rw_core.Step.effective_examples"} <= documented


@pytest.mark.parametrize("page", PAGES)
def test_no_signature_shows_what_is_no_python(book: Path, page: str) -> None:
    signatures = [tag.get_text() for tag in soup(book / "reference" / "api" / f"{page}.html").select("dt.sig")]
    assert signatures
    assert [text for text in signatures if re.search(r"~|<|0x[0-9a-f]{6}|PosixPath", text)] == []


def test_names_in_prose_are_links(book: Path) -> None:
    links = {
        tag.get_text(): tag["href"]
        for tag in soup(book / "reference" / "api" / "index.html").select("article dd a.reference.internal")
        if tag.code
    }
    assert links["step"] == "#l2rw_core.Reweighter.step"
    assert links["l2rw_core.ledger.WeightLedger"] == "audit.html#l2rw_core.ledger.WeightLedger"
