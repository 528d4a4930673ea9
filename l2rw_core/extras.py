"""One error where something is missing that only a part of the package needs: it names the extra that brings it."""

from __future__ import annotations

from importlib.util import find_spec


class MissingExtra(ImportError):
    """A part of the package is asked for without the packages that it needs."""


def require(extra: str, *modules: str) -> None:
    """See that these modules are there, without loading any.

    Raises:
        MissingExtra: one is not; names the extra of this package that installs it.
    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise MissingExtra(
            f"this needs {', '.join(missing)}, which the extra {extra} brings: pip install 'l2rw-core[{extra}]'",
            name=missing[0],
        )
