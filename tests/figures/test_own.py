"""A reader's own run beside the recorded ones."""

from dataclasses import replace

import pytest

from l2rw_core.experiments import Curve, Record, Recorded, cell_of, grid
from l2rw_core.figures.own import FEWEST, NOT_ON_RECORD, beside_the_record, own_run

CELL = next(
    c for c in grid("quick", "quick").cells if (c.row, c.column) == ("l2rw", (("data", "digits"), ("like", "table1")))
)
AS_IN_THE_CHAPTER = next(c for c in grid("table1", "quick").cells if c.row == "l2rw").experiment


def trial(accuracy, seed=0, experiment=CELL.experiment, data="abc"):
    """A record of a run that ended at this accuracy, in percent."""
    curve = Curve()
    curve.add(0, accuracy=0.1)
    curve.add(experiment.steps, accuracy=accuracy / 100)
    return Record(
        experiment=replace(experiment, seed=seed),
        data_checksum=data,
        train_counts=[],
        realised_noise=0.4,
        curve=curve,
        accuracy_by_class=[],
        started="2026-01-01T00:00:00Z",
        duration=1.0,
        environment={},
    )


def on_record(*accuracies, first=1, **more):
    return Recorded(trial(a, seed, **more) for seed, a in enumerate(accuracies, first))


def test_the_run_of_a_chapter_finds_the_trials_of_the_same_configuration():
    live = trial(85, 0, AS_IN_THE_CHAPTER)
    own = own_run(live, on_record(80.0, 82.0, 84.0))
    assert own.range.mean == pytest.approx(82)
    assert own.range.half_width == pytest.approx(4.3027 * 2 * (4 / 3) ** 0.5, rel=1e-4)
    assert own.verdict == "inside"


@pytest.mark.parametrize(("accuracy", "verdict"), [(91.9, "inside"), (92.0, "outside"), (72.0, "outside")])
def test_the_verdict_turns_at_the_limits(accuracy, verdict):
    own = own_run(trial(accuracy, 0, AS_IN_THE_CHAPTER), on_record(80.0, 82.0, 84.0))
    assert own.limits == pytest.approx((82 - 9.936, 82 + 9.936), abs=1e-2)
    assert own.verdict == verdict


def test_errors_are_judged_as_accuracies_are():
    own = own_run(trial(91.9, 0, AS_IN_THE_CHAPTER), on_record(80.0, 82.0, 84.0), "error")
    assert own.value == pytest.approx(8.1)
    assert own.range.mean == pytest.approx(18)
    assert own.verdict == "inside"


def test_a_trial_does_not_vouch_for_itself():
    recorded = on_record(99.0, 80.0, 82.0, 84.0, first=0)
    own = own_run(trial(99.0, 0, AS_IN_THE_CHAPTER), recorded)
    assert own.range.mean == pytest.approx(82)
    assert own.twin.last.mean == pytest.approx(99)
    assert own.verdict == "outside"


@pytest.mark.parametrize(
    "live",
    [
        trial(82, 0, AS_IN_THE_CHAPTER.with_(steps=300, lr_drops=())),
        trial(82, 0, AS_IN_THE_CHAPTER.with_(clean_size=20)),
        trial(82, 0, AS_IN_THE_CHAPTER, data="other images"),
    ],
    ids=["steps", "clean set", "data"],
)
def test_another_configuration_is_not_on_record(live):
    assert own_run(live, on_record(80.0, 82.0, 84.0)).verdict == NOT_ON_RECORD


def test_too_few_trials_say_nothing():
    live = trial(82, 0, AS_IN_THE_CHAPTER)
    assert own_run(live, on_record(*[82.0] * (FEWEST - 1))).verdict == NOT_ON_RECORD
    assert own_run(live, on_record(*[82.0] * FEWEST)).verdict == "inside", "a range without width holds its own value"


def test_a_range_ends_where_percentages_do():
    own = own_run(trial(99, 0, AS_IN_THE_CHAPTER), on_record(90.0, 99.0, 100.0))
    assert own.range.high > 100
    assert own.limits[1] == 100


def test_the_table_says_it_in_words_too():
    runs = {
        "reweighting": trial(82, 0, AS_IN_THE_CHAPTER),
        "again": trial(60, 0, AS_IN_THE_CHAPTER),
        "mine": trial(82, 0, AS_IN_THE_CHAPTER.with_(clean_size=20)),
    }
    table = beside_the_record(runs, recorded=on_record(80.0, 82.0, 84.0))
    assert [row[0] for row in table.rows] == list(runs)
    assert [row[4] for row in table.rows] == ["inside", "outside", ""]
    assert table.rows[0][3] == "72.1 to 91.9%"
    assert "Inside the range for one more trial: reweighting." in table.caption
    assert "by chance: again." in table.caption
    assert "No record of this configuration on these data: mine." in table.caption


def test_a_kind_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="unknown kind of number 'loss'"):
        beside_the_record({}, "loss", Recorded([]))


@pytest.mark.parametrize("profile", ["quick", "reduced"])
@pytest.mark.parametrize("name", ["table1", "table2"])
def test_every_profile_of_a_chapter_has_a_cell(name, profile):
    rows = ("baseline", "random", "l2rw")
    for cell in (c for c in grid(name, profile).cells if c.row in rows):
        assert cell_of(cell.trial(3)).experiment.with_(name=name) == cell.experiment


def test_a_cell_is_found_for_any_seed():
    for name in ("table1", "table2"):
        (cell, *_) = grid(name, "quick").cells
        assert cell_of(cell.trial(5_000_000)).row == cell.row
