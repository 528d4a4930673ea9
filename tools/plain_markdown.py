"""From MyST, in which the book is written, to Markdown that every notebook program shows.

Blocks and roles are found by the parser that the book is built with. What a directive or a role becomes is said here;
one that is not named here is an error, so that nothing raw reaches a reader.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from myst_parser.config.main import MdParserConfig
from myst_parser.parsers.mdit import create_md_parser

HEAD = re.compile(r"\{(?P<name>[^}\s]+)\}\s*(?P<argument>.*)", re.DOTALL)
OPTION = re.compile(r":(?P<name>[\w-]+):\s*(?P<value>.*)")
ROLE = re.compile(r"\{(?P<name>[\w+:-]+)\}(?P<ticks>`+)(?P<content>.+?)(?P=ticks)", re.DOTALL)
NAMED = re.compile(r"(?P<text>.*?)\s*<(?P<target>[^<>]+)>", re.DOTALL)
ABSOLUTE = re.compile(r"(?:https?|mailto):|#")
# Where a running text begins: of an item, a cell of a table, a paragraph.
BEGINS = re.compile(r"(?:^|\n)[ >]*(?:[-*+]|\d+[.)]|#+)\s+|\n\s*\n|\|\s*")
SENTENCE_ENDS = re.compile(r"(?:^|[.!?:]\s+|\n)$")

BIBLIOGRAPHY = "reference/references"
NUMBERED = ("algorithm", "assumption", "lemma", "proposition", "theorem")
BLOCKS = {"amsmath", "blockquote", "bullet_list", "code_block", "colon_fence", "fence", "heading", "hr", "html_block"}
BLOCKS |= {"inline", "list_item", "math_block", "ordered_list", "paragraph"}
BLOCKS |= {"table", "tbody", "td", "th", "thead", "tr"}
INLINE = {"code_inline", "em", "hardbreak", "html_inline", "image", "link", "math_inline", "math_inline_double"}
INLINE |= {"myst_role", "softbreak", "strong", "text"}


class NotPlain(ValueError):
    """Something of MyST that nobody has said how to write plainly; the message says where and what."""


class Work(NamedTuple):
    """How a work is cited."""

    authors: str
    year: str


class Label(NamedTuple):
    """What a reference leads to."""

    document: str
    text: str


@dataclass(frozen=True)
class Book:
    """What references need to know of the other pages."""

    address: str
    """Where the pages are read, without a slash at the end."""
    titles: Mapping[str, str]
    """Document -> its heading."""
    numbers: Mapping[str, int]
    """Document -> its number in the table of contents, where it bears one."""
    labels: Mapping[str, Label]
    """Label of an exercise, a statement or a heading, which is its anchor too -> its page and name."""
    works: Mapping[str, Work]
    """Key in the bibliography -> how it is cited."""

    def link(self, text: str, document: str, anchor: str = "") -> str:
        """A link to a page of the book."""
        return f"[{text}]({self.address}/{document}.html{anchor and '#' + anchor})"


@dataclass(frozen=True)
class Directive:
    """What stands between the fences of MyST."""

    name: str
    argument: str
    options: Mapping[str, str]
    body: str


# --- reading ---------------------------------------------------------------------------------------------------------


class Reader:
    """The parser of the book, with the extensions that its settings name."""

    def __init__(self, extensions: Iterable[str]) -> None:
        self._parser = create_md_parser(MdParserConfig(enable_extensions=set(extensions)), RendererHTML)

    def tokens(self, text: str) -> list[Token]:
        """All tokens of a text."""
        return self._parser.parse(text)

    def blocks(self, text: str) -> list[list[Token]]:
        """The tokens of each block that stands in no other."""
        found: list[list[Token]] = []
        for token in self.tokens(text):
            if token.level == 0 and token.nesting >= 0:
                found.append([])
            found[-1].append(token)
        return found

    def title(self, text: str) -> str:
        """The first heading, without marks; empty if there is none."""
        tokens = self.tokens(text)
        return next((b.content for a, b in pairwise(tokens) if a.type == "heading_open"), "")


def directive(token: Token) -> Directive | None:
    """The directive that a block is, if it is one."""
    found = HEAD.fullmatch(token.info.strip()) if token.type in {"fence", "colon_fence"} else None
    if found is None:
        return None
    lines, options = token.content.splitlines(), {}
    while lines and (option := OPTION.fullmatch(lines[0].strip())):
        options[option["name"]] = option["value"]
        del lines[0]
    return Directive(found["name"], found["argument"].strip(), options, "\n".join(lines).strip("\n"))


def directives(reader: Reader, text: str) -> Iterator[Directive]:
    """The directives of a text that stand in no other."""
    return filter(None, (directive(block[0]) for block in reader.blocks(text)))


def numbered(found: Iterable[Directive], document: str, chapter: int | None) -> Iterator[tuple[str, Label]]:
    """Label and name of the exercises and statements of a document, counted kind by kind as on its page."""
    counts: Counter[str] = Counter()
    for one in found:
        kind = one.name.removeprefix("prf:")
        if one.name == "exercise" or kind in NUMBERED:
            counts[kind] += 1
            number = f"{chapter}.{counts[kind]}" if chapter else f"{counts[kind]}"
            if label := one.options.get("label"):
                yield label, Label(document, f"{kind.capitalize()} {number}")


def headings(reader: Reader, text: str, document: str) -> Iterator[tuple[str, Label]]:
    """Label and title of each heading that has one on the line before it."""
    for before, block in pairwise(reader.blocks(text)):
        if before[0].type == "myst_target" and block[0].type == "heading_open":
            yield before[0].content, Label(document, block[1].content)


# --- writing ---------------------------------------------------------------------------------------------------------


class Page:
    """Writes the cells of one document in their order: other chapters' titles stand where they are first named."""

    def __init__(self, document: str, book: Book, reader: Reader) -> None:
        self._document, self._book, self._reader = document, book, reader
        self._named: set[str] = set()

    def plain(self, text: str, cell: str) -> str:
        """A cell of text without MyST.

        Raises:
            NotPlain: it has something that is not known here, or that leads nowhere.
        """
        try:
            plain = self._plain(text)
            for token in self._reader.tokens(plain):
                _refuse_unknown(token)
                if one := directive(token):
                    raise NotPlain(f"the directive {{{one.name}}} would be left")
                if role := next((c for c in token.children or [] if c.type == "myst_role"), None):
                    raise NotPlain(f"the role {{{role.meta['name']}}} would be left")
        except NotPlain as error:
            raise NotPlain(
                f"{self._document}, cell {cell}: {error}; tools/plain_markdown.py has what is known"
            ) from None
        return plain

    def _plain(self, text: str) -> str:
        lines, written, done, after_box = text.splitlines(), list[str](), 0, False
        for block in self._reader.blocks(text):
            if block[0].map is None:
                raise NotPlain(f"a {block[0].type} has no place in the text")
            start, end = block[0].map
            between, box = _empty(lines[done:start]), directive(block[0]) is not None
            written += between or [""] * (bool(written) and (box or after_box))
            if not self._is_target(block[0]):
                written.append(self._block(block, "\n".join(lines[start:end])))
            done, after_box = end, box
        return "\n".join([*written, *_empty(lines[done:])])

    def _is_target(self, token: Token) -> bool:
        """Whether it is the label of a heading, which is an anchor of the page and nothing of a notebook's."""
        if token.type == "myst_target" and token.content not in self._book.labels:
            raise NotPlain(f"the label ({token.content})= stands before no heading")
        return token.type == "myst_target"

    def _block(self, block: list[Token], text: str) -> str:
        for token in block:
            _refuse_unknown(token)
        if inner := next(filter(None, map(directive, block[1:])), None):
            raise NotPlain(f"the directive {{{inner.name}}} stands inside of a list or a quotation")
        if found := directive(block[0]):
            return self._directive(found)
        if block[0].type == "amsmath":
            return f"$$\n{text}\n$$"
        return self._with_links(block, text)

    # Directives

    def _directive(self, one: Directive) -> str:
        kind = one.name.removeprefix("prf:")
        if one.name.startswith("prf:") and kind in NUMBERED:
            return self._statement(one)
        writers: dict[str, Callable[[Directive], str]] = {
            "admonition": self._box,
            "exercise": self._exercise,
            "solution": self._solution,
            "prf:proof": self._proof,
            "grid": self._grid,
            "grid-item": self._in_grid,
            "grid-item-card": self._card,
            "button-ref": self._button,
        }
        if one.name not in writers:
            raise NotPlain(f"the directive {{{one.name}}} is unknown")
        return writers[one.name](one)

    def _box(self, one: Directive) -> str:
        if "dropdown" in one.options.get("class", "").split():
            return _folded(one.argument, self._plain(one.body))
        return self._quoted(f"**{one.argument}**\n\n{self._plain(one.body)}")

    def _name(self, one: Directive) -> str:
        title = f" ({one.argument})" if one.argument else ""
        if (label := self._book.labels.get(one.options.get("label", ""))) is None:
            raise NotPlain(f"the {{{one.name}}}{title} has no label")
        return label.text + title

    def _exercise(self, one: Directive) -> str:
        return f"### {self._name(one)}\n\n{self._plain(one.body)}"

    def _solution(self, one: Directive) -> str:
        return _folded("Solution", self._plain(one.body))

    def _statement(self, one: Directive) -> str:
        return self._quoted(f"**{self._name(one)}**\n\n{self._plain(one.body)}")

    def _proof(self, one: Directive) -> str:
        return f"**Proof**\n\n{self._plain(one.body)}\n\n∎"

    def _grid(self, one: Directive) -> str:
        inner = list(directives(self._reader, one.body))
        if len(inner) != len(self._reader.blocks(one.body)):
            raise NotPlain("a grid has something beside its items")
        return "\n".join(_item(self._directive(item)) for item in inner)

    def _in_grid(self, one: Directive) -> str:
        return self._plain(one.body)

    def _card(self, one: Directive) -> str:
        return f"**{one.argument}.** {self._plain(one.body)}"

    def _button(self, one: Directive) -> str:
        return self._book.link(one.body, self._found(one.argument))

    def _quoted(self, text: str) -> str:
        """A quotation; each formula on a line, since notebook programs read formulas before they read quotations."""
        lines = text.splitlines()
        for token in reversed(self._reader.tokens(text)):
            if token.type == "math_block" and token.map:
                start, end = token.map
                lines[start:end] = [" ".join(map(str.strip, lines[start:end])).strip()]
        return "\n".join(f"> {line}".rstrip() for line in lines)

    # Roles

    def _with_links(self, block: list[Token], text: str) -> str:
        roles = [child for token in block for child in token.children or [] if child.type == "myst_role"]
        written, done = [], 0
        for role in roles:
            found = _place(role, text, done)
            written += [text[done : found.start()], self._link(role, text[: found.start()])]
            done = found.end()
        return "".join([*written, text[done:]])

    def _link(self, role: Token, before: str) -> str:
        name, named = role.meta["name"], NAMED.fullmatch(role.content)
        text, target = (named["text"], named["target"]) if named else ("", role.content)
        if name == "doc":
            return self._to_page(text, self._found(target), before)
        if name in {"ref", "prf:ref"}:
            return self._to_label(text, target)
        if name in {"cite", "cite:p", "cite:t"}:
            return self._to_works([key.strip() for key in role.content.split(",")], in_text=name == "cite:t")
        raise NotPlain(f"the role {{{name}}} is unknown")

    def _found(self, target: str) -> str:
        document = posixpath.normpath(posixpath.join(posixpath.dirname(self._document), target))
        if document not in self._book.titles:
            raise NotPlain(f"the book has no page {target}")
        return document

    def _to_page(self, text: str, document: str, before: str) -> str:
        """A link to a page, as the book has it: chapters by number, and by title too where they are first named."""
        title, number = self._book.titles[document], self._book.numbers.get(document)
        if text or number is None:
            return self._book.link(text or title, document)
        before = BEGINS.split(before)[-1]
        link = self._book.link(f"{'Chapter' if SENTENCE_ENDS.search(before) else 'chapter'} {number}", document)
        first = document not in self._named
        self._named.add(document)
        return f"{link} ({title})" if first and "(" not in before.rsplit(")")[-1] else link

    def _to_label(self, text: str, target: str) -> str:
        if (label := self._book.labels.get(target)) is None:
            raise NotPlain(f"no exercise, statement or heading has the label {target}")
        return self._book.link(text or label.text, label.document, target)

    def _to_works(self, keys: list[str], in_text: bool) -> str:
        if unknown := [key for key in keys if key not in self._book.works]:
            raise NotPlain(f"the bibliography has no {', '.join(unknown)}")
        works = [self._book.works[key] for key in keys]
        if in_text:
            return ", ".join(f"{work.authors} [{self._book.link(work.year, BIBLIOGRAPHY)}]" for work in works)
        links = [self._book.link(f"{work.authors}, {work.year}", BIBLIOGRAPHY) for work in sorted(works)]
        return f"[{', '.join(links)}]"


def _refuse_unknown(token: Token) -> None:
    """Raise NotPlain for what Markdown elsewhere does not have, and for links that lead nowhere elsewhere."""
    kind = token.type.removesuffix("_open").removesuffix("_close")
    if kind not in BLOCKS:
        raise NotPlain(f"a {kind} is unknown")
    for child in token.children or []:
        kind = child.type.removesuffix("_open").removesuffix("_close")
        if kind not in INLINE:
            raise NotPlain(f"a {kind} is unknown")
        address = child.attrs.get("href") or child.attrs.get("src") or "#"
        if not ABSOLUTE.match(str(address)):
            raise NotPlain(f"the link to {address} leads nowhere outside of the book; write it as a role")


def _empty(lines: list[str]) -> list[str]:
    """Lines between blocks; NotPlain if something stands there."""
    if said := [line for line in lines if line.strip()]:
        raise NotPlain(f"{said[0]!r} is neither text nor a directive")
    return lines


def _place(role: Token, text: str, start: int) -> re.Match[str]:
    """Where a role stands in the text that it was read from; what looks like one may begin in code before it."""
    while found := ROLE.search(text, start):
        if (found["name"], found["content"].replace("\n", " ")) == (role.meta["name"], role.content):
            return found
        start = found.start() + 1
    raise NotPlain(f"the role {{{role.meta['name']}}}`{role.content}` has no place in the text")


def _folded(title: str, text: str) -> str:
    """Text behind a line that opens it; the empty lines make it Markdown again."""
    return f"<details>\n<summary>{title}</summary>\n\n{text}\n\n</details>"


def _item(text: str) -> str:
    """An item of a list, of as many lines as it takes."""
    first, *others = text.splitlines()
    return "\n".join([f"- {first}", *(f"  {line}".rstrip() for line in others)])
