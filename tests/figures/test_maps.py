"""The map of who wins: paired trials, fair rivals, and nothing drawn that was not run."""

import re
from dataclasses import replace

import pytest

from l2rw_core.experiments import Curve, Recorded, fit, grid, interval
from l2rw_core.figures import maps
from l2rw_core.figures.maps import (
    MEASURES,
    PLAIN,
    RIVALS,
    TUNED,
    Panel,
    background_by_clean,
    background_by_noise,
    by_schedule,
    colour_of,
    describe,
    extremes,
    lead_map,
    noise_and_imbalance,
    outcome,
    with_the_papers_network,
)

PANELS = (noise_and_imbalance, background_by_noise, background_by_clean, by_schedule)


@pytest.fixture(scope="module")
def template():
    """A record of a short run, whose experiment and accuracies are replaced."""
    cell = grid("table2", "quick").cells[0]
    return fit(cell.experiment.with_(model="mlp", steps=2, lr_drops=(), evaluate_every=1), progress=False)


@pytest.fixture
def panel():
    return noise_and_imbalance("digits", PLAIN, "quick")


def record_of(template, cell, seed, best, last):
    """A record of one trial of `cell` with these accuracies in percent."""
    e = cell.trial(seed)
    curve = Curve()
    for step, accuracy in ((0, 10.0), (e.steps // 2, best), (e.all_steps, last)):
        curve.add(step, accuracy=accuracy / 100)
    return replace(template, experiment=e, curve=curve)


def table(template, duel, ours, *rivals):
    """Records of a duel from (best, last) of each trial."""
    sides = zip((duel.ours, *duel.rivals), (ours, *rivals), strict=True)
    return Recorded(
        [record_of(template, cell, seed, *pair) for cell, trials in sides for seed, pair in enumerate(trials)]
    )


def test_the_lead_is_over_the_best_rival_and_pairs_trials(template, panel):
    duel = panel.entries[0][0]
    assert [cell.row for cell in duel.rivals] == ["baseline", "proportion", "random"]
    ours, plain, weak = [(60, 50), (90, 80)], [(70, 46), (95, 77)], [(40, 30), (40, 30)]
    recorded = table(template, duel, ours, plain, weak, weak)
    last, best = (outcome(duel, recorded, measure) for measure in MEASURES)
    assert last.rival.cell.row == "baseline"
    assert last.lead == pytest.approx(interval([4.0, 3.0]))
    assert best.lead == pytest.approx(interval([-10.0, -5.0]))


def test_no_trial_picks_its_own_rival(template, panel):
    duel = panel.entries[0][0]
    lucky = [(90, 90), (60, 60), (60, 60)]  # best by its mean, and by the mean of any two trials that hold the first
    steady = [(65, 65), (65, 65), (65, 65)]
    recorded = table(template, duel, [(70, 70)] * 3, lucky, steady, [(10, 10)] * 3)
    found = outcome(duel, recorded)
    assert found.lead == pytest.approx(interval([70 - 65, 70 - 60, 70 - 60]))
    assert found.rival.cell == duel.rivals[0]


def test_the_best_rival_depends_on_the_measure(template, panel):
    duel = panel.entries[0][0]
    recorded = table(template, duel, [(80, 80)], [(90, 50)], [(70, 70)], [(10, 10)])
    assert outcome(duel, recorded, "last").rival.cell.row == "proportion"
    assert outcome(duel, recorded, "best").rival.cell.row == "baseline"


def test_trials_that_a_rival_lacks_do_not_count(template, panel):
    duel = panel.entries[0][0]
    recorded = table(template, duel, [(50, 50), (90, 90)], [(40, 40)], [(30, 30), (30, 30)], [(20, 20), (20, 20)])
    assert outcome(duel, recorded).lead.trials == 1
    assert outcome(duel, recorded).lead.mean == pytest.approx(10)
    unfinished = table(template, duel, [(50, 50)], [(40, 40)], [(30, 30)], [])
    assert outcome(duel, unfinished) is None


@pytest.mark.parametrize("make", PANELS)
@pytest.mark.parametrize("rivals", RIVALS)
def test_every_duel_has_one_schedule_and_one_data_set(make, rivals):
    panel = make("mnist", rivals)
    assert any(duel.rivals for duel in panel.flat)
    assert all(len(row) == len(panel.columns) for row in panel.entries)
    assert len(panel.rows) == len(panel.entries)
    for duel in panel.flat:
        ours = duel.ours.experiment
        for rival in (cell.experiment for cell in duel.rivals):
            assert (rival.steps, rival.lr_drops, rival.data) == (ours.steps, ours.lr_drops, ours.data)
            assert rival.biases == ours.biases
            assert (rival.fine_tune_steps > 0) == (rivals == TUNED)


def test_the_shorter_schedule_of_the_tables_is_no_rival(panel):
    rows = {cell.row for duel in panel.flat for cell in duel.rivals}
    assert rows == set(RIVALS[PLAIN])


def test_plain_training_beside_clean_sets_is_read_from_the_tuned_run(template):
    duel = background_by_clean("mnist").entries[0][0]
    tuned = background_by_clean("mnist", TUNED).entries[0][0].rivals[0]
    ours = record_of(template, duel.ours, 0, 80, 80)
    run = record_of(template, tuned, 0, 95, 90)
    middle = replace(run.curve, step=[0, run.experiment.steps, run.experiment.all_steps])
    recorded = Recorded([ours, replace(run, curve=middle)])
    assert outcome(duel, recorded, "last").lead.mean == pytest.approx(80 - 95)


def test_early_drops_are_a_third_of_the_long_runs():
    uniform_long, uniform_early, *_ = by_schedule("mnist").flat
    assert uniform_long.ours.experiment.steps == 3 * uniform_early.ours.experiment.steps
    assert {cell.row for cell in uniform_early.rivals} == {"baseline"}


def test_a_change_reaches_every_cell():
    def change(cell):
        return replace(cell, experiment=cell.experiment.with_(model="mlp"))

    duels = noise_and_imbalance("digits", PLAIN, "quick", change).flat
    assert {cell.experiment.model for duel in duels for cell in (duel.ours, *duel.rivals)} == {"mlp"}


def test_the_map_tells_who_leads_and_what_was_not_run(template, panel):
    first, second, *_ = panel.flat
    recorded = [
        record_of(template, cell, 0, accuracy, accuracy)
        for duel, ours in ((first, 50), (second, 75))
        for cell, accuracy in ((duel.ours, ours), *((rival, 60) for rival in duel.rivals))
    ]
    drawn = panel.of(lambda duel: outcome(duel, Recorded(recorded)))
    drawing = lead_map([drawn])
    known = [o for o in drawn.flat if o]
    assert [o.lead.mean for o in known if o.duel is first] == pytest.approx([-10])
    assert f"{len(known)} of {len(panel.flat)} cells have been run" in drawing.alt
    assert f"Least: −10.0 points at {first.place}. Most: +15.0 at {second.place}." in drawing.alt
    assert drawing.svg.count(">not run<") == len(panel.flat) - len(known) + 1  # one of them in the legend
    assert ">−10.0<" in drawing.svg
    assert ">+15.0<" in drawing.svg
    assert colour_of(-10) in drawing.svg
    assert colour_of(15) in drawing.svg


def test_a_lead_is_bold_and_counted_where_its_interval_leaves_out_zero(template, panel):
    leads = [(12.0, 13.0), (2.0, 30.0), (-9.0, -9.5)]
    recorded = [
        record_of(template, cell, seed, accuracy, accuracy)
        for duel, pair in zip(panel.flat, leads, strict=False)
        for seed, lead in enumerate(pair)
        for cell, accuracy in ((duel.ours, 60 + lead), *((rival, 60) for rival in duel.rivals))
    ]
    duels = panel.flat[: len(leads)]
    drawn = panel.of(lambda duel: outcome(duel, Recorded(recorded)) if duel in duels else None)
    drawing = lead_map([drawn])
    assert "By more than the interval, in bold: L2RW in 1, its best rival in 1." in drawing.alt
    written = re.findall(r"<text([^>]*)>([+−][\d.]+)<", drawing.svg)
    bold = sorted(number for style, number in written if "font-weight:700" in style)
    assert len(written) == len(leads)
    assert bold == ["+12.5", "−9.2"]


def test_a_map_fits_the_column_of_a_phone():
    panels = [
        panel("mnist").of(lambda duel: outcome(duel, Recorded([]))) for panel in (noise_and_imbalance, by_schedule)
    ]
    least = re.search(r"min-width:(\d+)px", lead_map(panels).svg)
    assert int(least[1]) <= 358


def test_an_empty_map_says_so():
    panel = background_by_noise("mnist").of(lambda duel: outcome(duel, Recorded([])))
    assert lead_map([panel]).alt == f"None of the {len(panel.flat)} cells has been run yet."


def test_losses_are_as_strong_as_gains():
    for size, name in zip((1, 3, 7, 30), range(4), strict=True):
        assert (colour_of(size), colour_of(-size)) == (maps.AHEAD[name], maps.BEHIND[name])
    assert colour_of(0.4) == colour_of(-0.4) == maps.EVEN


def test_extremes_are_not_told_twice(template, panel):
    duel = panel.entries[0][0]
    recorded = table(template, duel, [(50, 50)], [(40, 40)], [(30, 30)], [(20, 20)])
    found = outcome(duel, recorded)
    other = replace(found, lead=interval([1.0]), ours=replace(found.ours, records=()))
    assert extremes([found, found, other], each=1) == [other, found]
    assert "Least" not in describe([Panel("", "", "", ("",), ("",), ((found,),))])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: noise_and_imbalance("cifar10"), "no data set 'cifar10'; choose one of fashion_mnist, mnist"),
        (lambda: background_by_noise("mnist", "everybody"), "unknown rivals 'everybody'"),
        (lambda: background_by_clean("mnist", "everybody"), "unknown rivals 'everybody'"),
        (lambda: outcome(by_schedule("mnist").flat[0], Recorded([]), "worst"), "unknown measure 'worst'"),
    ],
)
def test_what_there_is_none_of_is_an_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_with_the_papers_network_reweighting_meets_one_row_where_the_long_runs_have_reweighting():
    for row, title in (("baseline", "plain training"), ("baseline+ft", "plain training + fine-tuning")):
        panel = with_the_papers_network(row)
        assert panel.title == f"against {title}"
        assert panel.columns == ("0%", "40%", "50%")
        for rate, duel in zip((0.0, 0.4, 0.5), panel.flat, strict=True):
            assert [rival.row for rival in duel.rivals] == [row]
            for cell in (duel.ours, *duel.rivals):
                e = cell.experiment
                assert (e.scale, e.data, e.model, e.clean_size) == ("quarter", "cifar10", "resnet32", 100)
                assert cell.place["noise"] == rate
    with pytest.raises(ValueError, match="unknown row 'proportion'; choose one of baseline"):
        with_the_papers_network("proportion")


def test_a_number_has_a_decimal_where_its_cell_is_wide_enough(template):
    for make, words in ((background_by_noise, "+30.0"), (background_by_clean, "+30")):
        drawn = make("mnist")
        duel = drawn.flat[0]
        recorded = Recorded(
            record_of(template, cell, seed, accuracy, accuracy)
            for seed in (0, 1)
            for cell, accuracy in ((duel.ours, 90), *((rival, 60) for rival in duel.rivals))
        )
        assert f">{words}<" in lead_map([drawn.of(lambda duel, known=recorded: outcome(duel, known))]).svg
