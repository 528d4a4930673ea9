"""What the name of a row says."""

import pytest

from l2rw_core import methods
from l2rw_core.experiments import SCALES, Row, grid, grid_names
from l2rw_core.experiments.paper import grid_scales


def test_a_name_is_a_method_and_its_stages():
    row = Row.from_name("s-model+conf+es+ft")
    assert row == Row("s-model", ("conf", "es", "ft"))
    assert row.registered == "s_model_conf"
    assert Row.from_name("mentornet").registered == "mentornet_pd"
    assert Row.from_name("baseline+held-out").registered == "baseline"


@pytest.mark.parametrize("scale", SCALES)
def test_every_row_of_every_grid_comes_back_from_its_name_and_has_a_method(scale):
    names = {cell.row for name in grid_names() if scale in grid_scales(name) for cell in grid(name, scale).cells}
    assert names
    for name in names:
        assert str(Row.from_name(name)) == name
        assert Row.from_name(name).registered in methods.METHODS


@pytest.mark.parametrize(
    ("name", "uses", "sees"),
    [
        ("baseline", False, "no"),
        ("random", False, "no"),
        ("mentornet", False, "no"),
        ("baseline+es", False, "no"),
        ("baseline+ft", True, "yes"),
        ("clean-only", True, "yes"),
        ("l2rw", True, "yes"),
        ("weighted", False, "all of them"),
        ("weighted+ft", True, "all of them"),
    ],
)
def test_who_sees_clean_labels(name, uses, sees):
    assert (Row.from_name(name).uses_clean, Row.from_name(name).sees_clean) == (uses, sees)
