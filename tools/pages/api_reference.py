"""The API reference: pages of names that are filled from docstrings.

A Sphinx extension, which `build_book.py` adds to the book's settings. It lets Sphinx's own autodoc and napoleon read
this project's docstrings: text in single backticks is code, and a link where it names something on these pages.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.errors import NoUri
from sphinx.ext.napoleon import Config, GoogleDocstring
from sphinx.util.nodes import make_refnode

PACKAGE = "l2rw_core"
# What a link in a docstring may lead to by its last name alone: the same word as an attribute means many things.
LINKED = {"class", "exception", "function", "data"}
GOOGLE = Config(napoleon_numpy_docstring=False, napoleon_use_ivar=True, napoleon_attr_annotations=False)


def read_docstring(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Turn Google's sections into reStructuredText, and mark what is no reference as mere code."""
    if what in {"attribute", "data", "property"}:  # napoleon would take what stands before a colon for a type
        return
    lines[:] = GoogleDocstring(
        [as_code(line, parameters(thing)) for line in lines], GOOGLE, app, what, name, thing, options
    ).lines()
    if names := [f"``{key!r}``" for key, method in methods().items() if method is thing]:
        lines += ["", f"Name: {names[0]}."]


def parameters(thing: Any) -> set[str]:
    """Names of the parameters of a function or class; none of what has no signature."""
    try:
        return set(inspect.signature(thing).parameters)
    except (TypeError, ValueError):
        return set()


def as_code(line: str, names: set[str]) -> str:
    """The line with each of `names` that stands in single backticks in double ones."""
    return re.sub(r"(?<!`)`(\w+)`(?![`_])", lambda m: f"``{m[1]}``" if m[1] in names else m[0], line)


def methods() -> dict[str, type]:
    """Ways to train by their names in the registry."""
    from l2rw_core.methods import METHODS  # here, so that a book without these pages needs no torch

    return METHODS


def shorten_signature(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, signature: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """Leave out what is said elsewhere: the constructor that all methods share, the types of documented fields."""
    if any(thing is method for method in methods().values()):
        return "", None
    if what == "class" and dataclasses.is_dataclass(thing) and "Args:" not in (thing.__doc__ or ""):
        return f"({', '.join(map(bare, inspect.signature(thing).parameters.values()))})", None
    return signature, returned


def bare(parameter: inspect.Parameter) -> str:
    """A parameter without its type, and with an ellipsis for a default that has no notation."""
    if parameter.default is parameter.empty:
        return parameter.name
    default = repr(parameter.default)
    return f"{parameter.name}={'...' if '<' in default else default}"


def resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, code: nodes.Node) -> nodes.Node | None:
    """A link for a name that is documented under another module; plain code for what is not ours.

    Nothing, and so a warning, for a name of the package that is not documented.
    """
    if node.get("refdomain") != "py":
        return None
    domain, target = env.get_domain("py"), node["reftarget"]
    last = target.rpartition(".")[2]
    found = {
        (entry.docname, entry.node_id)
        for name, entry in domain.objects.items()
        if name.rpartition(".")[2] == last and entry.objtype in LINKED
    }
    ours = target.startswith(f"{PACKAGE}.")
    if len(found) == 1 and (ours or "." not in target):
        document, anchor = found.pop()
        return make_refnode(app.builder, node["refdoc"], document, anchor, code, target)
    if ours:
        return None
    raise NoUri  # handled, and without a link


def setup(app: Sphinx) -> dict[str, Any]:
    """Register autodoc, the reading of docstrings, and the resolution of names."""
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-docstring", read_docstring)
    app.connect("autodoc-process-signature", shorten_signature)
    app.connect("missing-reference", resolve)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
