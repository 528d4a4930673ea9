"""The symbols of a page, explained on the page: rows of `notation.md` for whatever its formulas use."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from docutils import nodes

COLUMNS = 5
MATH = re.compile(r"\$([^$]+)\$")
SEPARATOR = re.compile(r",\\?\s+(?![^(]*\))")
ARGUMENTS = re.compile(r"\([^()]*\)$")
FORMULA = re.compile(
    r'(?P<start><(?:span|div) class="math[^"]*")'
    r'(?P<rest>[^>]*>\s*(?:<span class="eqno">.*?</span>)?\\[(\[](?P<formula>.*?)\\[)\]])',
    re.DOTALL,
)
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


def symbols_in(formulas: str, symbols: Sequence[Symbol]) -> list[int]:
    r"""Positions of the symbols that formulas use, in ascending order; ``\tilde w`` is one symbol, and no ``w``."""
    rest = INDEX.sub("", formulas)
    used = set()
    by_length = sorted(
        ((core, at) for at, s in enumerate(symbols) for core in s.cores if core), key=lambda c: -len(c[0])
    )
    for core, at in by_length:
        rest, count = re.subn(rf"(?<![\\A-Za-z]){re.escape(core)}(?![A-Za-z])", " ", rest)
        used |= {at} if count else set()
    return sorted(used)


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
    symbols = read_symbols(notation)
    used = symbols_in(formulas_of(document), symbols)
    if not used:
        return ""
    rows = "".join(
        f"<tr data-symbol='{at}'><th scope='row'>{_math(symbols[at].formula)}</th>"
        f"<td>{_words(symbols[at].meaning)}</td><td>{_words(symbols[at].name)}</td></tr>"
        for at in used
    )
    return (
        '<details class="l2rw-symbols"><summary>Symbols on this page</summary><table class="table">'
        "<thead><tr><th scope='col'>symbol</th><th scope='col'>what it is</th><th scope='col'>in code</th></tr></thead>"
        f'<tbody>{rows}</tbody></table><p>All of them: <a href="{html.escape(link)}">Notation</a>.</p></details>'
    )


def mark_formulas(body: str, notation: Path) -> str:
    """The HTML of a page with `data-symbols` on each formula: which rows of the page's box explain it."""
    symbols = read_symbols(notation)

    def marked(found: re.Match[str]) -> str:
        used = " ".join(map(str, symbols_in(html.unescape(found["formula"]), symbols)))
        return f'{found["start"]} data-symbols="{used}"{found["rest"]}' if used else found[0]

    return FORMULA.sub(marked, body)


def _math(formula: str) -> str:
    return f'<span class="math notranslate nohighlight">\\({html.escape(formula)}\\)</span>'


def _words(markdown: str) -> str:
    """HTML of a cell: formulas, code and emphasis are all that the table has."""
    text = html.escape(markdown)
    text = re.sub(r"`([^`]+)`", r'<code class="docutils literal notranslate">\1</code>', text)
    text = re.sub(r"(?<!\*)\*([^*]+)\*(?!\*)", r"<em>\1</em>", text)
    return MATH.sub(lambda found: _math(html.unescape(found[1])), text)
