"""Make the README's picture: the playground on the left, the map of wins and losses on the right, light and dark.

    python tools/make_picture.py [FOLDER]

Both are what the book shows: the playground is the package's own, run in Chromium for as many steps as it opens with,
and the map is drawn from the records. So after new records this makes another picture.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import sys
from importlib.resources import files
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from l2rw_core.datasets import title_of
from l2rw_core.experiments import Recorded, load_records
from l2rw_core.figures.maps import PLAIN, TUNED, background_by_noise, lead_map, noise_and_imbalance, outcome
from l2rw_core.interactive import Playground

FOLDER = Path(__file__).resolve().parents[1] / "reference" / "pictures"
SCHEMES = {"light": "#ffffff", "dark": "#0d1117"}
"""Colour scheme -> the page that the picture lies on."""
WIDTH, COLOURS = 1320, 96
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SETTINGS = ("name", "noise", "imbalance", "clean_size", "learning_rate", "model", "seed", "n")

PAGE = """<!doctype html><meta charset="utf-8">
<style>
html {{ color-scheme: {scheme}; background: {paper}; color: CanvasText;
  --pst-color-background: {paper}; font: 15px system-ui, sans-serif; }}
body {{ margin: 0; padding: 16px; width: {width}px; box-sizing: border-box; display: grid;
  grid-template-columns: 1.25fr 1fr; gap: 28px; align-items: start; }}
h2 {{ font-size: 18px; margin: 0 0 8px; }}
figure {{ margin: 0; }} .map svg {{ width: 100%; height: auto; }} figcaption {{ display: none; }}
#playground :is(.bar, .hint, .sentence), #playground .two:last-of-type > div {{ display: none; }}
</style>
<section><h2>In the browser: reweighting beside plain training</h2><div id="playground"></div></section>
<section class="map"><h2>On record: where it wins, and where it loses</h2>{maps}</section>
<script type="module">{script}
const settings = {settings};
globalThis.show = () => {{
  const model = {{ get: key => settings[key], set() {{}}, save_changes() {{}}, on() {{}}, off() {{}} }};
  widget.render({{ model, el: document.getElementById("playground") }});
}};
show(); globalThis.shown = true;
</script>"""


def maps(data: str) -> str:
    """The map against rivals with and without the same clean labels, one under the other."""
    recorded = Recorded(load_records())
    return "".join(
        f"<p>{title_of(data)}, against the best {rivals}</p>"
        + lead_map(
            [
                panel(data, rivals).of(lambda duel: outcome(duel, recorded))
                for panel in (noise_and_imbalance, background_by_noise)
            ]
        ).html
        for rivals in (PLAIN, TUNED)
    )


def page(scheme: str, drawings: str) -> str:
    """The picture as a page."""
    playground = Playground()
    settings = json.dumps({name: getattr(playground, name) for name in SETTINGS})
    script = (files("l2rw_core.interactive") / "playground.js").read_text(encoding="utf-8")
    return PAGE.format(
        scheme=scheme,
        paper=SCHEMES[scheme],
        width=WIDTH,
        maps=drawings,
        script=script.replace("export default", "const widget ="),
        settings=settings,
    )


def picture(chromium: Browser, scheme: str, drawings: str) -> bytes:
    """One picture as PNG, of few colours, so that it is light."""
    opened = chromium.new_page(viewport={"width": WIDTH, "height": 800}, device_scale_factor=2, color_scheme=scheme)
    opened.set_content(page(scheme, drawings))
    opened.wait_for_function("globalThis.shown")
    opened.wait_for_timeout(500)
    shot = Image.open(io.BytesIO(opened.locator("body").screenshot())).convert("RGB")
    opened.close()
    made = io.BytesIO()
    shot.quantize(COLOURS, dither=Image.Dither.NONE).save(made, "PNG", optimize=True)
    return made.getvalue()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    drawings = maps("mnist")
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        print(f"error: a browser is needed: install one of {', '.join(BROWSERS)}", file=sys.stderr)
        return 1
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for scheme in SCHEMES:
            (folder / f"found_{scheme}.png").write_bytes(picture(chromium, scheme, drawings))
        chromium.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
