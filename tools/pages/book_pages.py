"""What a page of the book has beside its text: symbols, downloads, how to cite it; and repairs of what others wrote.

A Sphinx extension, which `build_book.py` adds to the book's settings.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Container, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from citation import Work, page_entry, paper_entry, read_work
from docutils import nodes
from head import add_description, page_line
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from symbols import mark_formulas, symbols_box

NOTATION = "reference/notation"

# In the page's HTML, or in the state of its widgets, where the quotation marks are escaped.
RECORDS_SHOWN = re.compile(r'data-records=\\?"([^"\\]+)\\?"')


class Repair(NamedTuple):
    """What Sphinx, its theme or an extension writes, and what it should; each is a finding of axe-core."""

    written: str
    meant: str
    beside: str = "<html"
    """Stands on every page that has what is to be repaired; where `written` does not, the repair is out of date."""


REPAIRS = (
    # A name that differs from the words on the button: who speaks to the page says what is written there.
    Repair('title="Search" aria-label="Search" data-bs-placement', 'title="Search" data-bs-placement'),
    Repair(' aria-label="Toggle hidden content"', "", beside='<details class="admonition hide'),
    # These become titles of the icons inside, and so words that are not in the button's name.
    Repair(' data-mode="light" title="Light"', ' data-mode="light" aria-hidden="true"'),
    Repair(' data-mode="dark"  title="Dark"', ' data-mode="dark" aria-hidden="true"'),
    Repair(' data-mode="auto"  title="System Settings"', ' data-mode="auto" aria-hidden="true"'),
    # What the two panels hold, for who does not know the theme.
    Repair('title="Toggle primary sidebar"', 'title="Menu of all pages" aria-label="Menu of all pages"'),
    Repair(
        'title="Toggle secondary sidebar"',
        'title="Contents of this page" aria-label="Contents of this page"',
        beside='class="sidebar-toggle secondary-toggle',
    ),
    # A list without items, for a screen reader; and a role for bibliographies that no longer exists.
    Repair('<div role="list" class="citation-list">', '<div class="citation-list">', beside='class="citation"'),
    Repair(' role="doc-biblioentry"', "", beside='class="citation"'),
    # The arrow that unfolds the pages below one, in the list of contents.
    Repair(
        '<summary><span class="toctree-toggle"',
        '<summary aria-label="Pages below"><span class="toctree-toggle"',
        beside="toctree-toggle",
    ),
    # The name of the book stood in no part of the page that has a name.
    Repair(
        '<div id="pst-primary-sidebar" class="bd-sidebar-primary bd-sidebar">',
        '<div id="pst-primary-sidebar" class="bd-sidebar-primary bd-sidebar" role="region" aria-label="Book">',
        beside='id="pst-primary-sidebar"',
    ),
    # A heading without words, as pandas writes above the names of its rows.
    Repair("<th></th>", "<td></td>", beside='class="dataframe'),
)
# Left by the controls that train anew, which need a kernel, for links to where one is.
LAUNCH = re.compile(r'<span class="l2rw-launch">[^<]*</span>')
# A signature that is spread over lines: descriptions of nothing, inside of the name that is described.
LINES = re.compile(r"<dl>\n(<dd>.*?</dd>\n)</dl>", re.S)

# A typeset formula is a box to the browser, and a line may end between a box and the full stop behind it.
_INLINE = r'<span class="math [^>]*>\\\([^<]*\\\)</span>'
WITH_MARKS = re.compile(rf"[(“]{_INLINE}[.,;:!?)”’]*|{_INLINE}[.,;:!?)”’]+")


def record_ids(text: str) -> list[str]:
    """Ids of the records behind the numbers of a page, in the order of their first appearance."""
    return list(dict.fromkeys(name for names in RECORDS_SHOWN.findall(text) for name in names.split()))


def page_text(context: dict[str, Any]) -> str:
    """What a page shows: its text, and the state of its widgets, which stands in a script of its head."""
    inline = (getattr(script, "attributes", {}).get("body") for script in context["script_files"])
    return "\n".join([context["body"], *filter(None, inline)])


def recorded_lines(root: Path) -> dict[str, str]:
    """Record id -> its line of JSON, for all of `data/results`."""
    files = sorted((root / "data" / "results").glob("*.jsonl"))
    lines = [line for file in files for line in file.read_text().splitlines() if line.strip()]
    return {json.loads(line)["id"]: line for line in lines}


def write_data(root: Path, target: Path, ids: Iterable[str]) -> None:
    """Write these records as `target`.jsonl, whole, and as `target`.csv, one row a trial without its curve.

    Raises:
        ExtensionError: a record is not in `data/results`.
    """
    recorded = recorded_lines(root)
    if unknown := [name for name in ids if name not in recorded]:
        raise ExtensionError(f"{target.name} shows records that data/results does not hold: {', '.join(unknown)}")
    # Imported here: a book without records builds without the package's torch.
    from l2rw_core.experiments import Record, table

    lines = [recorded[name] for name in ids]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.with_suffix(".jsonl").write_text("\n".join(lines) + "\n")
    target.with_suffix(".csv").write_text(table([Record.from_json(line) for line in lines]).to_csv(index=False))


def page_end(page: str, downloads: list[str], work: Work, title: str, paper: str) -> str:
    """HTML for the end of a page: its downloads, and how to cite it and the paper."""
    name = page.rsplit("/", 1)[-1]
    listed = "".join(f"<li>{item}</li>" for item in downloads)
    return (
        '<section class="l2rw-page-end" aria-label="Downloads and citation">'
        + (f"<p>Take this page with you</p><ul>{listed}</ul>" if listed else "")
        + f'<details class="l2rw-cite" id="cite-{html.escape(name)}"><summary>Cite this page</summary>'
        + f"<p>The page:</p>{_code(page_entry(work, page, title))}<p>The paper that it is about:</p>{_code(paper)}"
        + "</details></section>"
    )


def _code(text: str) -> str:
    # As Sphinx writes code, so that the copy button of the other code cells comes to this one.
    pre = f"<pre>{html.escape(text)}\n</pre>"
    return f'<div class="highlight-bibtex notranslate"><div class="highlight">{pre}</div></div>'


def add_page_end(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Write the page's data, and put its end below its text; pages that Sphinx makes by itself have none."""
    if page not in app.env.found_docs or "body" not in context:
        return
    root, name = Path(app.srcdir), page.rsplit("/", 1)[-1]
    downloads = []
    if (root / f"{page}.ipynb").is_file():
        to_sources = "../" * page.count("/") + f"_sources/{page}.ipynb"
        downloads.append(f'<a href="{to_sources}" download="{name}.ipynb">This page as a notebook</a>')
        links = launch_links(page, to_sources, app.config.html_theme_options)
        context["body"] = LAUNCH.sub(lambda _: links, context["body"])
    if ids := record_ids(page_text(context)):
        write_data(root, Path(app.outdir, page), ids)
        count = "the record" if len(ids) == 1 else f"the {len(ids):,} records"
        downloads.append(
            f'Data of this page, {count} behind its numbers: <a href="{name}.csv" download>a row a trial (CSV)</a>, '
            f'<a href="{name}.jsonl" download>everything recorded (JSON lines)</a>'
        )
    title = app.env.titles[page].astext()
    if isinstance(doctree, nodes.document):
        box = _symbols(root, page, doctree)
        body = mark_formulas(context["body"], root / f"{NOTATION}.md", page) if box else context["body"]
        line = page_line(root, page, doctree, read_work(root).version)
        context["body"] = body.replace("</h1>", f"</h1>{line}{box}", 1)
    add_description(app, page, context, doctree)
    context["body"] = keep_marks(context["body"]) + page_end(page, downloads, read_work(root), title, paper_entry(root))


def launch_links(page: str, to_sources: str, options: Mapping[str, Any]) -> str:
    """Where the notebook of a page can be had, and run if it is public: HTML for what says that a kernel is needed.

    Args:
        page: its document.
        to_sources: address of its notebook, from the page.
        options: the theme's, which know the repository.
    """
    name = page.rsplit("/", 1)[-1]
    here = f'<a href="{to_sources}" download="{name}.ipynb">Take this chapter as a notebook</a>'
    colab = (options.get("launch_buttons") or {}).get("colab_url")
    if not colab or not options.get("repository_url"):
        return here
    place = options["repository_url"].removeprefix("https://github.com/")
    address = f"{colab}/github/{place}/blob/{options.get('repository_branch', 'notebooks')}/{page}.ipynb"
    return f'<a href="{html.escape(address)}">Open this chapter in Colab</a>, or {here.replace("Take", "take")}'


def _symbols(root: Path, page: str, document: nodes.document) -> str:
    """The fold with the symbols of a page; empty on the notation page, which has them all."""
    notation = root / f"{NOTATION}.md"
    if page == NOTATION or not notation.is_file():
        return ""
    return symbols_box(document, notation, "../" * page.count("/") + f"{NOTATION}.html", page)


def keep_marks(body: str) -> str:
    """The HTML of a page in which no line begins with the punctuation that belongs to a formula."""
    return WITH_MARKS.sub(lambda found: f'<span class="l2rw-kept">{found[0]}</span>', body)


def repair(text: str) -> str:
    """The page without what `REPAIRS` knows."""
    for one in REPAIRS:
        text = text.replace(one.written, one.meant)
    return LINES.sub(_as_lines, text)


def out_of_date(text: str) -> list[str]:
    """The repairs that find nothing on a page as it was written, though what they repair is there."""
    return [one.written for one in REPAIRS if one.beside in text and one.written not in text]


def _as_lines(found: re.Match[str]) -> str:
    lines = found[1].replace("<dd>", '<span class="l2rw-parameter">').replace("</dd>", "</span>")
    return f"<span>\n{lines}</span>"


def repair_pages(app: Sphinx, failure: Exception | None, written: Container[str]) -> None:
    """Repair every page; a page that was not written again has been repaired before and stays as it is.

    Raises:
        ExtensionError: a repair no longer finds what it is to repair on a page that was written.
    """
    left = {}
    for file in sorted(Path(app.outdir).rglob("*.html")):
        text, page = file.read_text(encoding="utf-8"), file.relative_to(app.outdir).with_suffix("").as_posix()
        if page in written and (old := out_of_date(text)):
            left[page] = old
        if (repaired := repair(text)) != text:
            file.write_text(repaired, encoding="utf-8")
    if left and failure is None:
        page, old = next(iter(left.items()))
        raise ExtensionError(
            f"tools/pages/book_pages.py repairs what {page} and {len(left) - 1} other pages no longer have: "
            f"{'; '.join(old)}. Look what stands there now, and change or delete these repairs."
        )


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the hooks, and a setting that stands for all they read: when it changes, every page is written again."""
    app.add_config_value("book_pages_made_from", "", "html")
    # After myst_nb, which adds the state of a page's widgets at the same event.
    app.connect("html-page-context", add_page_end, priority=900)
    written: set[str] = set()
    app.connect("html-page-context", lambda app, page, *_: written.add(page))
    app.connect("build-finished", partial(repair_pages, written=written))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
