"""How docstrings become the API reference."""

import inspect
from dataclasses import dataclass, field

import pytest
from api_reference import as_code, bare, parameters, read_docstring, shorten_signature

from l2rw_core.methods import Focal, Method


@dataclass
class Result:
    """What came out."""

    loss: float
    curve: list[float] = field(default_factory=list)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("the ids of `batch`, see `Step`", "the ids of ``batch``, see `Step`"),
        ("``batch`` stays", "``batch`` stays"),
        ("a `link <batch>`_ and `batch`_", "a `link <batch>`_ and `batch`_"),
    ],
)
def test_a_parameter_is_code_and_other_names_may_be_links(line: str, said: str) -> None:
    assert as_code(line, {"batch"}) == said


def test_what_has_no_signature_has_no_parameters() -> None:
    assert parameters(as_code) == {"line", "names"}
    assert parameters(7) == set()


def test_a_method_of_the_registry_says_its_name_and_hides_the_constructor_that_all_share() -> None:
    lines = ["Focal loss."]
    read_docstring(None, "class", "l2rw_core.methods.Focal", Focal, None, lines)
    assert [line for line in lines if line] == ["Focal loss.", "Name: ``'focal'``."]
    assert shorten_signature(None, "class", "Focal", Focal, None, "(model)", None) == ("", None)
    assert shorten_signature(None, "class", "Method", Method, None, "(model)", None) == ("(model)", None)


def test_fields_have_their_types_where_they_are_described() -> None:
    assert shorten_signature(None, "class", "Result", Result, None, "(loss: float)", None) == (
        "(loss, curve=...)",
        None,
    )
    a_result = Result(1.0)
    assert shorten_signature(None, "data", "BEST", a_result, None, None, None) == (None, None)


def test_a_field_is_not_cut_at_its_first_colon() -> None:
    lines = ["(n,) weights: they sum to 1."]
    read_docstring(None, "attribute", "Step.weights", None, None, lines)
    assert lines == ["(n,) weights: they sum to 1."]


def test_a_default_without_a_notation_is_an_ellipsis() -> None:
    def step(rate=0.1, weigh=as_code):
        pass

    assert [bare(p) for p in inspect.signature(step).parameters.values()] == ["rate=0.1", "weigh=..."]
