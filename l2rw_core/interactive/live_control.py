"""A control that trains anew, for any imbalance, noise and clean-set size that the data allow; it needs a kernel.

Training takes its steps in a thread, so that the kernel goes on answering, and *Stop* works at once. While a cell runs
it waits: the random numbers that a cell draws are never another's. On a page without a kernel the control is a sentence
that says what it would do.
"""

from __future__ import annotations

import contextlib
import html
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets
from IPython import get_ipython

from l2rw_core.datasets import Source, Subset, load
from l2rw_core.experiments import Experiment, LabelWatch, Record, Together, grid, prepare, where_stopped
from l2rw_core.figures.methods import title_of_row
from l2rw_core.figures.style import Drawing
from l2rw_core.figures.sweeps import Star
from l2rw_core.interactive.parameters import ParameterError, check_data, check_values

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
LAUNCH = '<span class="l2rw-launch">Open this chapter as a notebook</span>'
"""What a page makes links of, to the notebook and to where it can be run."""
_LABELS = {"imbalance": "imbalance", "noise": "wrong labels", "clean": "clean images"}
_IN_FULL = {"imbalance": "imbalance", "noise": "share of wrong labels", "clean": "number of clean images"}
_EVERY = 0.2
"""Seconds between two movements of the bar: each is a message to the browser."""


@dataclass(frozen=True)
class LiveResult:
    """What one training came to."""

    asked: Mapping[str, float]
    """Imbalance, noise and clean-set size, those of them that could be chosen."""
    records: Mapping[str, Record]
    """Row -> its run, which may have been stopped."""
    scores: Mapping[str, Mapping[str, float]]
    """Row -> score of its labels -> area under the curve; empty where none were wanted."""

    @property
    def steps(self) -> str:
        """How many steps the longest of them took, and of how many if it was stopped."""
        record = max(self.records.values(), key=lambda one: one.experiment.all_steps)
        of = "" if record.is_whole else f" of {record.experiment.all_steps:,}"
        return f"{record.steps_taken:,}{of} steps"

    @property
    def words(self) -> str:
        """What was asked for, how long it was trained, and the test accuracies."""
        seed = next(iter(self.records.values())).experiment.seed
        ends = ", ".join(f"{title_of_row(row)} {record.last:.1%}" for row, record in self.records.items())
        return f"{in_words(self.asked)}, {self.steps}, seed {seed}: {ends} test accuracy"


def in_words(asked: Mapping[str, float]) -> str:
    """Imbalance, noise and clean-set size as a reader says them."""
    forms = {"imbalance": "{:g}:1", "noise": "{:.3g}% wrong labels", "clean": "{:,d} clean images"}
    return ", ".join(forms[name].format(100 * value if name == "noise" else value) for name, value in asked.items())


class LiveRun:
    """What `live_run` returns; a notebook shows it when it is the last value of a cell.

    Attributes:
        widget: the control, with a kernel.
        results: what was trained so far, the oldest first.
    """

    def __init__(
        self,
        runs: Mapping[str, Experiment],
        draw: Callable[[Sequence[LiveResult]], Drawing],
        start: Mapping[str, float],
        scored: bool,
        source: Source | None,
    ) -> None:
        self.runs, self.draw, self.start, self.scored = dict(runs), draw, dict(start), scored
        self.results: list[LiveResult] = []
        self._source = source
        self._wanted_stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._fields = {name: _field(name, value) for name, value in self.start.items()}
        self._train = ipywidgets.Button(description="Train", icon="play", button_style="primary")
        self._stop = ipywidgets.Button(description="Stop", icon="stop", disabled=True)
        self._bar = ipywidgets.IntProgress(min=0, max=1, layout={"width": "100%", "max_width": "30em"})
        self._said = ipywidgets.HTML(_sentence(f"Trains {self._rows} anew for what you enter."))
        self._figure = ipywidgets.HTML(self.draw(self.results).html)
        self._train.on_click(lambda _: self.train())
        self._stop.on_click(lambda _: self.stop())
        self.widget = ipywidgets.VBox(
            [
                ipywidgets.HBox([*self._fields.values()], layout=_WRAPPED),
                ipywidgets.HBox([self._train, self._stop, self._bar], layout=_WRAPPED),
                self._said,
                self._figure,
            ]
        )

    @property
    def said(self) -> str:
        """The sentence under the buttons, as HTML."""
        return self._said.value

    @property
    def _rows(self) -> str:
        return " and ".join(title_of_row(row) for row in self.runs)

    def train(self) -> None:
        """What *Train* does: check what was entered, and begin; one sentence if it cannot be."""
        if self._thread is not None and self._thread.is_alive():
            return
        asked = {name: field.value for name, field in self._fields.items()}
        try:
            check_values(**asked)
            self._source = self._source or load(next(iter(self.runs.values())).data)
            wanted = {row: check_data(run, source=self._source, **asked) for row, run in self.runs.items()}
        except ParameterError as error:
            self._say(str(error).removesuffix(": change it in Setup"), refused=True)
            return
        self._wanted_stop.clear()
        self._train.disabled, self._stop.disabled, self._bar.value = True, False, 0
        self._say(f"Training {self._rows}: {in_words(asked)}.")
        self._thread = threading.Thread(target=self._run, args=(asked, wanted), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """What *Stop* does: the run ends after its present step, and what it has is shown."""
        self._wanted_stop.set()
        if self._thread is not None and self._thread.is_alive():
            self._stop.disabled = True
            self._say("Stopping.")

    def wait(self, seconds: float | None = None) -> None:
        """Until the training that was begun has ended."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _run(self, asked: Mapping[str, float], wanted: Mapping[str, Experiment]) -> None:
        try:
            self._train_and_show(asked, wanted)
        except Exception as error:  # a thread has nobody else to tell
            self._say(f"{type(error).__name__}: {error}", refused=True)
        finally:
            self._train.disabled, self._stop.disabled = False, True

    def _train_and_show(self, asked: Mapping[str, float], wanted: Mapping[str, Experiment]) -> None:
        watches = {}
        if self.scored:
            watches = {row: LabelWatch(prepare(run, self._source).train.y) for row, run in wanted.items()}
        together = Together(wanted, self._source, watches)
        self._bar.max = together.total_steps
        with cells_first(together.turn) as may_go_on:
            self._take_steps(together, asked, may_go_on)
            may_go_on.wait()
            records = together.records()
            with together.turn:
                self._show(LiveResult(asked, records, self._areas(records, wanted, watches)))

    def _take_steps(self, together: Together, asked: Mapping[str, float], may_go_on: threading.Event) -> None:
        moved = 0.0
        for taken in together.steps():
            if self._wanted_stop.is_set():
                return
            if time.monotonic() - moved > _EVERY:
                moved, self._bar.value = time.monotonic(), taken
                ends = ", ".join(f"{title_of_row(row)} {value:.1%}" for row, value in together.accuracies().items())
                share = taken / together.total_steps
                self._say(f"Training, {in_words(asked)}: {share:.0%} done. Test accuracy so far: {ends}.")
            while not may_go_on.wait(_EVERY):
                if self._wanted_stop.is_set():
                    return

    def _show(self, result: LiveResult) -> None:
        self.results.append(result)
        self._figure.value = self.draw(self.results).html
        if where_stopped(result.records):
            self._say(f"Stopped after {result.steps}; what was learned so far is shown: {result.words}.")
            return
        self._bar.value = self._bar.max
        self._say(f"Trained: {result.words}.")

    def _areas(
        self, records: Mapping[str, Record], wanted: Mapping[str, Experiment], watches: Mapping[str, LabelWatch]
    ) -> dict[str, dict[str, float]]:
        from l2rw_core.experiments.detection import auc  # brings scikit-learn

        found: dict[str, dict[str, float]] = {}
        for row, watch in watches.items():
            wrong = prepare(wanted[row], self._source).train.flipped
            if 0 < wrong.sum() < len(wrong):
                found[row] = {name: auc(values, wrong) for name, values in watch.scores().items()}
        return found

    def _say(self, words: str, refused: bool = False) -> None:
        self._said.value = _sentence(words, refused)

    @property
    def html(self) -> str:
        """What stands on a page, where there is no kernel."""
        quantities = " and ".join(_IN_FULL[name] for name in self.start).replace(" and ", ", ", len(self.start) - 2)
        return (
            '<div class="l2rw-live-run"><p>With a kernel, this is a control that trains '
            f"{html.escape(self._rows)} anew, for any {quantities} that the data allow. It has a progress bar and a "
            f"button to stop, and what comes out stands as a star in the recorded figure. {LAUNCH}.</p></div>"
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """The control where there is a kernel, and the sentence where there is none."""
        view = {"version_major": 2, "version_minor": 0, "model_id": self.widget.model_id}
        return {"text/plain": repr(self), "text/html": self.html, WIDGET_VIEW: view}

    def __repr__(self) -> str:
        return f"[A control that trains {self._rows} anew; it needs a kernel.]"


def live_run(
    runs: Mapping[str, Experiment],
    figure: Callable[..., Drawing],
    *,
    axis: str = "",
    what: str = "last",
    panel: str | Callable[[Mapping[str, float]], str] = "",
    source: Source | None = None,
    **start: float,
) -> LiveRun:
    """A control that trains `runs` anew and puts what comes out into a recorded figure.

        live_run(runs, recorded, axis="noise", noise=0.3, clean=50)

    Args:
        runs: row -> what is run, at whatever imbalance, noise and clean-set size is entered; see `Experiment.biased`.
        figure: called as `figure(own=stars)` with an `axis`: `against` in `figures.sweeps` draws such. Without one
            as `figure(own=results)`, a list of `LiveResult`, whose labels are scored.
        axis: which of the three quantities the figure has below.
        what: what it has at the side, one of `l2rw_core.experiments.QUANTITIES`.
        panel: the panel that a star belongs to, or what says it of the quantities.
        source: the data if they are at hand; otherwise they are loaded when they are needed.
        **start: imbalance, noise and clean: those of them that can be entered, and the values to begin with.

    Raises:
        TypeError: a quantity that there is none of.
    """
    if unknown := set(start) - set(_LABELS):
        raise TypeError(f"no quantity {', '.join(sorted(unknown))}; choose from {', '.join(_LABELS)}")

    def draw(results: Sequence[LiveResult]) -> Drawing:
        return figure(own=[star for result in results for star in _stars(result, axis, what, panel)])

    return LiveRun(runs, draw if axis else lambda results: figure(own=results), start, not axis, source)


def embedded_runs(name: str, rows: Sequence[str], seed: int) -> dict[str, Experiment]:
    """The runs of a reduced grid on the part of Fashion-MNIST that comes with the package, where any imbalance can be.

    The records have 5,000 of 60,000 images; these runs have 5,000 of 6,000, and of a long tail all that there are.

    Args:
        name: of the grid.
        rows: of the grid.
        seed: of the runs.
    """
    cells = [cell for cell in grid(name, "reduced").cells if cell.place["data"] == "fashion_mnist"]
    found = {row: next(cell for cell in cells if cell.row == row) for row in rows}
    return {row: _on_embedded(cell.trial(seed)) for row, cell in found.items()}


def _on_embedded(run: Experiment) -> Experiment:
    flips = tuple(bias for bias in run.biases if bias.flips_labels)
    return run.with_(data="fashion_small", biases=(Subset(5_000), *flips))


def _stars(
    result: LiveResult, axis: str, what: str, panel: str | Callable[[Mapping[str, float]], str]
) -> Iterator[Star]:
    where = panel if isinstance(panel, str) else panel(result.asked)
    for row, record in result.records.items():
        yield Star(row, result.asked[axis], record, what, where, result.words)


@contextlib.contextmanager
def cells_first(turn: threading.Lock) -> Iterator[threading.Event]:
    """Inside, whoever takes turns waits while a cell of the notebook runs: the event that is yielded says when not."""
    free, shell = threading.Event(), get_ipython()
    free.set()

    def begins(*_: object) -> None:
        free.clear()
        with turn:  # until the step that is being taken is done
            pass

    def ends(*_: object) -> None:
        free.set()

    handlers = {"pre_run_cell": begins, "post_run_cell": ends} if shell is not None else {}
    for event, handler in handlers.items():
        shell.events.register(event, handler)
    try:
        yield free
    finally:
        for event, handler in handlers.items():
            shell.events.unregister(event, handler)


_WRAPPED = {"flex_flow": "row wrap", "align_items": "center"}


def _field(name: str, value: float) -> ipywidgets.Widget:
    kind = ipywidgets.IntText if name == "clean" else ipywidgets.FloatText
    look = {"style": {"description_width": "initial"}, "layout": {"width": "13em"}}
    return kind(value=value, description=_LABELS[name], **look)


def _sentence(words: str, refused: bool = False) -> str:
    colour = ' style="color: var(--jp-error-color1, #b00020)"' if refused else ""
    return f'<span role="status"{colour}>{html.escape(words)}</span>'
