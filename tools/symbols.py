"""The symbols of a page, explained on the page: rows of `notation.md` for whatever its formulas use."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from docutils import nodes

COLUMNS = 5
MATH = re.compile(r"\$([^$]+)\$")
SEPARATOR = re.compile(r",\\?\s+(?![^(]*\))")
ARGUMENTS = re.compile(r"\([^()]*\)$")
INDEX = re.compile(r"_(?:\w|\{[^}]*\})")


@dataclass(frozen=True)
class Symbol:
    """One row of the notation table."""

    formula: str
    """As the table writes it, in LaTeX."""
    name: str
    """In code, in Markdown; may be empty."""
    meaning: str
    """In Markdown."""

    @property
    def cores(self) -> list[str]:
        r"""What a formula must contain to use the symbol: ``f_i(\theta)`` is ``f``, and ``n,\ m`` are two."""
        parts = [ARGUMENTS.sub("", part.strip()) for part in SEPARATOR.split(self.formula)]
        return [INDEX.sub("", part).strip() for part in parts]

    def is_in(self, formulas: str) -> bool:
        """Whether one of the formulas uses it."""
        plain = INDEX.sub("", formulas)
        return any(re.search(rf"(?<![\\A-Za-z]){re.escape(core)}(?![A-Za-z])", plain) for core in self.cores if core)


@cache
def read_symbols(notation: Path) -> tuple[Symbol, ...]:
    """The rows of the first table of the notation page.

    Raises:
        ValueError: if there is no such table, or a row of it has no symbol or no meaning.
    """
    lines = [line for line in notation.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))] for line in lines[2:]]
    found = [Symbol(", ".join(MATH.findall(row[0])), row[1], row[3]) for row in rows if len(row) == COLUMNS]
    if len(found) != len(rows) or not found or not all(symbol.formula and symbol.meaning for symbol in found):
        raise ValueError(
            f"{notation.name}: the first table needs {COLUMNS} columns, with a formula and a meaning a row"
        )
    return tuple(found)


def formulas_of(document: nodes.document) -> str:
    """All formulas of a page, one a line."""
    return "\n".join(node.astext() for node in document.findall(lambda n: isinstance(n, nodes.math | nodes.math_block)))


def symbols_box(document: nodes.document, notation: Path, link: str) -> str:
    """HTML of a fold with the symbols that the page uses; empty for a page without formulas.

    Args:
        document: the page.
        notation: file with the table.
        link: address of the notation page, seen from this one.
    """
    formulas = formulas_of(document)
    used = [symbol for symbol in read_symbols(notation) if symbol.is_in(formulas)]
    if not used:
        return ""
    rows = "".join(
        f"<tr><th scope='row'>{_math(s.formula)}</th><td>{_words(s.meaning)}</td><td>{_words(s.name)}</td></tr>"
        for s in used
    )
    return (
        '<details class="l2rw-symbols"><summary>Symbols on this page</summary><table class="table">'
        "<thead><tr><th scope='col'>symbol</th><th scope='col'>what it is</th><th scope='col'>in code</th></tr></thead>"
        f'<tbody>{rows}</tbody></table><p>All of them: <a href="{html.escape(link)}">Notation</a>.</p></details>'
    )


def _math(formula: str) -> str:
    return f'<span class="math notranslate nohighlight">\\({html.escape(formula)}\\)</span>'


def _words(markdown: str) -> str:
    """HTML of a cell: formulas, code and emphasis are all that the table has."""
    text = html.escape(markdown)
    text = re.sub(r"`([^`]+)`", r'<code class="docutils literal notranslate">\1</code>', text)
    text = re.sub(r"(?<!\*)\*([^*]+)\*(?!\*)", r"<em>\1</em>", text)
    return MATH.sub(lambda found: _math(html.unescape(found[1])), text)
