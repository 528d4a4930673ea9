"""What every page of the built book asks of a reader: bytes, time until it reads and answers, what moves, tab stops.

    python -m benchmarks.pages

The table is Markdown, and what misses an aim is bold. The book is served from this machine, so the times are those of
the page itself and not of a line; the processor is slowed down four times, as a phone's is. Each visit opens a fresh
profile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import axe_playwright_python
import numpy as np
import tyro
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.pages import served
from tests.browser.visiting import UNFOLD, chromium

AIMS: Mapping[str, float] = {
    "MB": 1.5,
    "readable, s": 1,
    "answers, s": 2,
    "slowest control, s": 2,
    "shift, 390 px": 0.05,
    "shift, 1280 px": 0.05,
    "formulas among them": 0,
    "axe": 0,
}
"""Column of the table -> the most that a page may have."""
PHONE, SCREEN = 390, 1280
AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
MOST_STOPS = 5000
PATIENCE_MS = 300_000
"""A busy machine is slow, and no fault of the page."""
SETTLED = "() => new Promise(done => requestAnimationFrame(() => setTimeout(done, 50)))"
BUILT = Path(__file__).parents[1] / "_build"
# Before the page's own scripts: what the browser counts while the page is loaded.
COUNT = """() => {
    window.moved = 0;
    const add = list => list.getEntries().forEach(one => { if (!one.hadRecentInput) window.moved += one.value; });
    new PerformanceObserver(add).observe({type: 'layout-shift', buffered: true});
}"""
LOADED = """() => {
    const files = performance.getEntriesByType('resource');
    const [page] = performance.getEntriesByType('navigation');
    const [paint] = performance.getEntriesByName('first-contentful-paint');
    return {
        requests: files.length + 1,
        bytes: [page, ...files].reduce((sum, one) => sum + one.decodedBodySize, 0),
        readable: paint.startTime / 1000,
        moved: window.moved,
    };
}"""
# A slider or a choice of its own figure: a step, and whether the figure is another one.
STEP = """root => {
    const [input] = root.querySelectorAll('input');
    const before = root.querySelector('figure').innerHTML;
    if (input.type === 'range') input.value = Number(input.value) + (input.value < input.max ? 1 : -1);
    else [...root.querySelectorAll(`input[name="${input.name}"]`)].find(one => !one.checked).checked = true;
    input.dispatchEvent(new Event('input', {bubbles: true}));
    return root.querySelector('figure').innerHTML !== before;
}"""
# The time at which a widget, as soon as one is there, has answered; or at which all that the page has is there.
ANSWERED = f"""() => {{
    const explore = document.querySelector('.l2rw-explore[data-ready]');
    if (explore) return ({STEP})(explore) ? performance.now() : -1;
    const step = [...document.querySelectorAll('.l2rw-playground button')].find(one => one.textContent === 'Step');
    if (step) step.click();
    const waits = document.querySelector('.l2rw-explore, .l2rw-playground-host') || document.readyState !== 'complete';
    return (step || !waits) && performance.now();
}}"""

# One control of each kind in each widget, or three of a kind outside of one: marked, and their number returned.
CONTROLS = """() => {
    const counts = new Map();
    let marked = 0;
    for (const control of document.querySelectorAll('article :is(input, button, summary, th[aria-sort])')) {
        if (!control.checkVisibility({visibilityProperty: true, opacityProperty: true}) || control.disabled) continue;
        const widget = control.closest('.l2rw-explore, .l2rw-playground, .l2rw-predict');
        const kind = [control.tagName, control.className, control.name ?? ''].join();
        const places = counts.get(widget) ?? counts.set(widget, new Map()).get(widget);
        places.set(kind, (places.get(kind) ?? 0) + 1);
        if (places.get(kind) > (widget && control.name ? 1 : 3)) continue;
        control.dataset.marked = marked++;
    }
    return marked;
}"""
# Before the page's own scripts: the time from each touch to the frame that shows what it did, in steps of 8 ms.
LISTEN = """() => {
    window.slowest = 0;
    const look = list => list.getEntries().forEach(one => { window.slowest = Math.max(window.slowest, one.duration); });
    new PerformanceObserver(look).observe({type: 'event', durationThreshold: 16, buffered: true});
}"""
# What has the focus: a number for each element, and whether a formula has it; null once the page has been left.
FOCUSED = """() => {
    const element = document.activeElement;
    if (!element || element === document.body) return null;
    window.stops ??= new Map();
    if (!window.stops.has(element)) window.stops.set(element, window.stops.size);
    return [window.stops.get(element), element.matches('math, .math:not([data-symbols])')];
}"""
VIOLATIONS = """async () => {
    const {violations} = await axe.run(document, {resultTypes: ['violations']});
    return violations.map(({id, nodes}) => `${id} (${nodes.length})`);
}"""


@dataclass
class Arguments:
    """Open every page several times, and print the median of what it takes."""

    visits: int = 3
    slowed: float = 4
    only: tuple[str, ...] = ()
    """Parts of the names of the pages; without any, all pages."""
    book: Path = BUILT / "html"


@dataclass(frozen=True)
class Visited:
    """One visit: requests, bytes as they are before compression, seconds since the page was asked for, layout shift."""

    requests: int
    bytes: int
    readable: float
    answers: float
    """Until a slider or the playground has answered; until everything is loaded where there is neither."""
    moved: float


def visit(browser: Browser, address: str, slowed: float = 4, width: int = 1280) -> Visited:
    """Open a page in a fresh profile and move what can be moved."""
    with fresh_page(browser, width) as page:
        page.add_init_script(f"({COUNT})()")
        page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": slowed})
        page.goto(address, wait_until="commit")
        answers_at = _answered(page)
        page.wait_for_load_state("load")
        page.wait_for_timeout(500)
        return Visited(answers=answers_at, **page.evaluate(LOADED))


def _answered(page: Page) -> float:
    """Seconds until the page has answered to a reader's hand, by its own clock: asking takes longer than answering."""
    at = page.wait_for_function(ANSWERED).json_value()
    if at < 0:
        raise ValueError(f"{page.url}: the first slider does not change its figure")
    return at / 1000


@dataclass(frozen=True)
class Used:
    """What a page does under a reader's hands."""

    slowest: float
    """Seconds from a key or a click to the frame that answers it, the longest of the page's controls."""
    stops: int
    """Elements that the Tab key leads to."""
    formulas: int
    """Of these, formulas that show nothing when they are chosen."""
    faults: list[str]
    """Rules of axe that are broken, with the number of places."""


def use(browser: Browser, address: str, slowed: float = 4) -> Used:
    """Move every control, go through the page by Tab, and let axe look at all that can be unfolded."""
    with fresh_page(browser, SCREEN) as page:
        page.add_init_script(f"({LISTEN})()")
        page.goto(address, wait_until="load")
        stops = _tab_stops(page)
        speed = page.context.new_cdp_session(page)
        speed.send("Emulation.setCPUThrottlingRate", {"rate": slowed})
        for number in range(page.evaluate(CONTROLS)):
            _move(page, f"[data-marked='{number}']")
        slowest = page.evaluate("slowest") / 1000
        speed.send("Emulation.setCPUThrottlingRate", {"rate": 1})
        page.reload(wait_until="load")
        page.evaluate(UNFOLD)
        page.add_script_tag(path=AXE)
        faults = page.evaluate(VIOLATIONS)
        return Used(slowest, len(stops), sum(stops.values()), faults)


def _tab_stops(page: Page) -> dict[int, bool]:
    """Number of each element that Tab leads to -> whether it is a formula."""
    stops: dict[int, bool] = {}
    for _ in range(MOST_STOPS):
        page.keyboard.press("Tab")
        found = page.evaluate(FOCUSED)
        if found is None or found[0] < len(stops):
            break
        stops[found[0]] = found[1]
    return stops


def _move(page: Page, selector: str) -> None:
    """Press what a reader would; a step of a slider goes to the right, or to the left at the end."""
    control = page.locator(selector)
    if not control.is_visible():
        return
    control.focus()
    if control.evaluate("one => one.matches('input')"):
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowLeft")
    else:
        page.keyboard.press("Enter")
    page.evaluate(SETTLED)
    page.keyboard.press("Escape")


@contextmanager
def fresh_page(browser: Browser, width: int) -> Iterator[Page]:
    """A page in a profile of its own."""
    context = browser.new_context(viewport={"width": width, "height": 844})
    context.set_default_timeout(PATIENCE_MS)
    yield context.new_page()
    context.close()


def row(browser: Browser, address: str, visits: int, slowed: float) -> dict[str, float | str]:
    """Column -> what a page has there."""
    seen = [visit(browser, address, slowed, PHONE) for _ in range(visits)]
    wide = visit(browser, address, slowed, SCREEN)
    used = use(browser, address, slowed)
    return {
        "files": seen[0].requests,
        "MB": seen[0].bytes / 1e6,
        "readable, s": float(np.median([one.readable for one in seen])),
        "answers, s": float(np.median([one.answers for one in seen])),
        "slowest control, s": used.slowest,
        "shift, 390 px": max(one.moved for one in seen),
        "shift, 1280 px": wide.moved,
        "tab stops": used.stops,
        "formulas among them": used.formulas,
        "axe": len(used.faults),
        "axe says": ", ".join(used.faults),
    }


def as_line(page: str, values: Mapping[str, float | str]) -> str:
    """A line of the table; what misses its aim is bold."""
    cells = [page]
    for name, value in values.items():
        shown = f"{value:.3g}" if isinstance(value, float) else str(value)
        missed = not isinstance(value, str) and value > AIMS.get(name, float("inf"))
        cells.append(f"**{shown}**" if missed else shown)
    return f"| {' | '.join(cells)} |"


def _leads_on(file: Path) -> bool:
    """Whether a page does nothing but lead to another one."""
    return 'http-equiv="refresh"' in file.read_text(encoding="utf-8")[:200].lower()


def main(arguments: Arguments) -> None:
    """Print a line a page."""
    program = chromium()
    if program is None or not arguments.book.is_dir():
        raise SystemExit("this needs Chromium and the book: run 'make book' first")
    files = [file for file in sorted(arguments.book.rglob("*.html")) if not _leads_on(file)]
    places = [file.relative_to(arguments.book) for file in files]
    names = [place.with_suffix("").as_posix() for place in places if place.parts[0][0] != "_"]
    chosen = [name for name in names if not arguments.only or any(part in name for part in arguments.only)]
    with served(arguments.book) as site, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for number, name in enumerate(chosen):
            values = row(browser, f"{site}/{name}.html", arguments.visits, arguments.slowed)
            if number == 0:
                print(f"| page | {' | '.join(values)} |\n| :-- |{' --: |' * (len(values) - 1)} :-- |")
            print(as_line(name, values), flush=True)
        browser.close()


if __name__ == "__main__":
    main(tyro.cli(Arguments))
