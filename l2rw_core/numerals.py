"""Numbers as a reader sees them: a true minus sign, none before zero, and powers of ten in place of an e."""

from __future__ import annotations

import re

MINUS = "\N{MINUS SIGN}"
"""As wide as a plus, and never the end of a line, as a hyphen may be."""

_ALONE = r"(?<![\w.)\]-])"
_POWER = re.compile(rf"{_ALONE}(-?\d+(?:\.\d+)?)e([+-]\d+)\b")
_OF_ZERO = re.compile(rf"{_ALONE}[+-](?=0(?:\.0+)?(?![\d.,]*\d))")
_SIGN = re.compile(rf"{_ALONE}-(?=\.?\d)")
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float, form: str = ".3g") -> str:
    """A number by a format specification, typeset: ``number(-0.381, ".2f")`` is "−0.38", ``number(0, ".0e")`` is "0".

    Args:
        value: any number.
        form: what stands after the colon in an f-string.
    """
    return typeset(f"{value:{form}}")


def typeset(text: str) -> str:
    """The numbers of a text typeset: hyphens that are signs become minus signs, zero has no sign, 2e-16 is 2 × 10⁻¹⁶.

    Hyphens inside of words, ranges, dates and options of commands stay.
    """
    return _SIGN.sub(MINUS, _OF_ZERO.sub("", _POWER.sub(_power, text)))


def _power(match: re.Match[str]) -> str:
    digits, exponent = match[1], int(match[2])
    if float(digits) == 0 or exponent == 0:
        return digits.removeprefix("-") if float(digits) == 0 else digits
    power = f"10{str(exponent).translate(_RAISED)}"
    return {"1": power, "-1": f"-{power}"}.get(digits, f"{digits} × {power}")
