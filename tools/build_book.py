"""Build the book: run the chapters that need it, refuse what must not be published, make notebooks and pages.

    python tools/build_book.py [ROOT] [--notebooks | --page NAME]

Jupyter-cache recognises a chapter by its code cells alone, so a change in the package, in the recorded results or in
an installed version would leave old figures in the book. Here the cache folder is named after all of these, and a
change in any of them runs the chapters again.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import make_notebooks
import nbformat
import papermill
import yaml
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn, JupyterCacheAbstract
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat.reader import NotJSONError
from sphinx_external_toc.parsing import parse_toc_yaml

PAGES = Path(__file__).resolve().parent / "pages"
# Title, authors and addresses of the entries under "Cite this page", and the symbols that a page explains.
CITED_FROM = ("_config.yml", "pyproject.toml", "CITATION.cff", "reference/references.bib", "reference/notation.md")
OWN_EXTENSIONS = (
    "api_reference",
    "book_pages",
    "cross_references",
    "search_entries",
    "mathematics",
    "light_pages",
    "references",
    "status",
    "teaching",
)
CELL_TIMEOUT_S = 600
KEPT_CACHES = 3
SHOWN_WEIGHTS = 5
SHOWN_VERSIONS = ("torch", "numpy", "scikit-learn", "matplotlib", "anywidget")
PROGRESS_TEXT = re.compile(r"\d%\||\d(?:it/s|s/it)\b|<progress\b")
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
ANSI = re.compile(r"\x1b\[[0-9;]*m")


class BuildError(Exception):
    """The book cannot be published; the message says which chapter and why."""


@dataclass(frozen=True)
class Execution:
    """What came of running one chapter: the notebook as JSON, or the report of a failure."""

    document: str
    seconds: float
    notebook: str | None = None
    failure: str | None = None


# --- what the book consists of ---------------------------------------------------------------------------------------


def toc_documents(root: Path) -> list[str]:
    """Document names in the order of `_toc.yml`, without suffixes."""
    site = parse_toc_yaml(root / "_toc.yml")
    return [name.removesuffix(".ipynb").removesuffix(".md") for name in site]


def chapter_documents(root: Path) -> list[str]:
    """The documents of the book that are notebooks.

    Raises BuildError when a document is missing, or when a chapter exists that the table of contents leaves out.
    """
    documents = toc_documents(root)
    missing = [name for name in documents if not any((root / f"{name}{end}").is_file() for end in (".ipynb", ".md"))]
    if missing:
        raise BuildError(f"_toc.yml names documents that do not exist: {', '.join(missing)}")
    left_out = {f"chapters/{path.stem}" for path in (root / "chapters").glob("*.ipynb")} - set(documents)
    if left_out:
        raise BuildError(f"not in _toc.yml: {', '.join(sorted(left_out))}")
    return [name for name in documents if (root / f"{name}.ipynb").is_file()]


def read_chapter(root: Path, document: str) -> nbformat.NotebookNode:
    """The chapter as it stands in the repository."""
    return nbformat.read(root / f"{document}.ipynb", as_version=4)


# --- what the outputs depend on --------------------------------------------------------------------------------------


def source_files(root: Path) -> list[Path]:
    """Files, besides the chapters, that decide what a chapter prints and draws."""
    package = (path for path in (root / "l2rw_core").rglob("*") if path.suffix in {".py", ".js", ".css"})
    kept = (path for name in ("results", "embedded") for path in (root / "data" / name).rglob("*") if path.is_file())
    return sorted([*package, *kept, *(root / "data").glob("*.csv"), root / "constraints.txt"])


def source_hash(root: Path) -> str:
    """Hash of the names and contents of `source_files` and of the Python version."""
    digest = hashlib.sha256(platform.python_version().encode())
    for path in source_files(root):
        content = path.read_bytes()
        digest.update(f"\0{path.relative_to(root).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def cache_folder(root: Path, sources: str) -> Path:
    """The execution cache for these sources."""
    return root / "_build" / ".jupyter_cache" / sources


def prune_caches(current: Path) -> None:
    """Mark `current` as used and delete all but the caches used last."""
    current.mkdir(parents=True, exist_ok=True)
    os.utime(current)
    by_age = sorted(current.parent.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in by_age[KEPT_CACHES:]:
        shutil.rmtree(old)


# --- execution -------------------------------------------------------------------------------------------------------


def kernel_environment(root: Path, threads: int) -> dict[str, str]:
    """Variables of the kernels: reproducible, without progress bars, `threads` cores each.

    A chapter finds the data sets of the repository and no others, so that the book is the same wherever it is built.
    """
    pools = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    fixed = {"PYTHONHASHSEED": "0", "L2RW_PROGRESS": "0", "L2RW_PAGE": "1"}
    fixed["L2RW_DATA"] = str(root.absolute() / "_build" / "no-data")
    return {**pools, **fixed}


def cell_label(notebook: nbformat.NotebookNode, index: int) -> str:
    """`cell 3 of 14`, counting code cells, for the cell at `index`."""
    code = [i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    return f"cell {code.index(index) + 1} of {len(code)}"


def quote_cell(document: str, notebook: nbformat.NotebookNode, index: int) -> str:
    """Heading and source of a cell, for messages."""
    cell = notebook.cells[index]
    source = "\n".join(f"    {line}" for line in cell.source.splitlines())
    return f"{document}, {cell_label(notebook, index)} (id {cell.get('id', 'none')}):\n{source}"


def execute_chapter(root: Path, document: str) -> Execution:
    """Run one chapter in a kernel and a folder of its own, saying so after each cell."""
    notebook = read_chapter(root, document)
    started = time.monotonic()
    running: dict[str, Any] = {"index": None, "since": started}

    def on_start(cell: nbformat.NotebookNode, cell_index: int) -> None:
        running.update(index=cell_index, since=time.monotonic())

    def on_end(cell: nbformat.NotebookNode, cell_index: int, **_: object) -> None:
        now = time.monotonic()
        label = cell_label(notebook, cell_index)
        print(f"[{now - started:6.1f} s] {document}  {label}  ({now - running['since']:.1f} s)", flush=True)

    failure, executed = None, None
    with tempfile.TemporaryDirectory() as folder:
        try:
            executed = papermill.execute_notebook(
                root / f"{document}.ipynb",
                None,
                cwd=folder,
                progress_bar=False,
                execution_timeout=CELL_TIMEOUT_S,
                store_widget_state=False,  # no page has a use for it
                record_timing=False,  # it would be written into the cells, and the cache not recognise them any more
                on_cell_execute=on_start,
                on_cell_executed=on_end,
                extra_arguments=["--log-level=CRITICAL"],  # else each kernel warns of its local socket, and of its end
            )
        except (papermill.PapermillExecutionError, CellTimeoutError, DeadKernelError) as error:
            where = document if running["index"] is None else quote_cell(document, notebook, running["index"])
            failure = f"{where}\n\n{_plain(str(error))}"
    seconds = time.monotonic() - started
    if failure:
        return Execution(document, seconds, failure=failure)
    return Execution(document, seconds, notebook=nbformat.writes(with_outputs(notebook, executed)))


def with_outputs(notebook: nbformat.NotebookNode, executed: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook with what came out, and without what papermill notes of its run, such as the time of day."""
    for cell, run in zip(notebook.cells, executed.cells, strict=True):
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = run.outputs, run.execution_count
    return notebook


def _plain(text: str) -> str:
    return text if sys.stdout.isatty() else ANSI.sub("", text)


def execute_chapters(root: Path, documents: list[str], chapters_in_book: int) -> Iterator[Execution]:
    """Run chapters side by side, and yield each as it ends."""
    cores = os.cpu_count() or 1
    workers = min(cores, chapters_in_book)
    # Shared out by the size of the book, not of this run: sums split over another number of threads round differently.
    threads = cores // workers
    environment = kernel_environment(root, threads)
    with ProcessPoolExecutor(workers, initializer=os.environ.update, initargs=(environment,)) as pool:
        futures = [pool.submit(execute_chapter, root, name) for name in documents]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def is_cached(cache: JupyterCacheAbstract, notebook: nbformat.NotebookNode) -> bool:
    """Whether the cache holds the outputs of these code cells, whole: a full disk may have cut them off."""
    try:
        cache.get_cache_bundle(cache.match_cache_notebook(notebook).pk)
    except (KeyError, NotJSONError):
        return False
    return True


def store(cache: JupyterCacheAbstract, root: Path, execution: Execution) -> None:
    """Keep a finished chapter with its running time."""
    notebook = nbformat.reads(execution.notebook, as_version=4)
    uri = str(root / f"{execution.document}.ipynb")
    bundle = CacheBundleIn(notebook, uri, data={"execution_seconds": execution.seconds})
    cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)


def longest_first(root: Path, documents: Iterable[str]) -> list[str]:
    """Chapters in the order that ends soonest, by their last known running times; unknown ones first."""
    path = timings_file(root)
    known = json.loads(path.read_text()) if path.is_file() else {}
    return sorted(documents, key=lambda name: known.get(name, {}).get("seconds", float("inf")), reverse=True)


def update_cache(root: Path, folder: Path, documents: list[str]) -> None:
    """Execute what the cache in `folder` does not hold."""
    prune_caches(folder)
    cache = get_cache(folder)
    pending = without_outputs(root, folder, documents)
    print(f"{len(documents) - len(pending)} of {len(documents)} chapters unchanged, {len(pending)} to execute")
    if pending:
        run_pending(root, cache, pending, len(chapter_documents(root)))


def without_outputs(root: Path, folder: Path, documents: list[str]) -> list[str]:
    """The chapters whose outputs the cache does not hold."""
    cache = get_cache(folder)
    return [name for name in documents if not is_cached(cache, read_chapter(root, name))]


def run_pending(root: Path, cache: JupyterCacheAbstract, pending: list[str], chapters_in_book: int) -> None:
    """Execute and keep these chapters; raise BuildError with every failure once all have ended."""
    failures = []
    for execution in execute_chapters(root, longest_first(root, pending), chapters_in_book):
        if execution.failure:
            failures.append(execution.failure)
            print(f"FAILED  {execution.document}", flush=True)
        else:
            store(cache, root, execution)
            print(f"done    {execution.document}  ({execution.seconds:.1f} s)", flush=True)
    if failures:
        raise BuildError("\n\n".join(["a chapter failed:", *failures]))


# --- what came out ---------------------------------------------------------------------------------------------------


def executed_chapters(root: Path, folder: Path, documents: list[str]) -> dict[str, nbformat.NotebookNode]:
    """The chapters with their cached outputs; BuildError for those that were edited since they ran."""
    if edited := without_outputs(root, folder, documents):
        raise BuildError(f"edited while the book was built, so build it again: {', '.join(edited)}")
    cache = get_cache(folder)
    return {name: cache.merge_match_into_notebook(read_chapter(root, name))[1] for name in documents}


def output_fault(output: nbformat.NotebookNode) -> str | None:
    """Why this output must not be published, if so."""
    if output.output_type == "stream" and output.name == "stderr":
        return f"writes to stderr: {output.text.strip()[:500]}"
    data = output.get("data", {})
    if WIDGET_VIEW in data and "text/html" not in data:
        return "is a widget, which shows nothing on a page without a kernel"
    text = "\n".join([output.get("text", ""), data.get("text/plain", ""), data.get("text/html", "")])
    return "leaves a progress bar in its output" if PROGRESS_TEXT.search(text) else None


def check_outputs(chapters: dict[str, nbformat.NotebookNode]) -> None:
    """Raise BuildError for what a page cannot show and anything on stderr, naming the cells."""
    faults = []
    for document, notebook in chapters.items():
        for index, cell in enumerate(notebook.cells):
            for output in cell.get("outputs", []):
                if fault := output_fault(output):
                    faults.append(f"{quote_cell(document, notebook, index)}\n  {fault}")
    if faults:
        raise BuildError("\n\n".join(["an output cannot be published:", *faults]))


def timings_file(root: Path) -> Path:
    """Where the running times of the last build stand."""
    return root / "_build" / "execution.json"


def record_timings(root: Path, folder: Path, documents: list[str]) -> None:
    """Write when each chapter last ran and how many seconds it took."""
    cache = get_cache(folder)
    records = {name: cache.match_cache_notebook(read_chapter(root, name)) for name in documents}
    timings = {
        name: {"seconds": round(record.data["execution_seconds"], 1), "finished": record.created.isoformat()}
        for name, record in records.items()
    }
    timings_file(root).write_text(json.dumps(timings, indent=2) + "\n")


# --- pages -----------------------------------------------------------------------------------------------------------


def repository_settings(config: dict[str, Any], url: str) -> dict[str, Any]:
    """`config` with the repository's address, which stands in pyproject.toml and nowhere else.

    Colab opens notebooks from GitHub only, and the theme warns of any other host: there the buttons are left out.
    """
    if url.startswith("https://github.com/"):
        return {**config, "repository": {**config.get("repository", {}), "url": url}}
    html = {key: value for key, value in config.get("html", {}).items() if not key.startswith("use_")}
    without = {key: value for key, value in config.items() if key not in {"launch_buttons", "repository"}}
    return {**without, "html": html}


def page_inputs_hash(root: Path) -> str:
    """Hash of what `book_pages` writes around the text of a page, and of styles and scripts: Sphinx watches neither."""
    files = [
        *sorted(PAGES.glob("*.py")),
        *sorted((root / "tools" / "pages" / "static").glob("*")),
        *sorted((root / "l2rw_core").glob("*/*.[cj]s*")),
        *sorted((root / "tools" / "pages" / "templates").glob("*")),
        *(root / name for name in CITED_FROM),
    ]
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files if file.is_file())).hexdigest()[:16]


def installed_versions() -> str:
    """Python and the packages that decide the numbers, as prose."""
    names = {dist.metadata["Name"].lower() for dist in importlib.metadata.distributions()}
    packages = [f"{name} {importlib.metadata.version(name)}" for name in SHOWN_VERSIONS if name in names]
    return ", ".join([f"Python {platform.python_version()}", *packages])


def with_own_extensions(sphinx: dict[str, Any], inputs: str) -> dict[str, Any]:
    """Sphinx's settings with the extensions in `pages`, also where the book lists its extensions itself."""
    settings = {**sphinx.get("config", {}), "book_pages_made_from": inputs}
    if "extensions" in settings:
        settings["extensions"] = [*settings["extensions"], *OWN_EXTENSIONS]
    return {**sphinx, "config": settings, "local_extensions": dict.fromkeys(OWN_EXTENSIONS, str(PAGES))}


def build_settings(root: Path, folder: Path, not_run: Iterable[str] = ()) -> dict[str, Any]:
    """`_config.yml` completed with what only the build knows; pages `not_run` show their code alone."""
    config = yaml.safe_load((root / "_config.yml").read_text())
    url = tomllib.loads((root / "pyproject.toml").read_text())["project"]["urls"]["Repository"]
    facts = {
        "build_versions": installed_versions(),
    }
    config = repository_settings(config, url)
    execute = config.get("execute", {})
    excluded = [*execute.get("exclude_patterns", []), *(f"{name}.ipynb" for name in not_run)]
    cached = {"cache": str(folder), "execute_notebooks": "cache", "exclude_patterns": excluded}
    config["execute"] = {**execute, **cached}
    config["sphinx"] = with_own_extensions(config.get("sphinx", {}), page_inputs_hash(root))
    parse = config.get("parse", {})
    config["parse"] = {**parse, "myst_substitutions": {**parse.get("myst_substitutions", {}), **facts}}
    return config


def remove_stale_pages(root: Path) -> None:
    """Forget the last build when the table of contents changed since: Sphinx never deletes a page."""
    index = root / "_build" / "html" / "index.html"
    if index.is_file() and index.stat().st_mtime < (root / "_toc.yml").stat().st_mtime:
        shutil.rmtree(root / "_build" / "html")
        forget_doctrees(root)


def forget_doctrees(root: Path) -> None:
    """Make the next run read every page again."""
    shutil.rmtree(root / "_build" / ".doctrees", ignore_errors=True)


def build_pages(root: Path, folder: Path) -> None:
    """Run Jupyter Book over the cached outputs; a warning, or a reference to nothing, is an error."""
    remove_stale_pages(root)
    held = len(get_cache(folder).list_cache_records())
    if run_jupyter_book(root, build_settings(root, folder), root, "-n", "-W", "--keep-going"):
        # Sphinx reports a warning only when it reads a page: without this, a second run would pass.
        forget_doctrees(root)
        raise BuildError("the pages have errors or warnings, see above")
    if len(get_cache(folder).list_cache_records()) != held:
        forget_doctrees(root)
        raise BuildError("Sphinx executed a page by itself, unchecked: pages with code must be .ipynb files")


def run_jupyter_book(root: Path, settings: dict[str, Any], output: Path, *options: str) -> int:
    """Make the pages in `output`/_build/html, and return Jupyter Book's exit status."""
    written = output / "_build" / "_config.yml"
    written.parent.mkdir(parents=True, exist_ok=True)
    written.write_text(yaml.safe_dump(settings, sort_keys=False))
    program = Path(sys.executable).with_name("jupyter-book")
    command = [program, "build", str(root), "-q", "--path-output", str(output), "--config", str(written), *options]
    return subprocess.run(command, check=False, stdin=subprocess.DEVNULL).returncode


# --- one page, to look at ---------------------------------------------------------------------------------------------


def document_named(documents: Iterable[str], name: str) -> str:
    """The one document whose name has `name` in it; BuildError, which lists them, for none or several."""
    named = [document for document in documents if name.removesuffix(".ipynb").removesuffix(".md") in document]
    if len(named) != 1:
        listed = "\n  ".join(named or documents)
        raise BuildError(f"{len(named) or 'no'} pages are named like '{name}'; name one of\n  {listed}")
    return named[0]


def preview(root: Path, name: str) -> Path:
    """Run one chapter and make the book around it in `_build/preview`; return the page.

    Other chapters show their outputs where the cache holds them, and else their code alone.
    """
    document = document_named(toc_documents(root), name)
    chapters = chapter_documents(root)
    output, sources = root / "_build" / "preview", source_hash(root)
    folder = cache_folder(root, sources)
    if not folder.is_dir():  # a cache of its own, or a few previews would push the book's out
        folder = cache_folder(output, sources)
    update_cache(root, folder, [document] if document in chapters else [])
    settings = build_settings(root, folder, without_outputs(root, folder, chapters))
    page = output / "_build" / "html" / f"{document}.html"
    if run_jupyter_book(root, settings, output) or not page.is_file():
        raise BuildError("the page could not be made, see above")
    return page


# --- what a reader has to load ---------------------------------------------------------------------------------------


def page_weights(html: Path) -> dict[str, dict[str, int]]:
    """Page -> bytes of its HTML, widgets and figures included, as it is and as servers send it, heaviest first.

    What all pages share (style sheets, scripts, fonts) is loaded once and counted in the browser tests.
    """
    files = [file.relative_to(html) for file in html.rglob("*.html")]
    pages = {file.with_suffix("").as_posix(): (html / file).read_bytes() for file in files if file.parts[0][0] != "_"}
    by_weight = sorted(pages.items(), key=lambda page: -len(page[1]))
    return {name: {"bytes": len(page), "gzipped": len(gzip.compress(page))} for name, page in by_weight}


def record_weights(root: Path) -> None:
    """Write `_build/weights.json`, and print the heaviest pages."""
    weights = page_weights(root / "_build" / "html")
    (root / "_build" / "weights.json").write_text(json.dumps(weights, indent=2) + "\n")
    for name, weight in list(weights.items())[:SHOWN_WEIGHTS]:
        print(f"{weight['bytes'] / 1e6:6.2f} MB ({weight['gzipped'] / 1e6:.2f} MB compressed)  {name}")


# --- notebooks -------------------------------------------------------------------------------------------------------


def write_notebooks(root: Path, executed: dict[str, nbformat.NotebookNode]) -> Path:
    """Make the notebooks that readers open, and return their folder; BuildError for what they cannot show."""
    ran = json.loads(timings_file(root).read_text())
    try:
        return make_notebooks.make(
            root, toc_documents(root), executed, {name: times["seconds"] for name, times in ran.items()}
        )
    except make_notebooks.NotebookError as error:
        raise BuildError(f"a notebook cannot be made: {error}") from None


def build(root: Path, pages: bool = True) -> None:
    """Execute, check, and make the pages of the book at `root` and its notebooks, or these alone."""
    documents = chapter_documents(root)
    folder = cache_folder(root, source_hash(root))
    update_cache(root, folder, documents)
    executed = executed_chapters(root, folder, documents)
    record_timings(root, folder, documents)
    check_outputs(executed)
    notebooks = write_notebooks(root, executed)
    if pages:
        build_pages(root, folder)
        make_notebooks.offer(notebooks, root / "_build" / "html")
        record_weights(root)


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Execute the chapters and build the book.")
    parser.add_argument("root", nargs="?", type=Path, default=Path(__file__).parents[1], help="folder of _config.yml")
    parser.add_argument("--notebooks", action="store_true", help="make the readers' notebooks, and no pages")
    parser.add_argument("--page", metavar="NAME", help="run one chapter and make its page, in _build/preview")
    options = parser.parse_args(arguments)
    root, started = options.root.resolve(), time.monotonic()
    made = root / (make_notebooks.FOLDER if options.notebooks else Path("_build", "html", "index.html"))
    try:
        if options.page is not None:
            made = preview(root, options.page)
        else:
            build(root, pages=not options.notebooks)
    except BuildError as error:
        print(f"\nThe book was not built: {error}", file=sys.stderr)
        return 1
    print(f"Built in {time.monotonic() - started:.1f} s: {made}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
