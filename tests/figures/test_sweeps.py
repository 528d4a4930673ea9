"""Recorded grids along one axis: what was run is drawn and told, what was not says so."""

from dataclasses import replace

import numpy as np
import pytest

from l2rw_core.experiments import Interval, Recorded, Results, fit, grid
from l2rw_core.figures import sweeps
from l2rw_core.figures.style import figure
from l2rw_core.figures.sweeps import _panel, about, against, by_class, class_accuracies, enough, leads, style_of_row


@pytest.fixture(scope="module")
def swept():
    """Two of the rates of Figure 5 on the embedded digits, two trials of two rows at one rate and one at the other."""
    cells = [c for c in grid("fig5", "quick").cells if c.row in ("baseline+ft", "l2rw")]
    short = {"steps": 60, "lr_drops": (), "evaluate_every": 20}
    records = []
    for cell in cells:
        for seed in (0, 1) if cell.place["noise"] == 0.4 else (0,):
            run = fit(cell.trial(seed).with_(**short), progress=False)
            records.append(replace(run, experiment=cell.trial(seed), curve=_stretched(run.curve, cell)))
    return Results(grid("fig5", "quick"), Recorded(records))


def _stretched(curve, cell):
    """The curve of a short run under the step numbers of the cell: what is tested is the reading, not the training."""
    e = cell.experiment
    ends = [e.steps, e.all_steps] if e.fine_tune_steps else [e.steps]
    return replace(curve, step=[*range(len(curve.step) - len(ends)), *ends])


def test_the_plain_row_is_read_off_the_longer_run(swept):
    plain, tuned = (swept.cell(row, data="digits", noise=0.4) for row in ("baseline", "baseline+ft"))
    assert plain.records == tuned.records
    for result, read in ((plain, "confusion_before_tuning"), (tuned, "confusion")):
        counts = np.array([getattr(record, read) for record in result.records])
        expected = counts.diagonal(axis1=1, axis2=2) / counts.sum(2)
        np.testing.assert_array_equal(class_accuracies(result), expected)
    bare = replace(plain, records=tuple(replace(r, confusion_before_tuning=None) for r in plain.records))
    assert class_accuracies(bare) is None


def test_accuracy_of_classes_is_that_of_the_confusions_beside_their_sizes(swept, monkeypatch):
    seen = []
    monkeypatch.setattr(sweeps, "show", lambda fig, alt, caption: seen.append(fig) or sweeps.Drawing("", alt, caption))
    ours = swept.cell("l2rw", data="digits", noise=0.4)
    sizes = np.geomspace(1000, 10, 10).astype(int)
    drawing = by_class({"l2rw": ours, "random": None}, sizes)
    ax, counts = seen[0].axes
    (line,) = ax.lines
    shares = class_accuracies(ours)
    np.testing.assert_allclose(line.get_ydata(), 100 * shares.mean(0))
    assert [bar.get_y() + bar.get_height() for bar in counts.patches] == sizes.tolist()
    ours_on_rare = f"L2RW {100 * shares[:, -3:].mean():.0f}%, 2 trials"
    assert drawing.alt == f"Three rarest classes: {ours_on_rare}. Not run: random weights."
    assert by_class({"random": None}, sizes).caption == "This cell was not run."


def test_bars_span_the_interval_and_only_where_there_is_one(swept):
    line = swept.line("l2rw", "noise", data="digits")
    _, ax = figure()
    _panel(ax, {"l2rw": {**line, 0.6: None}}, "last", log=False, marked=None)
    bars, means = ax.lines
    last = line[0.4].last
    np.testing.assert_array_equal(bars.get_xdata(), [0.4, 0.4, 0.4])
    np.testing.assert_allclose(bars.get_ydata(), [last.mean - last.half_width, last.mean + last.half_width, np.nan])
    np.testing.assert_allclose(means.get_ydata(), [line[0.0].last.mean, last.mean, np.nan])


def test_a_single_panel_names_its_lines_where_they_end_and_only_a_line_that_was_not_run_takes_a_legend(
    swept, monkeypatch
):
    figures = []
    monkeypatch.setattr(
        sweeps, "show", lambda fig, alt, caption: figures.append(fig) or sweeps.Drawing("", alt, caption)
    )
    ours = {0.4: swept.cell("l2rw", data="digits", noise=0.4)}
    against({"": {"l2rw": ours}}, "wrong labels")
    against({"": {"l2rw": ours, "random": {0.4: None}}}, "wrong labels")
    ends, gap = figures
    assert not ends.legends
    assert [text.get_text() for text in ends.axes[0].texts] == ["L2RW"]
    (legend,) = gap.legends
    assert [text.get_text() for text in legend.get_texts()] == ["L2RW", "random weights (not run)"]


def test_the_words_are_those_of_the_numbers(swept):
    line = swept.line("l2rw", "noise", data="digits")
    drawing = against({"": {"l2rw": line}}, "wrong labels", words="{:.0%}", caption="Digits.")
    ends = [line[rate].last.mean for rate in (0.0, 0.4)]
    assert drawing.alt == f"Test accuracy, last step. L2RW {ends[0]:.1f}% at 0% and {ends[1]:.1f}% at 40%."
    assert drawing.caption == "Digits. 1 to 2 trials a cell; bars are 95% intervals. A single trial has none."
    best = against({"": {"l2rw": line}}, "wrong labels", "best")
    assert f"{line[0.4].best.mean:.1f}%" in best.alt


def test_cells_that_were_not_run_are_grey_and_named(swept):
    line = swept.line("l2rw", "noise", data="digits")
    half = {0.0: None, 0.4: line[0.4]}
    drawing = against({"digits": {"l2rw": half}}, "wrong labels", words="{:.0%}")
    assert drawing.svg.count(">not run<") == 1
    assert "Not run: L2RW at 0%, digits." in drawing.caption
    assert ">not run<" not in against({"": {"l2rw": line}}, "wrong labels").svg
    nothing = against({"": {"l2rw": {0.0: None, 0.4: None}}}, "wrong labels")
    assert nothing.svg.count(">not run<") == 2
    assert "L2RW (not run)" in nothing.svg
    assert nothing.caption == "Not run."
    assert "not run" in nothing.alt


@pytest.mark.parametrize(
    ("missing", "log", "band"),
    [
        (1, False, (0.5, 2.0)),
        (3, False, (2.0, 6.5)),
        (10, False, (6.5, 13.5)),
        (3, True, (3**0.5, 30**0.5)),
        (1, True, (3**-0.5, 3**0.5)),
    ],
)
def test_the_grey_band_goes_half_of_the_way_to_the_neighbours(swept, missing, log, band):
    result = swept.cell("l2rw", data="digits", noise=0.4)
    values = (1, 3, 10) if log else (0, 1, 3, 10)
    _, ax = figure()
    _panel(ax, {"l2rw": {value: None if value == missing else result for value in values}}, "last", log, marked=None)
    (patch,) = ax.patches
    assert (patch.get_x(), patch.get_x() + patch.get_width()) == pytest.approx(band)


def test_a_row_that_lacks_a_cell_beside_one_that_has_it_is_not_hidden_by_a_band(swept):
    line = swept.line("l2rw", "noise", data="digits")
    drawing = against({"": {"l2rw": line, "random": dict.fromkeys(line)}}, "wrong labels")
    assert ">not run<" not in drawing.svg
    assert "random weights (not run)" in drawing.svg
    assert "Not run: random weights at 0.0; random weights at 0.4." in drawing.caption


def test_errors_are_what_accuracies_leave(swept):
    line = swept.line("l2rw", "noise", data="digits")
    assert line[0.4].error.mean == pytest.approx(100 - line[0.4].last.mean)
    assert line[0.4].error.half_width == pytest.approx(line[0.4].last.half_width)
    drawing = against({"": {"l2rw": line}}, "wrong labels", what="error", words="{:.0%}")
    low, high = (f"{line[value].error.mean:.1f}%" for value in (0.0, 0.4))
    assert drawing.alt == f"Test error, last step. L2RW {low} at 0% and {high} at 40%."
    assert drawing.svg != against({"": {"l2rw": line}}, "wrong labels", words="{:.0%}").svg


def test_axes_do_not_depend_on_what_was_run(swept):
    line = swept.line("l2rw", "noise", data="digits")

    def drawn(lines):
        return against({"": lines}, "wrong labels", words="{:.0%}").svg

    def ticks(svg):
        return svg.count(">0%<"), svg.count(">40%<"), svg.split("viewBox")[1][:30]

    assert ticks(drawn({"l2rw": line})) == ticks(drawn({"l2rw": dict.fromkeys(line)}))


def test_what_cannot_be_drawn(swept):
    line = swept.line("l2rw", "noise", data="digits")
    with pytest.raises(ValueError, match="unknown kind of number 'first'; choose one of last, best, error"):
        against({"": {"l2rw": line}}, "noise", "first")
    with pytest.raises(ValueError, match="no lines to draw"):
        against({"": {}}, "noise")


def test_trials_in_words(swept):
    line = swept.line("l2rw", "noise", data="digits")
    assert about({"": {"l2rw": {0.0: line[0.0]}}}) == "One trial a cell, so there are no intervals."
    assert about({"": {"l2rw": {0.4: line[0.4]}}}) == "2 trials a cell; bars are 95% intervals."


def test_every_row_has_a_style_of_its_own():
    rows = ["baseline", "baseline+ft", "baseline+es", "proportion", "random", "l2rw", "l2rw, 20 clean"]
    styles = {style_of_row(row)[:2] for row in rows}
    assert len(styles) == len(rows)


class Fixed:
    """A result that has the accuracies it is told; the rules below read nothing else."""

    def __init__(self, last):
        self.last = last

    def interval(self, what):
        return Interval(self.last, 0.0, 1)


def fixed(**accuracies):
    return {int(size[1:]): None if value is None else Fixed(value) for size, value in accuracies.items()}


def test_enough_is_where_the_plateau_begins():
    assert enough(fixed(n10=70, n20=80, n50=84, n100=85), 2) == 50
    assert enough(fixed(n10=84, n20=70, n50=84, n100=85), 2) == 50, "a lucky small value is no plateau"
    assert enough(fixed(n10=70, n20=None, n50=84, n100=85), 2) == 50
    assert enough(fixed(n10=70, n100=85), 2) == 100
    assert enough(fixed(n10=None, n100=85), 2) is None


def test_a_lead_is_counted_where_both_were_run():
    ours = fixed(n10=80, n20=82, n50=83, n100=84)
    others = fixed(n100=81, n50=82.5, n20=90, n10=None)
    assert leads(ours, others) == [50, 100]
    assert leads(ours, others, 1.0) == [100]
    assert leads(others, ours, 1.0) == [20]
    assert leads(fixed(n10=1), ours) == []
