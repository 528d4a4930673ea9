"""Predict, then look: what is refused, what a page holds, and the arithmetic of the comparison under node."""

import json
import math
import re
from pathlib import Path

import pytest
from in_node import in_node

from l2rw_core import interactive
from l2rw_core.interactive import predict
from l2rw_core.interactive.predict import MAX_POINTS

SCRIPT = Path(interactive.__file__).with_name("predict.js")
WORDS = {"question": "How far?", "xlabel": "step", "ylabel": "error", "ylim": (0, 50), "unit": "%"}


def board(**changes):
    given = {"x": [1, 2, 4, 8], "y": [40.0, 30.0, 20.0, 10.0], **WORDS, **changes}
    return predict(given.pop("x"), given.pop("y"), **given)


def data_of(prediction) -> dict:
    found = re.search(r'<script type="application/json">(.*?)</script>', prediction.html, re.S)
    return json.loads(found[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": [1, 2], "y": [1, 2]}, "3 to 12 points"),
        ({"x": range(MAX_POINTS + 1), "y": [1] * (MAX_POINTS + 1)}, "3 to 12 points"),
        ({"y": [1.0, 2.0]}, "one length"),
        ({"half_width": [1.0]}, "one length"),
        ({"y": [1.0, math.nan, 2.0, 3.0]}, "finite"),
        ({"x": [1, 2, 2, 3]}, "must increase"),
        ({"x": [0, 1, 2, 3], "log": True}, "above 0"),
        ({"words": ["a", "a", "b", "c"]}, "read the same"),
        ({"half_width": [-1.0, 0.0, 0.0, 0.0]}, "not be negative"),
        ({"ylim": (50, 0)}, "lower one first"),
        ({"ylim": (0, 35)}, "lies outside"),
        ({"known": 3}, "known must be from 0 to 2"),
        ({"question": " "}, "needs a question"),
        ({"ylabel": ""}, "needs a ylabel"),
    ],
)
def test_what_cannot_be_guessed_at_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        board(**changes)


def test_the_page_holds_the_record_its_fold_and_its_ids():
    shown = board(half_width=[1.0, math.nan, 2.0, 3.0], records=["a1", "b2"], lesson="It falls.", source="Made up.")
    data = data_of(shown)
    assert data["y"] == [40, 30, 20, 10]
    assert data["half"] == [1, None, 2, 3]
    assert 'data-records="a1 b2"' in shown.html
    fold = shown.html[shown.html.index("<details>") :]
    assert "40.0% at 1, 30.0% at 2, 20.0% at 4, 10.0% at 8" in shown.drawing.alt
    assert "It falls. Made up." in fold
    assert "<svg" in fold


def test_a_logarithmic_axis_spaces_doublings_evenly():
    assert data_of(board(log=True))["x"] == pytest.approx([0, 1 / 3, 2 / 3, 1], abs=1e-5)
    assert data_of(board())["x"] == pytest.approx([0, 1 / 7, 3 / 7, 1], abs=1e-5)


def test_what_is_given_cannot_end_the_data_early():
    shown = board(question="a </script> b <i>c</i>", lesson="x </script> y")
    assert data_of(shown)["lesson"] == "x </script> y"
    assert "a &lt;/script&gt; b" in shown.html


@pytest.fixture(scope="module")
def node():
    return in_node(SCRIPT, "p")


def test_the_error_of_a_guess_is_the_mean_distance_over_guessed_places(node):
    data = data_of(board(known=1, half_width=[0.0, 0.5, 3.0, 0.0]))
    found = node("p.compare(data, guess)", data=data, guess=[40, 36, 22, None])
    assert found == {"guessed": [1, 2], "error": 4, "above": [1], "below": [], "close": [2]}


def test_the_sentence_says_where_and_by_how_much(node):
    data = data_of(board(known=1, lesson="It halves."))
    told = node("p.sentence(data, guess)", data=data, guess=[40, 45, 10, 10])
    assert told == (
        "Your guess is 8.3 percentage points off on average: too high at 2; too low at 4; close at 8. It halves."
    )
    assert node("p.sentence(data, guess)", data=data, guess=[40, None, None, None]) == "You made no guess. It halves."
    some = node("p.sentence(data, guess)", data=data, guess=[40, 45, None, None])
    assert "too high everywhere. You guessed at 1 of 3 points." in some


def test_a_stroke_sets_the_points_that_it_crosses(node):
    found = node("p.strokePoints(places, [0.2, 0], [0.8, 60])", places=[0, 0.25, 0.5, 0.75, 1])
    assert [k for k, _ in found] == [1, 2, 3]
    assert [height for _, height in found] == pytest.approx([5, 30, 60])


def test_keys_move_in_fiftieths_and_stop_at_the_ends(node):
    expression = "keys.map((key) => p.afterKey(key, 25, [0, 50]))"
    keys = ["ArrowUp", "ArrowDown", "PageUp", "Home", "End", "a", "toString"]
    assert node(expression, keys=keys) == [26, 24, 30, 0, 50, None, None]
    assert node("p.afterKey('PageUp', 49, [0, 50])") == 50
