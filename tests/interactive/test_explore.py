"""Explore: every position of the sliders shows its own frame, and what cannot be shown is refused before drawing."""

import itertools
import sys

import ipywidgets as widgets
import numpy as np
import pytest

from l2rw_core.figures import Drawing
from l2rw_core.interactive import explore
from l2rw_core.interactive.explore import MAX_BYTES

AXES = {"noise": [0.0, 0.2, 0.4], "imbalance": [1, 1000], "kind": ["uniform", "background"]}


def draw(**values):
    return Drawing(f"<svg>{values}</svg>", "A made-up picture.", f"Result for {values}.")


@pytest.fixture
def links(monkeypatch):
    """The links made, as (slider, stack); `move` plays the part of the page."""
    made = []

    def jsdlink(source, target):
        assert source[1] == "index"
        assert target[1] == "selected_index"
        made.append((source[0], target[0]))

    monkeypatch.setattr(widgets, "jsdlink", jsdlink)
    return made


@pytest.fixture
def without_stack(monkeypatch):
    monkeypatch.delattr(widgets, "Stack")


def move(slider, index, links=()):
    slider.index = index
    for source, stack in links:
        if source is slider:
            stack.selected_index = index


def seen(widget):
    """The widgets that a reader sees: of a stack, only the selected page."""
    yield widget
    children = getattr(widget, "children", ())
    if hasattr(widget, "selected_index"):
        children = [children[widget.selected_index]]
    for child in children:
        yield from seen(child)


def classed(box, name):
    return [widget for widget in seen(box) if name in widget._dom_classes]


def text(box, name):
    (widget,) = classed(box, name)
    return "".join(part.value for part in seen(widget) if isinstance(part, widgets.HTML))


def escaped(values):
    return str(values).replace("'", "&#x27;")


def check_every_position(box, links=()):
    sliders = classed(box, "l2rw-slider")
    for indices in itertools.product(*(range(len(values)) for values in AXES.values())):
        for slider, index in zip(sliders, indices, strict=True):
            move(slider, index, links)
        values = {name: listed[index] for (name, listed), index in zip(AXES.items(), indices, strict=True)}
        frame = text(box, "l2rw-frame")
        assert f"<svg>{values}</svg>" in frame
        assert f"Result for {escaped(values)}." in frame


def test_every_position_shows_its_frame(links):
    check_every_position(explore(draw, **AXES), links)


def test_every_position_shows_its_frame_without_stack(without_stack):
    check_every_position(explore(draw, **AXES))


def test_links_reach_hidden_frames_too(links):
    explore(draw, **AXES)
    # One stack for each slider's words, and for the picture 1 + 3 + 3 * 2 nested ones.
    assert len(links) == 3 + 1 + 3 + 6


def test_links_need_no_kernel():
    explore(draw, a=[1, 2])
    assert widgets.jsdlink is widgets.widget_link.jsdlink


def test_box_carries_the_names_that_pages_style():
    box = explore(draw, **AXES)
    assert "l2rw-explore" in box._dom_classes
    assert len(classed(box, "l2rw-slider")) == 3
    assert len(classed(box, "l2rw-frame")) == 1


def test_its_name_in_the_address_is_that_of_its_axes_or_the_one_given():
    assert "l2rw-at-noise-clean-size" in explore(draw, noise=[1, 2], clean_size=[1, 2])._dom_classes
    assert "l2rw-at-second" in explore(draw, noise=[1, 2], name="second")._dom_classes


def test_first_values_are_shown_first():
    assert str({"a": 3, "b": 1}) in text(explore(draw, a=[3, 2], b=[1, 2]), "l2rw-frame")


@pytest.mark.parametrize("stack", [True, False])
def test_start_is_shown_first(stack, monkeypatch):
    if not stack:
        monkeypatch.delattr(widgets, "Stack")
    box = explore(draw, a=[1, 2, 3], b=[1, 2], start={"a": 3})
    assert str({"a": 3, "b": 1}) in text(box, "l2rw-frame")
    assert [slider.index for slider in classed(box, "l2rw-slider")] == [2, 0]


def test_values_are_told_in_words_beside_the_slider_and_in_the_caption(links):
    box = explore(
        draw, noise=[0, 0.4], clean_size=[10, 1000], labels={"noise": "wrong labels"}, formats={"noise": "{:.0%}"}
    )
    for slider in classed(box, "l2rw-slider"):
        move(slider, 1, links)
    assert "<figcaption" in text(box, "l2rw-frame")
    assert "Wrong labels: 40%; clean size: 1,000. Result for" in text(box, "l2rw-frame")
    words = [
        widget.value for control in classed(box, "l2rw-control") for widget in seen(control) if hasattr(widget, "value")
    ]
    assert any("wrong labels</span>" in word and ">40%<" in word for word in words)
    assert any("clean size</span>" in word and ">1,000<" in word for word in words)


def test_numpy_values_read_like_python_ones():
    assert "A: 1,000." in text(explore(draw, a=np.array([1000, 2000])), "l2rw-frame")
    assert "A: 0.2." in text(explore(draw, a=np.array([0.2, 0.4])), "l2rw-frame")


def test_format_may_be_a_function():
    box = explore(draw, method=["l2rw", "plain"], formats={"method": {"l2rw": "L2RW", "plain": "no weights"}.get})
    assert "Method: L2RW." in text(box, "l2rw-frame")


def test_words_are_escaped():
    box = explore(draw, a=["<b>", "&"], labels={"a": "<i>"})
    words = [widget.value for widget in seen(classed(box, "l2rw-control")[0]) if isinstance(widget, widgets.HTML)]
    assert words == ['<span class="l2rw-label">&lt;i&gt;</span>: <strong class="l2rw-value">&lt;b&gt;</strong>']


def test_picture_that_serves_several_positions_is_held_once(links):
    box = explore(lambda a: Drawing("<svg>same</svg>", "Alt.", f"Text {a}."), a=[1, 2, 3])
    (slider,) = classed(box, "l2rw-slider")
    pictures = set()
    for index in range(3):
        move(slider, index, links)
        frame = text(box, "l2rw-frame")
        assert frame.count("<svg>same</svg>") == 1
        assert f"A: {index + 1}. Text {index + 1}." in frame
        pictures |= {widget.model_id for widget in seen(box) if "<svg>" in getattr(widget, "value", "")}
    assert len(pictures) == 1


def test_parts_share_one_layout():
    box = explore(draw, **AXES)
    parts = [part for part in seen_all(box) if "l2rw-slider" not in part._dom_classes]
    # The other one hides the style sheet.
    assert len({part.layout.model_id for part in parts}) == 2


def seen_all(widget):
    yield widget
    for child in getattr(widget, "children", ()):
        yield from seen_all(child)


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


def test_too_heavy_a_widget_is_refused():
    with pytest.raises(ValueError, match=r"2 frames come to 2\.8 MB"):
        explore(lambda a: Drawing(f"<svg>{a}{'x' * (MAX_BYTES * 11 // 20)}</svg>", "Alt."), a=[1, 2])


def test_shared_picture_weighs_once():
    explore(lambda a: Drawing(f"<svg>{'x' * (MAX_BYTES * 11 // 20)}</svg>", "Alt."), a=[1, 2])
