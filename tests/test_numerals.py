"""Numbers are typeset wherever they stand in a text, and nothing else is."""

import pytest

from l2rw_core.numerals import MINUS, number, typeset


@pytest.mark.parametrize(
    ("value", "form", "shown"),
    [
        (-0.381, ".2f", "−0.38"),
        (-0.04, ".1f", "0.0"),
        (0.04, "+.1f", "0.0"),
        (-0.06, "+.1f", "−0.1"),
        (3.2, "+.1f", "+3.2"),
        (0.0, ".0e", "0"),
        (3.666e-16, ".3g", "3.67 × 10⁻¹⁶"),
        (-1e-12, "g", "−10⁻¹²"),
        (2.5e10, ".1e", "2.5 × 10¹⁰"),
        (-1234.5, ",.1f", "−1,234.5"),
        (-0.004, ".0%", "0%"),
        (-0.001, ".1%", "−0.1%"),
        (float("nan"), ".1f", "nan"),
    ],
)
def test_a_number_has_a_true_minus_and_no_sign_at_zero(value, form, shown):
    assert number(value, form) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a slope of -0.38", "a slope of −0.38"),
        ("between -1 and (-.5)", "between −1 and (−.5)"),
        ("-0.0 ± 1.1", "0.0 ± 1.1"),
        ("-0.05 and -0.50", "−0.05 and −0.50"),
        ("+0.00 points", "0.00 points"),
        ("u=-2, v>-3", "u=−2, v>−3"),
        ("largest deviation 0e+00", "largest deviation 0"),
        ("steps -1,000", "steps −1,000"),
        ("-0,5", "−0,5"),
    ],
)
def test_signs_inside_of_a_sentence(text, shown):
    assert typeset(text) == shown
    assert typeset(shown) == shown


@pytest.mark.parametrize(
    "text", ["ResNet-32", "2018-05-03", "10-12 images", "l2rw --trials 5 -n x", "f(x)-1", "0x1e-5", "WRN-16-4", "3e5"]
)
def test_hyphens_that_are_no_signs_stay(text):
    assert typeset(text) == text
    assert MINUS not in typeset(text)
