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
LOCAL_COLUMNS = 3
FEWEST = 3
"""Symbols that make a box worth its place: with fewer the text around a formula says what they are."""
MATH = re.compile(r"\$([^$]+)\$")
SEPARATOR = re.compile(r",\\?\s+(?![^(]*\))")
ARGUMENTS = re.compile(r"\([^()]*\)$")
FORMULA = re.compile(
    r'(?P<start><(?:span|div) class="math[^"]*")'
    r'(?P<rest>[^>]*>\s*(?:<span class="eqno">.*?</span>)?\\[(\[](?P<formula>.*?)\\[)\]])',
    re.DOTALL,
)
INDEX = re.compile(r"_(?:\w|\{[^}]*\})")
WORDS = re.compile(r"\\(?:text|operatorname|mathrm)\{[^}]*\}")
TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\S")
CHAPTER = re.compile(r"\d+")


@dataclass(frozen=True)
class Symbol:
    """One row of the notation table."""

    formula: str
    """As the table writes it, in LaTeX."""
    name: str
    """In code, in Markdown; may be empty."""
    meaning: str
    """In Markdown."""
    local: bool = False
    """Whether it is one chapter's own."""

    @property
    def cores(self) -> list[str]:
        r"""What a formula must contain to use the symbol: ``f_i(\theta)`` is ``f``, and ``n,\ m`` are two."""
        parts = [ARGUMENTS.sub("", part.strip()) for part in SEPARATOR.split(self.formula)]
        return [INDEX.sub("", part).strip() for part in parts]


def symbols_in(formulas: str, symbols: Sequence[Symbol]) -> list[int]:
    r"""Positions of the symbols that formulas use, in ascending order; ``\tilde w`` is one symbol, and no ``w``.

    Where two symbols are written alike but for an index, the second is one only with its index; a symbol of a single
    chapter comes before one of the whole book.
    """
    rest, indexed = _spaced(INDEX.sub("", WORDS.sub(" ", formulas))), _spaced(WORDS.sub(" ", formulas))
    used, seen = set(), set()
    listed = []
    for at, symbol in enumerate(symbols):
        for core in filter(None, symbol.cores):
            if core in seen and not symbol.local:
                used |= {at} if _spaced(symbol.formula) in indexed else set()
            else:
                listed.append((_spaced(core), at, symbol.local))
            seen.add(core)
    for core, at, _ in sorted(listed, key=lambda c: (-len(c[0].split()), not c[2], c[1])):
        used |= {at} if core in rest else set()
        rest = rest.replace(core, " | ")
    return sorted(used)


def _spaced(formula: str) -> str:
    """A formula as its tokens, each between spaces."""
    return "".join(f" {token}  " for token in TOKEN.findall(formula))


@cache
def read_symbols(notation: Path, page: str = "") -> tuple[Symbol, ...]:
    """The rows of the first table of the notation page, then those of its second that are for this page.

    Args:
        notation: file with the tables.
        page: name of a document, as ``chapters/03_what_a_weight_measures``; its number chooses the rows.

    Raises:
        ValueError: if there is no such table, or a row of it has no symbol or no meaning.
    """
    rows = _table_rows(notation)
    symbols = [Symbol(", ".join(MATH.findall(row[0])), row[2], row[1]) for row in rows if len(row) == COLUMNS]
    local = [row for row in rows if len(row) == LOCAL_COLUMNS]
    if len(symbols) + len(local) != len(rows) or not symbols or not all(s.formula and s.meaning for s in symbols):
        raise ValueError(
            f"{notation.name}: the first table needs {COLUMNS} columns, with a formula and a meaning a row"
        )
    number = CHAPTER.match(page.rsplit("/", 1)[-1])
    here = [row for row in local if number and int(number[0]) in map(int, CHAPTER.findall(row[1]))]
    return tuple(symbols + [Symbol(", ".join(MATH.findall(row[0])), "", row[2], local=True) for row in here])


def _table_rows(notation: Path) -> list[list[str]]:
    """Cells of all tables of a Markdown file, without their heads."""
    blocks = re.split(r"\n(?!\|)", notation.read_text(encoding="utf-8"))
    tables = [[line for line in block.splitlines() if line.startswith("|")] for block in blocks]
    lines = [line for table in tables for line in table[2:]]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))] for line in lines]


def formulas_of(document: nodes.document) -> str:
    """All formulas of a page, one a line."""
    return "\n".join(node.astext() for node in document.findall(lambda n: isinstance(n, nodes.math | nodes.math_block)))


def symbols_box(document: nodes.document, notation: Path, link: str, page: str = "") -> str:
    """HTML of a fold with the symbols that the page uses; empty for a page with fewer than three.

    Args:
        document: the page.
        notation: file with the table.
        link: address of the notation page, seen from this one.
        page: name of the document, for the meanings that symbols have in it alone.
    """
    symbols = read_symbols(notation, page)
    used = symbols_in(formulas_of(document), symbols)
    if len(used) < FEWEST:
        return ""
    rows = "".join(
        f"<tr data-symbol='{at}'><td>{_math(symbols[at].formula)}</td>"
        f"<td>{_words(symbols[at].meaning)}</td><td>{_words(symbols[at].name)}</td></tr>"
        for at in used
    )
    return (
        '<details class="l2rw-symbols"><summary>Symbols on this page</summary><table class="table">'
        "<thead><tr><th scope='col'>symbol</th><th scope='col'>what it is</th><th scope='col'>in code</th></tr></thead>"
        f'<tbody>{rows}</tbody></table><p>All of them: <a href="{html.escape(link)}">Notation</a>.</p></details>'
    )


def mark_formulas(body: str, notation: Path, page: str = "") -> str:
    """The HTML of a page with `data-symbols` on each formula: which rows of the page's box explain it."""
    symbols = read_symbols(notation, page)

    def marked(found: re.Match[str]) -> str:
        used = " ".join(map(str, symbols_in(html.unescape(found["formula"]), symbols)))
        return f'{found["start"]} data-symbols="{used}"{found["rest"]}' if used else found[0]

    return FORMULA.sub(marked, body)


def _math(formula: str) -> str:
    return f'<span class="math notranslate nohighlight">\\({html.escape(formula)}\\)</span>'


def _code(found: re.Match[str]) -> str:
    """A name that breaks between its parts, and nowhere else."""
    parts = re.sub(r"([._])(?=\w)", r"\1<wbr>", found[1])
    return f'<code class="docutils literal notranslate">{parts}</code>'


def _words(markdown: str) -> str:
    """HTML of a cell: formulas, code and emphasis are all that the table has."""
    text = html.escape(markdown)
    text = re.sub(r"`([^`]+)`", _code, text)
    text = re.sub(r"(?<!\*)\*([^*]+)\*(?!\*)", r"<em>\1</em>", text)
    return MATH.sub(lambda found: _math(html.unescape(found[1])), text)
