"""Explore: every position of the sliders shows its own frame, and what cannot be shown is refused before drawing."""

import base64
import io
import itertools
import json
import sys

import numpy as np
import pytest
from bs4 import BeautifulSoup
from matplotlib.image import imread

from l2rw_core.figures import Drawing
from l2rw_core.interactive import explore
from l2rw_core.interactive.explore import MAX_BYTES

AXES = {"noise": [0.0, 0.2, 0.4], "imbalance": [1, 1000], "kind": ["uniform", "background"]}


def draw(**values):
    return Drawing(f"<svg>{values}</svg>", "A made-up picture.", f"Result for {values}.")


def page(shown):
    return BeautifulSoup(shown.html, "html.parser")


def frames(shown):
    """What the script shows at each position, as (picture, caption), in the order of the positions."""
    soup = page(shown)
    data = json.loads(soup.select_one('script[type="application/json"]').string)
    parts = soup.select_one('script[type="text/plain"]').string.split("\n") if len(data["runs"]) > 1 else []
    pictures = [str(soup.figure.svg)]
    for runs in data["runs"][1:]:
        lines = [parts[at : at + count] for at, count in zip(runs[::2], runs[1::2], strict=True)]
        pictures.append("".join(itertools.chain(*lines)))
    return [(pictures[at], words) for at, words in zip(data["pictures"], data["captions"], strict=True)]


def first(shown):
    """What is seen before any script has run."""
    figure = page(shown).figure
    return str(figure.svg), figure.figcaption.get_text()


def words(shown):
    """The words of each control, in order."""
    return [
        json.loads(control.input["data-words"])
        if control.input["type"] == "range"
        else [label.get_text() for label in control.find_all("label")]
        for control in page(shown).select(".l2rw-control")
    ]


def test_every_position_has_its_frame():
    combinations = [dict(zip(AXES, values, strict=True)) for values in itertools.product(*AXES.values())]
    expected = [(f"<svg>{values}</svg>", f"Result for {values}.") for values in combinations]
    assert frames(explore(draw, **AXES)) == expected


def test_a_browser_draws_the_first_frame_alone():
    assert len(page(explore(draw, **AXES)).find_all("svg")) == 1


def test_what_pictures_have_in_common_is_held_once():
    common = '<path d="M0 0"/>' * 2 + '<text x="1">axis</text>'

    def drawn(a):
        return Drawing(f'<svg role="img">{common}<circle r="{a}"/>{common}</svg>', "Alt.", f"Text {a}.")

    shown = explore(drawn, a=[1, 2, 3, 4])
    assert [picture for picture, _ in frames(shown)][1:] == [drawn(a).svg for a in (2, 3, 4)]
    assert shown.html.count("axis") == 2 + 1, "twice in the figure that is seen, and once for all others"


def test_ids_of_pictures_that_are_not_yet_seen_are_left_to_the_page():
    svg = '<svg><defs><path id="f{0:08x}-1"/></defs><use href="#f{0:08x}-1"/><g clip-path="url(#f{0:08x}-1)"/></svg>'
    shown = explore(lambda a: Drawing(svg.format(a), "Alt."), a=[1, 2])
    assert svg.format(1) in shown.html
    assert [picture for picture, _ in frames(shown)][1] == svg.replace("f{0:08x}", "@")


def test_few_values_and_named_cases_are_chosen_and_many_values_slid_through():
    shown = explore(draw, a=[1, 2, 3], b=["w", "x", "y", "z"], c=[1, 2, 3, 4])
    controls = page(shown).select(".l2rw-control")
    assert [control.input["type"] for control in controls] == ["radio", "radio", "range"]
    assert [len(control.select("input")) for control in controls] == [3, 4, 1]
    assert controls[2].input["max"] == "3"


def test_a_value_with_a_picture_is_chosen_by_it():
    pictures = [np.full((2, 3, 3), grey, np.uint8) for grey in (0, 10, 20, 255)]
    shown = explore(draw, a=[1, 2, 3, 4], b=[1, 2], start={"a": 3}, pictures={"a": pictures})
    first_control = page(shown).select(".l2rw-control")[0]
    assert [label.input["type"] for label in first_control.select("label")] == ["radio"] * 4
    assert [image["alt"] for image in first_control.select("img")] == ["1", "2", "3", "4"]
    for image, picture in zip(first_control.select("img"), pictures, strict=True):
        kept = imread(io.BytesIO(base64.b64decode(image["src"].partition(",")[2])))
        np.testing.assert_array_equal(np.round(255 * kept[..., :3]), picture)
    assert [label.input.has_attr("checked") for label in first_control.select("label")] == [False, False, True, False]


def test_there_are_as_many_pictures_as_values():
    with pytest.raises(ValueError, match="axis 'a' has 2 values, and 1 pictures"):
        explore(draw, a=[1, 2], pictures={"a": [np.zeros((2, 2, 3), np.uint8)]})


def test_its_name_in_the_address_is_that_of_its_axes_or_the_one_given():
    assert page(explore(draw, noise=[1, 2], clean_size=[1, 2])).div["data-name"] == "noise-clean-size"
    assert page(explore(draw, noise=[1, 2], name="second")).div["data-name"] == "second"


def test_first_values_are_shown_first():
    assert first(explore(draw, a=[3, 2], b=[1, 2])) == frames(explore(draw, a=[3, 2], b=[1, 2]))[0]


def test_start_is_shown_first():
    shown = explore(draw, a=[1, 2, 3, 4], b=[1, 2], start={"a": 3, "b": 2})
    assert first(shown) == ("<svg>{'a': 3, 'b': 2}</svg>", "Result for {'a': 3, 'b': 2}.")
    slider, buttons = page(shown).select(".l2rw-control")
    assert slider.input["value"] == "2"
    assert slider.strong.get_text() == slider.input["aria-valuetext"] == "3"
    assert [button.has_attr("checked") for button in buttons.select("input")] == [False, True]
    assert frames(shown)[5] == first(shown)


def test_values_are_told_in_words_at_the_control():
    shown = explore(
        draw,
        noise=[0, 0.2, 0.4, 0.6],
        clean_size=[10, 1000],
        labels={"noise": "wrong labels"},
        formats={"noise": "{:.0%}"},
    )
    assert words(shown) == [["0%", "20%", "40%", "60%"], ["10", "1,000"]]
    assert [label.get_text() for label in page(shown).select(".l2rw-label")] == ["wrong labels", "clean size"]
    slider = page(shown).select_one("input[type=range]")
    assert (slider["aria-label"], slider["aria-valuetext"]) == ("wrong labels", "0%")


def test_a_frame_without_a_caption_is_told_by_its_values():
    shown = explore(lambda noise, size: Drawing("<svg></svg>", "Alt."), noise=[0, 0.4], size=[10, 1000])
    assert [caption for _, caption in frames(shown)][-1] == "Noise: 0.4; size: 1,000."


def test_numpy_values_read_like_python_ones():
    assert words(explore(draw, a=np.array([1000, 2000]))) == [["1,000", "2,000"]]
    assert words(explore(draw, a=np.array([0.2, 0.4]))) == [["0.2", "0.4"]]


def test_format_may_be_a_function():
    shown = explore(draw, method=["l2rw", "plain"], formats={"method": {"l2rw": "L2RW", "plain": "no weights"}.get})
    assert words(shown) == [["L2RW", "no weights"]]


@pytest.mark.parametrize("more", [[], [0, 1, 2]])
def test_words_are_escaped(more):
    shown = explore(draw, a=["<b>", "&\"'", *more], labels={"a": "<i>"})
    assert words(shown) == [["<b>", "&\"'", *map(str, more)]]
    assert page(shown).select_one(".l2rw-label").get_text() == "<i>"
    assert page(shown).form.find(["b", "i"]) is None


def test_a_caption_cannot_end_the_script_that_holds_it():
    shown = explore(lambda a: Drawing("<svg></svg>", "Alt.", f"</script><b>{a}"), a=[1, 2])
    assert [caption for _, caption in frames(shown)] == ["</script><b>1", "</script><b>2"]
    assert page(shown).b is None


def test_picture_that_serves_several_positions_is_held_once():
    shown = explore(lambda a: Drawing("<svg>same</svg>", "Alt.", f"Text {a}."), a=[1, 2, 3])
    assert shown.html.count("<svg>same</svg>") == 1
    assert frames(shown) == [("<svg>same</svg>", f"Text {a}.") for a in (1, 2, 3)]


def test_a_notebook_shows_the_same_html_and_a_terminal_a_sentence():
    shown = explore(draw, a=[1, 2])
    assert shown._repr_html_() == shown.html
    assert repr(shown) == "[2 figures; the first: A made-up picture.]"


def test_draws_each_combination_once():
    calls = []

    def counted(a, b):
        calls.append((a, b))
        return draw(a=a, b=b)

    explore(counted, a=[1, 2], b=range(3))
    assert calls == [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)]


def test_no_progress_bar_is_published(capsys):
    assert not sys.stderr.isatty()
    explore(draw, a=[1, 2])
    assert capsys.readouterr() == ("", "")


def must_not_draw(**_):
    raise AssertionError("drew before checking")


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (ValueError, "needs an axis", {}),
        (ValueError, "'a' needs at least two values, and has 1", {"a": [1]}),
        (ValueError, "'a' needs at least two values, and has 0", {"a": []}),
        (TypeError, "'a' must be a list of values, not str", {"a": "xyz"}),
        (TypeError, "'a' must be a list of values, not int", {"a": 3}),
        (ValueError, "'a' has the same value more than once: 1", {"a": [1, 2, 1]}),
        (ValueError, "read the same more than once: '0%'", {"a": [0.001, 0.002], "formats": {"a": "{:.0%}"}}),
        (ValueError, "225 frames are too many", {"a": range(15), "b": range(15)}),
        (ValueError, "start of axis 'a' is 5, which is not among its values", {"a": [1, 2], "start": {"a": 5}}),
        (ValueError, r"start names \['b'\]", {"a": [1, 2], "start": {"b": 1}}),
        (ValueError, r"labels names \['b'\]", {"a": [1, 2], "labels": {"b": "x"}}),
        (ValueError, r"formats names \['b'\]", {"a": [1, 2], "formats": {"b": "x"}}),
        (ValueError, "name must be letters, digits and hyphens.*got 'a b'", {"a": [1, 2], "name": "a b"}),
        (ValueError, "name must be letters.*got 'q'", {"q": [1, 2]}),
    ],
)
def test_refused_before_drawing(error, message, arguments):
    with pytest.raises(error, match=message):
        explore(must_not_draw, **arguments)


def test_draw_must_return_a_drawing():
    with pytest.raises(TypeError, match=r"must return a Drawing.*not str"):
        explore(lambda a: "<svg/>", a=[1, 2])


def test_too_heavy_an_exploration_is_refused():
    with pytest.raises(ValueError, match=rf"2 frames come to {1.1 * MAX_BYTES / 1e6:.1f} MB"):
        explore(lambda a: Drawing(f"<svg>{a}{'x' * (MAX_BYTES * 11 // 20)}</svg>", "Alt."), a=[1, 2])


def test_shared_picture_weighs_once():
    explore(lambda a: Drawing(f"<svg>{'x' * (MAX_BYTES * 11 // 20)}</svg>", "Alt."), a=[1, 2])
