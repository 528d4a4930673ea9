"""Small pages with a widget or two, as the book embeds them, for tests that need no book."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Protocol

from l2rw_core import interactive

PAGE_SCRIPTS = ("address.js",)
"""The package's own scripts that the pages of the book load; the others come with what they move."""

TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="UTF-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{title}</title>
SCRIPTS
<style>
  html[data-theme=dark] {{ color-scheme: dark; --pst-color-background: #14181e; --pst-color-text-base: #ced6dd; }}
  body {{ margin: 0; padding: 16px; background: var(--pst-color-background, white); }}
  main {{ max-width: 720px; margin: auto; }}
</style>
<script>
  if (matchMedia("(prefers-color-scheme: dark)").matches) document.documentElement.dataset.theme = "dark";
</script>
</head>
<body>
<main><section id="section-one"><h1>{title}</h1>
{snippet}
</section>
<p id="after">What follows the figure.</p></main>
</body>
</html>
"""


class HasHtml(Protocol):
    """What a page can show."""

    html: str


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files without a log line for each."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder, and give its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=folder))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def write_page(file: Path, shown: Sequence[HasHtml], scripts: Sequence[str] = PAGE_SCRIPTS) -> None:
    """Write a page that shows these one after the other, as the book does."""
    for name in scripts:
        shutil.copy(Path(interactive.__file__).with_name(name), file.parent)
    tags = "".join(f'<script src="{name}"></script>' for name in scripts)
    snippet = "\n".join(one.html for one in shown)
    file.write_text(TEMPLATE.replace("SCRIPTS", tags).format(title=file.stem, snippet=snippet))
