"""What a page says of itself: description and picture for whoever shares its address, and a line under its title."""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from citation import read_work
from docutils import nodes
from sphinx.application import Sphinx

PICTURE = "_static/share.png"
WORDS_A_MINUTE = 220
LONGEST = 200
"""Characters of a description: search engines and messengers cut longer ones."""
VIEWPORT = re.compile(r'\s*<meta name="viewport"[^>]*>')
UNREAD = (nodes.literal_block, nodes.raw, nodes.math_block, nodes.comment, nodes.system_message)


def description_of(document: nodes.document) -> str:
    """The first sentences of a page's running text, up to `LONGEST` characters; a word longer than that is cut."""
    for paragraph in document.findall(nodes.paragraph):
        text = re.sub(r"\s+", " ", _spoken(paragraph)).strip()
        if len(text.split()) >= 4:
            return text if len(text) <= LONGEST else text[: LONGEST - 1].rsplit(" ", 1)[0] + "…"
    return ""


def _spoken(node: nodes.Node) -> str:
    """Text of a node; a formula as plainly as may be."""
    if isinstance(node, nodes.math):
        return re.sub(r"\\[a-zA-Z]+|[{}\\]", "", node.astext())
    return node.astext() if not node.children else "".join(_spoken(child) for child in node.children)


def add_description(app: Sphinx, page: str, context: dict[str, Any], document: object) -> None:
    """Describe a page in its head, and take out the size of the window that docutils repeats."""
    context["metatags"] = VIEWPORT.sub("", context.get("metatags", ""))
    if not isinstance(document, nodes.document):
        return
    work = read_work(Path(app.srcdir))
    title = re.sub(r"<[^>]+>", "", context["title"])
    base = f"{work.pages}/" if work.pages else "../" * page.count("/")
    said = {
        "og:type": "article",
        "og:site_name": work.title,
        "og:title": html.unescape(title),
        "og:description": description_of(document),
        "og:image": f"{base}{PICTURE}",
        "og:image:alt": "Weights and decision boundaries of plain and of reweighted training, side by side",
        **({"og:url": f"{base}{page}.html"} if work.pages else {}),
    }
    tags = [f'<meta name="description" content="{html.escape(said["og:description"])}" />']
    tags += [f'<meta property="{name}" content="{html.escape(value)}" />' for name, value in said.items() if value]
    tags += ['<meta name="twitter:card" content="summary_large_image" />']
    context["metatags"] += "\n" + "\n".join(tags)


def words_read(node: nodes.Node) -> Iterator[str]:
    """The words of a page that are read one after the other: no code, figures or formulas."""
    for text in node.findall(nodes.Text):
        around: nodes.Node | None = text.parent
        while around is not None and not isinstance(around, UNREAD):
            around = around.parent
        if around is None:
            yield from text.split()


def minutes_to_read(document: nodes.document) -> int:
    """Whole minutes for the words of a page, rounded up."""
    return math.ceil(sum(1 for _ in words_read(document)) / WORDS_A_MINUTE)


def minutes_to_run(root: Path, page: str) -> int:
    """Whole minutes that a page last took to run on 2 cores, rounded up; 0 for one without code."""
    run = _last_run(root).get(page)
    return max(1, math.ceil(run["seconds"] / 60)) if run else 0


def page_line(root: Path, page: str, document: nodes.document, version: str) -> str:
    """HTML of the line below a title: version, when the page was made, and the minutes to read and to run it."""
    run = _last_run(root).get(page)
    made = datetime.fromisoformat(run["finished"]) if run else datetime.now()
    facts = [f"Version {version}", f'<time datetime="{made:%Y-%m-%d}">{made.day} {made:%B %Y}</time>']
    minutes = minutes_to_read(document)
    facts += [f"{minutes} min to read"] if minutes else []
    facts += [f"{minutes_to_run(root, page)} min to run on 2 cores"] if run else []
    return f'<p class="l2rw-line">{" · ".join(facts)}</p>'


def _last_run(root: Path) -> dict[str, Any]:
    """Document -> seconds and end of its last run; empty where no chapter has run."""
    timings = root / "_build" / "execution.json"
    return json.loads(timings.read_text()) if timings.is_file() else {}
