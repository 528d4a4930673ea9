"""The report is computed from the records, and its verdicts follow from its numbers."""

import html
import io
import json
import math
import re
from dataclasses import replace

import pandas as pd
import pytest
from bs4 import BeautifulSoup

from l2rw_core.experiments import (
    CellResult,
    Curve,
    Interval,
    Record,
    grid,
    grid_names,
    load_records,
    reported_numbers,
    results_root,
)
from l2rw_core.report.claims import CLAIMS, Asked, Evidence, verdict_of, verdicts_of
from l2rw_core.report.page import FURTHER, Report, write_reproduction
from l2rw_core.report.reproduction import compare, reproduction

ROOT = results_root().parents[1]
README = (ROOT / "README.md").read_text()


def test_the_committed_report_is_what_the_records_give(tmp_path):
    (tmp_path / "data").mkdir()
    start, _, end = re.split(r"(?<=<!-- what came out -->\n)(.*?)(?=<!-- end of)", README, flags=re.DOTALL)
    (tmp_path / "README.md").write_text(start + end)
    written = write_reproduction(load_records(), tmp_path)
    assert [path.name for path in written] == ["reproduction.csv", "README.md"]
    for path in written:
        kept = ROOT / path.relative_to(tmp_path)
        assert kept.read_text() == path.read_text(), f"{kept.name} is out of date: run `l2rw report`"


def test_every_reported_number_and_every_claim_has_a_line():
    found = reproduction([])
    numbers = found[(found.kind == "number") & (found.scale == "paper") & found.reported.notna()]
    assert len(numbers) == len(reported_numbers()) == len(pd.read_csv(results_root().parent / "reported.csv"))
    assert len(found[found.kind == "claim"]) == sum(len(claim.settings) for claim in CLAIMS)
    assert set(found.verdict) == {"not run"}
    assert found.trials.sum() == 0


def record_of(experiment, accuracy, minute=0):
    """What a run of `experiment` that went from chance to `accuracy` (percent) leaves behind."""
    curve = Curve()
    steps = sorted({0, *experiment.lr_drops, experiment.steps, experiment.all_steps} | after_drops(experiment))
    for step in steps:
        curve.add(step, accuracy=0.1 if step == 0 else accuracy / 100)
    histogram = {"right": [1, 9, 0, 0, 0, 0, 0, 0], "wrong": [8, 2, 0, 0, 0, 0, 0, 0]}
    return Record(
        experiment=experiment,
        data_checksum="",
        train_counts=[],
        realised_noise=0.36,
        curve=curve,
        accuracy_by_class=[],
        started=f"2026-01-01T00:{minute:02}:00Z",
        duration=1.0,
        environment={},
        weight_histograms={"edges": [], "midway": histogram, "late": histogram},
        held_out_weights={"random": histogram, "one_class": {"right": [6, 4], "wrong": [9, 1]}},
    )


def after_drops(experiment):
    return {drop + experiment.evaluate_every for drop in experiment.lr_drops[:1]}


class Made:
    """Records of cells whose trials came to ``accuracy_of(row, place)``, ``apart(row)`` points from each other."""

    def __init__(self, accuracy_of, trials, apart):
        self.accuracy_of, self.seeds, self.apart = accuracy_of, range(trials), apart

    def result(self, cell):
        accuracy = self.accuracy_of(cell.row, cell.place)
        if accuracy is None:
            return None
        step = self.apart(cell.row)
        return CellResult(cell, tuple(record_of(cell.trial(s), accuracy + step * (s - 1)) for s in self.seeds))


def evidence(accuracy_of, scale="reduced", data="fashion_mnist", trials=3, apart=lambda row: 0.1):
    return Evidence(scale, data, Made(accuracy_of, trials, apart))


def claim(start):
    (found,) = [c for c in CLAIMS if c.says.startswith(start)]
    return found


def test_a_claim_needs_every_cell_and_more_than_one_trial():
    best = claim("With background flips L2RW is best")
    high = {"l2rw": 90.0}
    assert best.finding(evidence(lambda row, _: high.get(row, 80.0))).verdict == "agrees"
    assert best.finding(evidence(lambda row, _: None if row == "random" else 80.0)) is None
    assert best.finding(evidence(lambda row, _: 80.0, trials=1)) is None
    beaten = best.finding(evidence(lambda row, _: {"l2rw": 80.0, "weighted+ft": 80.5}.get(row, 70.0)))
    assert beaten.verdict == "disagrees"
    rival = "best of the others weighted (oracle) + fine-tuning 80.5 ± 0.2%"
    assert f"{rival}, a difference of −0.5 ± 0.0 points; " in beaten.text
    assert beaten.text.endswith("of 15 rows ahead of 14, behind 1")
    assert beaten.trials == 3


def test_a_claim_is_undecided_where_trials_differ_by_more_than_the_methods():
    """What counts is the spread of the difference seed by seed: a spread that the methods share takes nothing away."""
    best = claim("With uniform flips L2RW is best")
    two_ahead = {"accuracy_of": lambda row, _: 82.0 if row == "l2rw" else 80.0}
    assert best.finding(evidence(**two_ahead, apart=lambda row: 5.0)).verdict == "agrees"
    alone = best.finding(evidence(**two_ahead, apart=lambda row: 5.0 if row == "random" else 0.1))
    assert alone.verdict == "undecided"
    assert alone.text.endswith("of 9 rows ahead of 8, undecided against 1")


@pytest.mark.parametrize(("behind_by", "verdict"), [(8.0, "undecided"), (15.0, "undecided"), (16.0, "disagrees")])
def test_one_row_of_nine_refutes_a_claim_only_beyond_what_nine_looks_find_by_chance(behind_by, verdict):
    """Three trials two points apart: the half width is 5.0 points, so that one look would take 5 for enough."""
    best = claim("With uniform flips L2RW is best")
    accuracies = {"l2rw": 80.0, "random": 80.0 + behind_by}
    made = evidence(lambda row, at: accuracies.get(row, 60.0), apart=lambda row: 2.0 * (row == "random"))
    assert best.finding(made).verdict == verdict


def test_an_interval_within_a_point_of_zero_is_level():
    """Both limits from both sides, and what comes before level: the interval may lie wholly above, or below."""
    for mean, half_width, verdict in (
        (0.0, 0.99, "level"),
        (0.0, 1.01, "undecided"),
        (0.5, 0.49, "agrees"),
        (0.4, 0.59, "level"),
        (0.4, 0.61, "undecided"),
        (-0.4, 0.59, "level"),
        (-0.4, 0.61, "undecided"),
        (-0.5, 0.49, "disagrees"),
    ):
        assert Asked(Interval(mean, half_width, 3), of_two=True).verdict == verdict
    assert Asked(Interval(0.0, 0.5, 3)).verdict == "undecided"  # a number alone is level with nothing
    assert Asked(Interval(0.0, math.nan, 1), of_two=True).verdict == "undecided"


def test_of_several_verdicts_the_one_that_says_least_for_the_claim_counts():
    agrees, level = Asked(Interval(5.0, 1.0, 3), of_two=True), Asked(Interval(0.0, 0.5, 3), of_two=True)
    undecided, fails = Asked(Interval(0.0, 5.0, 3), of_two=True), Asked(Interval(-5.0, 0.1, 3))
    assert verdict_of([agrees, agrees]) == "agrees"
    assert verdict_of([agrees, level]) == "level"
    assert verdict_of([level, undecided, agrees]) == "undecided"
    assert verdict_of([agrees, undecided, fails, level]) == "disagrees"
    assert verdicts_of([agrees, undecided, fails, level]) == ["agrees", "undecided", "disagrees", "level"]


def test_a_row_that_falls_behind_by_too_little_for_many_looks_can_still_be_level():
    behind = Asked(Interval(-0.5, 0.45, 3), of_two=True)
    assert behind.verdict == "disagrees"
    assert verdicts_of([behind, *[Asked(Interval(5.0, 1.0, 3), of_two=True)] * 5])[0] == "level"


def test_rows_that_are_level_are_counted_apart():
    near = {"random": 80.0, "l2rw": 80.1}
    found = claim("With uniform flips L2RW is best").finding(
        evidence(lambda row, at: near.get(row, 60.0), apart=lambda row: 0.3 * (row == "random"))
    )
    assert found.verdict == "level"
    assert found.text.endswith("of 9 rows ahead of 8, level with 1")


@pytest.mark.parametrize(
    ("start", "scale", "data", "right", "wrong"),
    [
        ("At 200:1 the other", "paper", "mnist", {"l2rw": 97.0}, {"l2rw": 97.0, "resample": 96.9}),
        ("With uniform flips random", "reduced", "mnist", {"random": 91.0}, {"random": 91.0, "mentornet": 92.0}),
        ("With background flips random", "reduced", "mnist", {"random": 63.9}, {"random": 64.1}),
        ("With background flips random", "reduced", "mnist", {"random": 56.1}, {"random": 55.9}),
        ("Under class imbalance random", "paper", "mnist", {"random": 63.9}, {"random": 64.1}),
        ("Under class imbalance random", "paper", "mnist", {"random": 56.1}, {"random": 55.9}),
        ("Early stopping helps", "reduced", "mnist", {"s-model+conf+es": 70.1}, {"s-model+conf+es": 69.9}),
        ("L2RW is above plain training", "reduced", "mnist", {"l2rw": 91.0}, {"l2rw": 91.0, "random": 91.1}),
    ],
)
def test_claims_about_an_order(start, scale, data, right, wrong):
    """Rows that are not named have 60%."""
    for named, expected in ((right, "agrees"), (wrong, "disagrees")):
        made = evidence(lambda row, _, named=named: named.get(row, 60.0), scale, data)
        assert claim(start).finding(made).verdict == expected


@pytest.mark.parametrize(
    ("start", "right", "wrong"),
    [
        ("A handful", lambda row, at: 85 + (at["clean"] >= 100), lambda row, at: 80 + 5 * (at["clean"] >= 100)),
        ("Nothing is gained", lambda row, at: 85, lambda row, at: 85 + 2 * (at["clean"] >= 1000)),
        (
            "With a handful",
            lambda row, at: 85 - (at["clean"] < 100) * (2 if row == "l2rw" else 9),
            lambda row, at: 85 - (at["clean"] < 100) * (2 if row == "l2rw" else 1),
        ),
        ("Near 1,000", lambda row, at: 85, lambda row, at: 85 if row == "l2rw" else 80),
        (
            "From 0 to 50%",
            lambda row, at: 90 - at["noise"] * (12 if row == "l2rw" else 90),
            lambda row, at: 90 - at["noise"] * (12 if row == "l2rw" else 60),
        ),
        ("Without noise", lambda row, at: 89 if row == "l2rw" else 90, lambda row, at: 90 if row == "l2rw" else 89),
        ("Without noise", lambda row, at: 85.1 if row == "l2rw" else 90, lambda row, at: 84.9 if row == "l2rw" else 90),
    ],
)
def test_claims_about_columns(start, right, wrong):
    assert claim(start).finding(evidence(right)).verdict == "agrees"
    assert claim(start).finding(evidence(wrong)).verdict == "disagrees"


@pytest.mark.parametrize(
    ("start", "change", "verdict"),
    [
        ("A handful", 1.5, "agrees"),
        ("A handful", 2.4, "agrees"),
        ("A handful", 3.0, "disagrees"),
        ("A handful", 2.55, "disagrees"),
        ("Nothing is gained", 0.4, "agrees"),
        ("Nothing is gained", 1.0, "disagrees"),
        ("Nothing is gained", 1.8, "disagrees"),
    ],
)
def test_a_change_agrees_below_what_we_allow_and_else_fails_above_what_is_stated(start, change, verdict):
    """We allow a point more than is stated. The change is uncertain by half a point."""
    first = 100 if start == "A handful" else 1000
    made = Uneven(lambda size: 85 + change * (size >= first))
    assert claim(start).finding(Evidence("reduced", "fashion_mnist", made)).verdict == verdict


class Uneven:
    """Records of clean-set sizes whose trials lie a fifth of a point apart at 100 images, and nowhere else."""

    def __init__(self, accuracy_of):
        self.accuracy_of = accuracy_of

    def result(self, cell):
        size, step = cell.place["clean"], 0.2 * (cell.place["clean"] == 100)
        accuracies = [self.accuracy_of(size) + step * (s - 1) for s in range(3)]
        return CellResult(cell, tuple(record_of(cell.trial(s), a) for s, a in enumerate(accuracies)))


def test_claim_about_zero_weights_reads_the_histograms():
    found = claim("Most wrong labels").finding(evidence(lambda row, at: 80.0))
    assert found.verdict == "agrees"
    assert found.text.startswith("weight 0 for 80.0 ± 0.0% of wrong and 10.0 ± 0.0% of right labels")


def test_claims_about_images_never_seen_read_the_held_out_ones():
    made = evidence(lambda row, at: 80.0, "quarter", "cifar10")
    left = claim("Of images that the model has never seen").finding(made)
    assert left.verdict == "agrees"
    assert left.text.endswith("10.0 ± 0.0% of right labels, held-out images at half of the steps")
    right = claim("In batches of one class").finding(evidence(lambda row, at: 80.0, "quarter", "cifar10"))
    assert right.verdict == "disagrees"  # more than half of the right ones get nothing either
    assert right.text.startswith("weight 0 for 90.0 ± 0.0% of wrong and 60.0 ± 0.0% of right labels")


def with_curve(cell_result, accuracy_at):
    """The same trials with an accuracy (percent) at each 50 steps."""
    curve = Curve()
    for step in range(0, 2001, 50):
        curve.add(step, accuracy=accuracy_at(step) / 100)
    return replace(cell_result, records=tuple(replace(record, curve=curve) for record in cell_result.records))


@pytest.mark.parametrize(
    ("baseline", "l2rw", "verdict"),
    [
        (lambda step: 80 - (step > 1200) * 5, lambda step: 80, "agrees"),
        (lambda step: 80, lambda step: 80, "disagrees"),  # plain training stays as it was
        (
            lambda step: 80 - (step > 1200) * 5,
            lambda step: 80 - (step > 1800) * 4,
            "disagrees",
        ),  # L2RW falls
        (lambda step: 80 - (step == 2000) * 5, lambda step: 80, "agrees"),  # one evaluation in four of the last tenth
        (lambda step: 80 - (step == 2000) * 1.9, lambda step: 80, "disagrees"),
    ],
)
def test_what_comes_after_the_drop_is_read_off_tenths_of_the_steps(baseline, l2rw, verdict):
    made = evidence(lambda row, at: 80.0)
    of_cell = made.recorded.result
    made.recorded.result = lambda cell: with_curve(of_cell(cell), l2rw if cell.row == "l2rw" else baseline)
    assert claim("After the first drop").finding(made).verdict == verdict


@pytest.mark.parametrize(("lost", "verdict"), [(0.9, "agrees"), (1.1, "disagrees")])
def test_early_stopping_is_needed_where_the_best_evaluation_lies_a_point_above_the_last(lost, verdict):
    made = evidence(lambda row, at: 80.0)
    of_cell = made.recorded.result
    made.recorded.result = lambda cell: with_curve(of_cell(cell), lambda step: 80 - lost * (step == 2000))
    assert claim("L2RW needs no").finding(made).verdict == verdict


@pytest.mark.parametrize(("ours", "verdict"), [(19, "agrees"), (21, "disagrees")])
def test_the_background_is_cleared_where_less_than_half_of_what_plain_training_takes_for_it_is_left(ours, verdict):
    """Images of the background itself do not count, and a record without a confusion matrix says nothing."""
    made = evidence(lambda row, at: 80.0, trials=4)
    of_cell = made.recorded.result

    def result(cell):
        taken = {"baseline": 40, "l2rw": ours}[cell.row]
        first, *others = of_cell(cell).records
        return CellResult(cell, (first, *(replace(r, confusion=confused(r.experiment, taken)) for r in others)))

    made.recorded.result = result
    found = claim("L2RW clears").finding(made)
    assert found.verdict == verdict
    assert f"L2RW {ours:.1f} ± 0.0%" in found.text


def confused(experiment, taken):
    """Ten classes of 100 test images each, ``taken`` of which are taken for the background, and the rest right."""
    background = experiment.biases[-1].background
    rows = [[(100 - taken) * (j == k) + taken * (j == background) for j in range(10)] for k in range(10)]
    assert sum(rows[background]) == 100
    return rows


@pytest.mark.parametrize(
    ("accuracy", "verdict"), [(91.4, "disagrees"), (91.6, "agrees"), (93.4, "agrees"), (93.6, "disagrees")]
)
def test_the_accuracy_without_noise_is_allowed_a_point_either_way(accuracy, verdict):
    made = evidence(lambda row, at: accuracy, "paper", "cifar10", apart=lambda row: 0.01)
    assert claim("The ResNet-32 has").finding(made).verdict == verdict


def test_what_comes_after_the_drop_asks_for_runs_that_were_evaluated_often():
    fig7 = [cell.experiment for cell in grid("fig7", "reduced").cells]
    assert all(e.steps // 10 >= 4 * e.evaluate_every for e in fig7)
    assert {e.name for e in fig7} == {"fig7"}
    assert all(e.steps // 10 >= 8 * e.evaluate_every for s in ("quarter", "paper") for e in of(s))


def of(scale):
    return [cell.experiment for cell in grid("fig7", scale).cells]


def test_a_number_of_the_paper_fails_only_where_the_interval_leaves_it_out():
    about = claim("At 200:1 L2RW's test error has risen")
    for rise, apart, verdict in (
        (1.8, 0.1, "agrees"),
        (2.6, 0.5, "agrees"),
        (3.9, 0.01, "agrees"),
        (3.9, 0.15, "disagrees"),  # 2 is left out, and 4 may be passed
        (4.5, 0.01, "disagrees"),
        (3.0, 1.0, "undecided"),
    ):
        made = Evidence("paper", "mnist", Rising(rise, 5, apart))
        found = about.finding(made)
        assert found.verdict == verdict
        assert f"from 20:1 the test error rises by +{rise:.1f}" in found.text


class Rising(Made):
    """Trials whose accuracy at 200:1 is below that at other ratios by ``rise`` points, more or less by ``apart``."""

    def __init__(self, rise, trials, apart):
        super().__init__(lambda row, place: 97.0, trials, lambda row: 0.0)
        self.rise, self.by = rise, apart

    def result(self, cell):
        falls = [self.rise + self.by * (s - 2) if cell.place["ratio"] == 200 else 0.0 for s in self.seeds]
        return CellResult(
            cell, tuple(record_of(cell.trial(s), 97.0 - fall) for s, fall in zip(self.seeds, falls, strict=True))
        )


def test_numbers_agree_when_their_intervals_allow_it():
    paper = Interval(86.9, 0.3, 5)
    assert compare(Interval(86.5, 0.4, 5), paper) == "agrees"
    assert compare(Interval(86.3, 0.4, 5), paper) == "disagrees"
    assert compare(Interval(86.7, math.nan, 1), paper) == "undecided"  # one trial has no interval
    assert compare(Interval(86.7, 3.0, 2), paper) == "undecided"  # and one as wide as this would allow anything
    assert compare(Interval(80.0, 3.0, 3), paper) == "disagrees"
    assert compare(Interval(76.0, 1.0, 3), Interval(76.6, math.nan, 5)) == "agrees"  # the paper gave none


@pytest.fixture(scope="module")
def report():
    return Report(load_records())


def test_every_number_of_the_page_stands_in_the_table_it_is_made_from(report):
    page = report.of_paper("table2").html
    rows = pd.read_csv(io.StringIO((ROOT / "data" / "reproduction.csv").read_text()))
    numbers = rows[(rows.kind == "number") & (rows.trials > 0) & (rows["where"] == "table2")]
    assert len(numbers)
    for row in numbers.itertuples():
        assert f'<span class="l2rw-number" data-records="{row.records}">' in page
        best = ' class="l2rw-best"'
        assert any(f'<td data-value="{row.reproduced:.4f}"{mark}>' in page for mark in ("", best))
    ids = {record.id for record in load_records()}
    for records in rows.records.dropna():
        assert set(records.split()) <= ids


def test_the_verdicts_counted_on_the_page_are_those_of_the_table(report):
    claims = pd.read_csv(results_root().parent / "reproduction.csv").query("kind == 'claim'")
    head, *lines = BeautifulSoup(report.verdicts().html, "html.parser").find_all("tr")
    cells = [[cell.get_text() for cell in line.find_all(["th", "td"])] for line in lines]
    columns = [cell.get_text() for cell in head.find_all("th")][1:]
    table = pd.DataFrame([map(int, row[1:]) for row in cells], [row[0] for row in cells], columns)
    assert list(table.columns) == ["agrees", "disagrees", "level", "undecided", "not run"]
    for verdict in table.columns:
        assert table[verdict].sum() == (claims.verdict == verdict).sum()
    at_paper_scale = claims[claims.scale == "paper"]
    assert table.sum(axis=1).to_dict() == {
        "MNIST, paper's scale": (at_paper_scale.data == "mnist").sum(),
        "CIFAR-10 and CIFAR-100, paper's scale": at_paper_scale.data.str.startswith("cifar").sum(),
        "CIFAR-10, a quarter of the paper's schedule": (claims.scale == "quarter").sum(),
        "Fashion-MNIST and MNIST, reduced": (claims.scale == "reduced").sum(),
    }


def test_where_a_run_stands_is_told_in_words(report):
    for name, words in (("fig4", "1,000 clean images"), ("fig5", "30% flips"), ("clean_batch", "m = 20")):
        assert words in BeautifulSoup(report.reduced(name).html, "html.parser").get_text()
    assert re.search(r"\b(clean|noise|imbalance|optimizer) [\d.]+", report.reduced("noise_imbalance").html) is None


def test_every_claim_stands_on_the_page_with_every_finding(report):
    page = html.unescape(report.claims().html)
    for row in report.rows[report.rows.kind == "claim"].itertuples():
        assert f"{row.where}. {row.item}." in page
        assert row.finding in page


def test_the_page_of_the_book_shows_every_grid_that_has_records():
    cells = json.loads((ROOT / "reference" / "reproduction.ipynb").read_text())["cells"]
    shown = set(re.findall(r'report\.(?:reduced|of_paper)\("(\w+)"\)', " ".join("".join(c["source"]) for c in cells)))
    shown |= {"statistics"} & {"".join(c["source"]).removeprefix("report.").removesuffix("()") for c in cells}
    views = {"fig2", "pair_8_2", "fig3", "fig6", "fig7", "detection", "quick", "precision"}
    assert shown | set(FURTHER) == set(grid_names()) - views
    assert not shown & set(FURTHER)


def test_a_further_study_is_a_table_once_it_has_a_record_and_a_command_before(report):
    """With a trial of one cell of one study."""
    cell = next(iter(grid("clean_draw", "reduced").cells))
    record = replace(load_records("table2")[0], experiment=cell.trial(0))
    page = BeautifulSoup(Report([record]).further().html, "html.parser")
    assert [h.get_text() for h in page.find_all("h3")] == [grid("clean_draw", "reduced").question]
    assert len(page.select("tbody tr")) == 1
    commands = [code.get_text() for code in page.select("li code")]
    assert commands == [f"l2rw reproduce {n} --scale reduced --trials 3" for n in FURTHER if n != "clean_draw"]
