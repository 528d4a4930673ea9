"""Small pages with a widget or two, as the book embeds them, for tests that need no book."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from ipywidgets import DOMWidget
from ipywidgets.embed import dependency_state, embed_minimal_html

from l2rw_core import interactive

PAGE_SCRIPTS = ("address.js", "explore.js")
"""The package's own scripts that the pages of the book load, in this order."""

# The same packages and versions as the pages of the book load.
REQUIREJS = "https://cdn.jsdelivr.net/npm/requirejs@2.3.4/require.js"
EMBED = "https://cdn.jsdelivr.net/npm/@jupyter-widgets/html-manager@1.0.6/dist/embed-amd.js"
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


def write_page(file: Path, widgets: Sequence[DOMWidget], scripts: Sequence[str] = PAGE_SCRIPTS) -> None:
    """Write a page with the widgets' state in it, as the book does."""
    for name in scripts:
        shutil.copy(Path(interactive.__file__).with_name(name), file.parent)
    tags = "".join(f'<script src="{name}"></script>' for name in scripts)
    template = TEMPLATE.replace("SCRIPTS", tags)
    state = dependency_state(widgets, drop_defaults=False)
    embed_minimal_html(file, views=widgets, title=file.stem, state=state, template=template, embed_url=EMBED)
    page = file.read_text()
    written_by_ipywidgets = re.search(r'<script\s[^>]*src="[^"]*require[^"]*"[^>]*></script>', page)
    page = page.replace(written_by_ipywidgets[0], f'<script src="{REQUIREJS}"></script>')
    # Without this the widget manager first looks for anywidget beside the page, and the browser reports a missing file.
    file.write_text(page.replace(f'src="{EMBED}"', f'src="{EMBED}" data-jupyter-widgets-cdn-only="true"'))
