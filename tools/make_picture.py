"""Make the README's pictures, light and dark: what was found, and the page that an audit writes.

    python tools/make_picture.py [FOLDER]

What was found is the playground on the left and the map of wins and losses on the right. Both are what the book shows:
the playground is the package's own, run in Chromium for as many steps as it opens with, and the map is drawn from the
records. So after new records this makes another picture. The audit is run as in chapter 12, on 300 images of clothes of
which 15% have a wrong label.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import sys
from contextlib import chdir
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, sync_playwright

from l2rw_core import cli
from l2rw_core.datasets import load, title_of
from l2rw_core.experiments import Recorded, load_records
from l2rw_core.figures.maps import PLAIN, TUNED, background_by_noise, lead_map, noise_and_imbalance, outcome
from l2rw_core.interactive import Playground

FOLDER = Path(__file__).resolve().parents[1] / "reference" / "pictures"
SCHEMES = {"light": "#ffffff", "dark": "#0d1117"}
"""Colour scheme -> the page that the picture lies on."""
WIDTH, COLOURS = 1320, 96
AUDIT_VIEW = {"width": 960, "height": 596}
KINDS = ("T-shirt", "trouser", "dress", "sneaker", "bag")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SETTINGS = ("name", "noise", "imbalance", "clean_size", "learning_rate", "model", "data", "seed", "n")

PAGE = """<!doctype html><meta charset="utf-8">
<style>
html {{ color-scheme: {scheme}; background: {paper}; color: CanvasText;
  --pst-color-background: {paper}; font: 15px system-ui, sans-serif; }}
body {{ margin: 0; padding: 16px; width: {width}px; box-sizing: border-box; display: grid;
  grid-template-columns: 1.25fr 1fr; gap: 28px; align-items: start; }}
h2 {{ font-size: 18px; margin: 0 0 8px; }}
figure {{ margin: 0; }} .map svg {{ width: 100%; height: auto; }} figcaption {{ display: none; }}
#playground :is(.bar, .hint, .sentence, .controls) {{ display: none; }}
</style>
<section><h2>In the browser: beside plain training and the clean points alone</h2>
<div id="playground"></div></section>
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
    playground = Playground(data="rings", model="mlp", imbalance=3, clean_size=10, seed=6)
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
    """What was found, as PNG."""
    opened = chromium.new_page(viewport={"width": WIDTH, "height": 800}, device_scale_factor=2, color_scheme=scheme)
    opened.set_content(page(scheme, drawings))
    opened.wait_for_function("globalThis.shown")
    opened.wait_for_timeout(500)
    return _png(opened.locator("body"), COLOURS)


def _png(shown: Locator | Page, colours: int) -> bytes:
    """What is shown, as PNG of few colours, so that it is light."""
    shot = Image.open(io.BytesIO(shown.screenshot())).convert("RGB")
    (shown.page if isinstance(shown, Locator) else shown).close()
    written = io.BytesIO()
    shot.quantize(colours, dither=Image.Dither.NONE).save(written, "PNG", optimize=True)
    return written.getvalue()


def audit_page(folder: Path, scanned: int = 300, trusted: int = 50) -> Path:
    """The page of an audit of images in `folder`, which is made here."""
    source, rng = load("fashion_small"), np.random.default_rng(0)
    pool = rng.permutation(np.flatnonzero([source.classes[k] in KINDS for k in source.y_train]))
    for place, number in enumerate(pool[: scanned + trusted].tolist()):
        label, name = source.classes[source.y_train[number]], "checked" if place < trusted else "scans"
        if name == "scans" and rng.random() < 0.15:
            label = str(rng.choice([kind for kind in KINDS if kind != label]))
        (folder / name / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(source.x_train[number].squeeze()).save(folder / name / label / f"{number:04}.png")
    with chdir(folder):
        cli.main(["audit", "scans", "--clean", "checked", "--out", "report", "--shown", "12"])
    return folder / "report" / "report.html"


def audit_picture(chromium: Browser, scheme: str, page: Path) -> bytes:
    """The top of an audit's page as PNG, with grey values enough for photographs."""
    opened = chromium.new_page(viewport=AUDIT_VIEW, device_scale_factor=2, color_scheme=scheme)
    opened.goto(page.resolve().as_uri())
    return _png(opened, 160)


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
    with TemporaryDirectory() as place, sync_playwright() as playwright:
        report = audit_page(Path(place))
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for scheme in SCHEMES:
            (folder / f"found_{scheme}.png").write_bytes(picture(chromium, scheme, drawings))
            (folder / f"audit_{scheme}.png").write_bytes(audit_picture(chromium, scheme, report))
        chromium.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
