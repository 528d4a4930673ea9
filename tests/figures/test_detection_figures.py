"""Numbers, charts and galleries of suspect labels say what the records say."""

import base64
import io
import re
import shlex
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from l2rw_core import cli
from l2rw_core.datasets import Source, load
from l2rw_core.experiments import CellResult, Interval, detect, grid
from l2rw_core.figures import detection
from l2rw_core.figures.detection import (
    SCORE_NAMES,
    DetectionNumber,
    _left_end,
    detection_values,
    found_curves,
    gallery,
    score_chart,
)

DIGITS = load("digits")
CELL = next(c for c in grid("detection", "quick").cells if (c.row, c.place["flip"]) == ("l2rw", "background"))


@pytest.fixture(scope="module")
def result():
    runs = (CELL.trial(seed).with_(steps=40, evaluate_every=20) for seed in (0, 1))
    return CellResult(CELL, tuple(detect(run, DIGITS, progress=False) for run in runs))


@pytest.mark.parametrize(("what", "scale", "digits"), [("auc", 1, 3), ("within", 1, 3), ("first", 100, 1)])
def test_a_number_is_the_mean_over_trials_and_names_each(result, what, scale, digits):
    number = DetectionNumber(result, what, score="weight")
    values = [scale * r.detection[what]["weight"] for r in result.records]
    assert values[0] != values[1]
    assert number.value.mean == pytest.approx(np.mean(values))
    low, high = sorted(values)
    apart = 12.706 * (high - low) / 2 > scale / 10  # the half width of two trials
    words = f"{low:.{digits}f} to {high:.{digits}f}" if apart else f"{np.mean(values):.{digits}f} ±"
    assert f">{words}" in number.html
    for record, value in zip(result.records, values, strict=True):
        assert f"seed {record.experiment.seed}: {value:.{2 if what == 'first' else 4}f} ({record.id})" in number.html
    assert "by weight" in number.html
    assert "data/results/detection.jsonl" in number.html


def test_areas_so_far_apart_that_an_interval_says_nothing_are_a_range(result):
    far_apart = tuple(
        replace(record, detection=record.detection | {"auc": record.detection["auc"] | {"weight": area}})
        for record, area in zip(result.records, (0.5, 0.75), strict=True)
    )
    number = DetectionNumber(CellResult(CELL, far_apart), score="weight")
    assert number.value.half_width > 1
    assert ">0.500 to 0.750<" in number.html


def test_what_the_given_label_alone_can_do_is_a_score_too(result):
    mean = np.mean([r.detection["label_alone"] for r in result.records])
    assert DetectionNumber(result, score="label_alone").value.mean == pytest.approx(mean)


def test_every_score_on_record_has_a_name(result):
    assert set(detection_values(result)) <= set(SCORE_NAMES)


@pytest.mark.parametrize(
    ("options", "message"), [({"what": "last"}, "choose one of auc, within, first"), ({"score": "luck"}, "no score")]
)
def test_unknown_measures_and_scores_list_the_known(result, options, message):
    with pytest.raises(ValueError, match=message):
        DetectionNumber(result, **options)


def test_the_command_names_exactly_this_cell(result, monkeypatch):
    ran = []
    monkeypatch.setattr(cli.Reproduce, "__call__", lambda self: ran.append(self))
    for scale in ("quick", "reduced"):
        for cell in grid("detection", scale).cells:
            line = DetectionNumber(CellResult(cell, result.records)).html
            (command,) = re.findall(r"<span>(l2rw reproduce [^<]*)</span>", line)
            cli.main(shlex.split(command)[1:])
            assert ran[-1]._cells() == [cell]


def test_the_chart_names_best_and_worst_and_what_was_not_run():
    values = {"loss": Interval(0.6, 0.1, 3), "weight": Interval(0.9, float("nan"), 1)}
    drawing = score_chart({"one": values, "two": {}}, {"loss": "baseline", "weight": "l2rw"})
    assert "One: best weight with 0.90, worst loss with 0.60." in drawing.alt
    assert "Two: not run." in drawing.caption


@pytest.mark.parametrize(
    ("areas", "own", "left"),
    [([0.9, 0.6], {}, 0.45), ([0.3, 0.9], {}, 0.27), ([0.9], {"one": {"loss": 0.2}}, 0.17), ([], {}, 0.45)],
)
def test_the_axis_of_areas_begins_where_the_lowest_is_seen(areas, own, left):
    groups = {"one": {str(k): Interval(area, float("nan"), 1) for k, area in enumerate(areas)}}
    assert _left_end(groups, own) == pytest.approx(left)


def suspects_of(source, count):
    """Every third label is right."""
    true = source.y_train[:count]
    return [[k, int(t if k % 3 == 0 else (t + 1) % 10), int(t), 0.1] for k, t in enumerate(true)]


def test_a_gallery_counts_its_finds_and_says_of_each_image_what_it_is():
    drawing = gallery(DIGITS, suspects_of(DIGITS, 7), "Ranked by nothing")
    assert "Ranked by nothing: of the 7 most suspect labels 4 are wrong and 3 are right." in drawing.alt
    assert drawing.svg.count("✓ found") == 4
    assert drawing.svg.count("✗ false alarm") == 3
    ranked = gallery(DIGITS, suspects_of(DIGITS, 7), "Ranked by nothing", "12 look wrong.")
    assert ranked.caption == f"{drawing.caption} 12 look wrong."
    first, second = re.findall(r'role="img" aria-label="([^"]+)"', drawing.svg)[:2]
    assert first == f"image 1, labelled {DIGITS.y_train[0]}, label is right"
    assert second == f"image 2, labelled {(DIGITS.y_train[1] + 1) % 10}, is {DIGITS.y_train[1]}"


def colours():
    rng = np.random.default_rng(0)
    smooth = np.cumsum(rng.integers(0, 4, (30, 8, 8, 3)), axis=1).astype(np.uint8) * 6
    y = np.arange(30) % 2
    return Source("made up", smooth, y, smooth, y, ("<b>", "a & b"))


@pytest.mark.parametrize("source", [DIGITS, colours()], ids=["grey", "colour"])
def test_the_pictures_of_a_gallery_are_those_of_its_suspects(source):
    rows = [[k, int(source.y_train[k]), int(source.y_train[k])] for k in (5, 3, 20)]
    (encoded,) = re.findall(r"base64,([^)]+)\)", gallery(source, rows, "x").svg)
    strip = np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded)))).astype(float)
    expected = np.concatenate([source.x_train[k] for k in (5, 3, 20)], axis=1).squeeze()
    assert strip.shape == expected.shape
    assert np.abs(strip - expected).mean() < 12


def test_names_of_classes_are_shown_not_run():
    text = gallery(colours(), [[0, 1, 0], [1, 0, 1]], "x").svg
    assert "<b>”" not in text
    assert "&lt;b&gt;" in text


@pytest.mark.parametrize(
    ("rows", "message"),
    [([], "no suspect"), ([[0, 1, int(DIGITS.y_train[0] + 1) % 10]], "not of the training set of digits")],
)
def test_suspects_of_other_data_are_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        gallery(DIGITS, rows, "x")


def test_a_score_that_puts_wrong_labels_first_finds_all_before_it_suspects_a_right_one(monkeypatch):
    seen = []
    monkeypatch.setattr(
        detection, "show", lambda fig, alt, caption: seen.append(fig) or detection.Drawing("", alt, caption)
    )
    wrong = np.array([True, True, False, False, False])
    scores = {"best": (np.arange(5.0), "l2rw"), "worst": (-np.arange(5.0), "noisy")}
    drawing = found_curves(scores, wrong, "at last", "Digits.")
    best, worst, chance = seen[0].axes[0].lines
    assert set(best.get_ydata()) == {1.0}
    assert worst.get_ydata()[:-1].tolist() == [0] * 40
    assert list(chance.get_xdata()) == list(chance.get_ydata()) == [0, 1]
    assert drawing.alt == drawing.caption == "Areas under the curve at last: best 1.00, worst 0.00. Digits."
    assert best.get_label() == "best 1.00"
