"""What the columns of a table are: numbers, truth values, dates, categories, text, or nothing that tells rows apart.

The data decide, by whole columns; the clean set is then read in the same way, however few rows it has.
"""

from __future__ import annotations

import datetime
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import pandas as pd

MOST_CATEGORIES = 50
"""Categories of a column beyond this many, the rarest, are taken together."""
LARGEST_NUMBER = 1e30
"""A larger one marks what is missing, or is a mistake; networks compute in single precision."""

Kind = Literal["number", "truth", "date", "category", "text"]

_MISSING = {"", "na", "n/a", "n.a.", "#n/a", "nan", "-nan", "none", "null", "nil", "<na>", "?", "-", "--", ".", "*"}
_MISSING |= {"#div/0!", "#value!", "#ref!", "#name?", "#num!", "#null!"}
"""What stands for a missing value among numbers, dates and truth values, whatever its case."""
_TRUTH = {"true": 1.0, "t": 1.0, "yes": 1.0, "y": 1.0, "1": 1.0, "1.0": 1.0} | dict.fromkeys(
    ("false", "f", "no", "n", "0", "0.0"), 0.0
)
_TRUTH_PAIRS = ({"true", "false"}, {"t", "f"}, {"yes", "no"}, {"y", "n"})
_ENGLISH = re.compile(r"[+-]?([1-9]\d{0,2}(,\d{3})+|[1-9]\d?(,\d{2})+,\d{3}|\d+)?(\.\d*)?(e[+-]?\d+)?", re.IGNORECASE)
_EUROPEAN = re.compile(r"[+-]?([1-9]\d{0,2}(\.\d{3})+|\d+)?(,\d*)?(e[+-]?\d+)?", re.IGNORECASE)
_UNIT = re.compile(r"(?<=[\d.,])((?:[^\W\d_]{1,5}[²³]?|°[a-z]?|[€$£¥₹₽₩₺₫])(?:/[^\W\d_]{1,5}[²³]?)*|%)$", re.IGNORECASE)
_BEFORE = re.compile(
    r"^[+-]?((?:[^\W\d_]{1,3})?[€$£¥₹₽₩₺₫]|eur|usd|gbp|chf|jpy|cny|inr|aud|cad|sek|nok|dkk|pln|czk|brl)(?=[+-]?[\d.,])",
    re.IGNORECASE,
)
"""A currency in front of a number."""
_LIKE_A_DATE = re.compile(
    r"\d{4}[-/.]\d{1,2}([-/.]\d{1,2}.*)?|\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d{2})\b.*"
    r"|(\w+,? )?(\d{1,2}[ -])?(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*[ ,.-].*\d.*",
    re.IGNORECASE,
)
_LIKE_A_TIME = re.compile(r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?(\s*[ap]\.?m\.?)?", re.IGNORECASE)
_HALF = r"(?i)\s*([ap])\.?m\.?$"
"""Which half of the day a time is in."""
_ZONE = r"(:\d{2}(?:[.,]\d+)?)\s*(?:Z|UTC|UT|GMT|[A-Z]{2,4}T|[+-]\d{2}(?::?\d{2})?)(?:\s*[\[(][\w/+-]+[\])])?$"
"""A time zone after a time of day: after a date alone it would be the year of 01-31-2020."""
_YEAR_FIRST = re.compile(r"(\d{4})[-/.](\d{1,2})(?:[-/.](\d{1,2}))?(?=\D|$)")
_LIKE_AN_ID = re.compile(r"(.*[_\s.-])?(id|ids|idx|index|key|uuid|guid|nr|no)|.*[a-z](Id|ID)|unnamed: 0", re.IGNORECASE)
_NO_SPACES = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]")
_FEW_ROWS = 20
"""In fewer rows nothing is said about values that are all different."""
_NEARLY_ALL = 0.9
"""A column of numbers or dates may hold a few words."""
_SAMPLE = 1000
_FORMS = ("plain", "english", "european")
_DATE_ORDERS = ("year first", "month first", "day first")
_LONG = r"[+-]?\d{16,}"
_USUAL_NUMBERS = tuple(map(np.dtype, ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8")))


@dataclass(frozen=True)
class Column:
    """How one column of a table is read."""

    name: str
    kind: Kind
    how: str = ""
    """Of a number: what its commas mean, and its unit. Of a date: what comes first. Of text: words, or letters without
    spaces."""
    mixed: bool = False
    """Whether a few of the data's numbers are words, which count as missing."""

    def read(self, values: pd.Series, decimal_commas: bool = False) -> pd.Series:
        """The column as numbers, dates or strings, with what is missing as missing.

        Args:
            values: (n,) of the data or of the clean set.
            decimal_commas: whether their file has decimal commas.

        Raises:
            ValueError: if it holds something else than the data do.
        """
        if self.kind in ("category", "text"):
            return _as_text(values)
        if values.isna().all():
            return pd.Series(np.nan, index=values.index, name=values.name, dtype=float)
        if self.kind == "number":
            series = _read_number(values, self.how, decimal_commas)
        else:
            series = (_read_truth if self.kind == "truth" else _read_date)(values, self.how)
        strange = 0 if series is None else series.isna().sum() - values.isna().sum() - _words_for_missing(values)
        if series is None or strange > (len(values) / 2 if self.mixed else 0):
            what = {"number": "numbers", "truth": "truth values", "date": "dates"}[self.kind]
            raise ValueError(
                f"the column {self.name!r} holds {what} in the data and something else in the clean set: write both "
                "alike, or leave the column out with --ignore"
            )
        return series


@dataclass(frozen=True)
class Reading:
    """How a table is read: its feature columns, and what is to be said about them."""

    columns: tuple[Column, ...]
    left_out: dict[str, str]
    """Columns that are no features, with the reason."""
    notes: tuple[str, ...] = ()

    def read(self, frame: pd.DataFrame, decimal_commas: bool = False) -> pd.DataFrame:
        """The feature columns of a table with at least these columns."""
        return pd.DataFrame({c.name: c.read(frame[c.name], decimal_commas) for c in self.columns}, index=frame.index)

    @property
    def text(self) -> tuple[str, ...]:
        """Names of the columns that are text."""
        return tuple(c.name for c in self.columns if c.kind == "text")


def understand(
    frame: pd.DataFrame, text: Iterable[str] = (), keep: Iterable[str] = (), decimal_commas: bool = False
) -> Reading:
    """Decide what each column of a table is.

    Args:
        frame: (N, columns) as read from a file, or as somebody has it.
        text: columns that are text, whatever they look like.
        keep: columns that are features although nearly every row has a value of its own.
        decimal_commas: whether 1,234 is a little more than one, see `has_decimal_commas`.
    """
    columns: list[Column] = []
    left_out: dict[str, str] = {}
    ids: dict[str, Column] = {}
    notes: list[str] = []
    for name in frame.columns:
        column, why, note = _understand(frame[name], name in set(text), name in set(keep), decimal_commas)
        if column is None:
            left_out[name] = why
            continue
        if why:
            ids[name] = column
            left_out[name] = why
        columns.append(column)
        notes += [note] if note else []
    if ids and len(ids) == len(columns):  # a table of nothing but row numbers has them as its features
        left_out = {name: why for name, why in left_out.items() if name not in ids}
    columns = [c for c in columns if c.name not in left_out]
    constant = [c.name for c in columns if c.kind != "text" and _is_constant(frame[c.name])]
    if constant:
        notes.append(f"{_columns(constant)} one value only, which tells nothing apart.")
    by_reason: dict[str, list[str]] = {}
    for name, why in left_out.items():
        by_reason.setdefault(why, []).append(name)
    sentences = [f"Left out: {_names(names)}; {why}." for why, names in by_reason.items()]
    if any(c.kind == "text" for c in columns):
        names = [c.name for c in columns if c.kind == "text"]
        sentences.append(f"Read as text, by its words: {_names(names)}.")
    return Reading(tuple(columns), left_out, (*sentences, *notes))


def _names(names: list[str]) -> str:
    first = ", ".join(map(repr, names[:8]))
    return ("column " if len(names) == 1 else "columns ") + first + (_and_more(len(names) - 8))


def _columns(names: list[str]) -> str:
    text = _names(names)
    return text[0].upper() + text[1:] + (" has" if len(names) == 1 else " have")


def _and_more(rest: int) -> str:
    return f" and {rest} others" if rest > 1 else " and another" if rest == 1 else ""


def _is_constant(values: pd.Series) -> bool:
    first = values.iloc[0]
    return values.notna().all() and not isinstance(first, np.ndarray | list | dict) and bool((values == first).all())


def _understand(values: pd.Series, text: bool, keep: bool, decimal_commas: bool) -> tuple[Column | None, str, str]:
    """The column, None if it is nothing that can be read; why it is left out; what is to be said about it."""
    name = str(values.name)
    present = values.dropna()
    if not len(present):
        return None, "nothing is in it", ""
    if text:
        return Column(name, "text", _how_text(_as_text(present))), "", ""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return Column(name, "category"), "", ""
    if pd.api.types.is_bool_dtype(values.dtype):
        return Column(name, "truth"), "", ""
    if pd.api.types.is_complex_dtype(values.dtype):
        return None, "complex numbers are no features: give real and imaginary parts columns of their own", ""
    if pd.api.types.is_integer_dtype(values.dtype) and differ_by_last_digits(present):
        return _understand_strings(name, _as_text(present), keep, decimal_commas)
    if pd.api.types.is_numeric_dtype(values.dtype) or pd.api.types.is_timedelta64_dtype(values.dtype):
        return Column(name, "number"), "" if keep else _why_an_id(values), ""
    if pd.api.types.is_datetime64_any_dtype(values.dtype) or isinstance(values.dtype, pd.PeriodDtype):
        return Column(name, "date"), "", ""
    return _understand_objects(name, present.astype(object), keep, decimal_commas)


def _understand_objects(
    name: str, present: pd.Series, keep: bool, decimal_commas: bool
) -> tuple[Column | None, str, str]:
    types = set(present.map(type))
    if all(issubclass(t, bool | np.bool_) for t in types):
        return Column(name, "truth"), "", ""
    if all(issubclass(t, int | np.integer) for t in types) and differ_by_last_digits(_as_text(present)):
        return _understand_strings(name, _as_text(present), keep, decimal_commas)
    if all(issubclass(t, int | float | np.number | Decimal | Fraction | datetime.timedelta) for t in types):
        numbers = _read_number(present, "")
        return Column(name, "number"), "" if keep or numbers is None else _why_an_id(numbers), ""
    if all(issubclass(t, datetime.date | datetime.datetime | np.datetime64) for t in types):
        return Column(name, "date"), "", ""
    if any(issubclass(t, list | tuple | dict | set | bytes | np.ndarray) for t in types):
        return None, "its cells hold lists or bytes: give numbers, words or dates, or an .npz", ""
    return _understand_strings(name, _as_text(present), keep, decimal_commas)


def _understand_strings(
    name: str, words: pd.Series, keep: bool, decimal_commas: bool
) -> tuple[Column | None, str, str]:
    filled = words[~_means_missing(words)]
    lower = set(filled.str.casefold().head(_SAMPLE))
    if lower in _TRUTH_PAIRS and set(filled.str.casefold()) in _TRUTH_PAIRS:
        return Column(name, "truth"), "", ""
    number = None if differ_by_last_digits(filled) else _number_style(filled, decimal_commas)
    if number is not None:
        style, strange = number
        numbers = _parse_numbers(filled, style)
        note = _about_strange(name, "number", strange, filled) if strange else _about_thousands(name, filled, style)
        return Column(name, "number", style, bool(strange)), "" if keep or strange else _why_an_id(numbers), note
    dates = _date_order(filled)
    if dates is not None:
        order, strange = dates
        note = _about_strange(name, "date", strange, filled) if strange else ""
        return Column(name, "date", order, bool(strange)), "", note
    distinct, share = words.nunique(), words.nunique() / max(len(words), 1)
    how = _how_text(words)
    if _reads_like_text(words, how) and distinct >= _FEW_ROWS / 2 and share > 0.3:
        return Column(name, "text", how), "", ""
    if distinct >= _FEW_ROWS and share > 0.9 and not keep:
        why = "nearly every row has a value of its own; --text takes its words as features, --keep its values"
        return None, why, ""
    note = _about_mostly(name, filled)
    if not note and distinct > MOST_CATEGORIES:
        note = f"Column {name!r} has {distinct} values: the {MOST_CATEGORIES - 1} most frequent are told apart."
    return Column(name, "category"), "", note


def differ_by_last_digits(values: pd.Series) -> bool:
    """Whether whole numbers are so long that some would be one and the same to a computer: names, as of cards."""
    if pd.api.types.is_numeric_dtype(values.dtype):
        return bool(values.nunique() > values.astype(float).nunique())
    long = values[values.str.fullmatch(_LONG)]
    return bool(len(long)) and bool(long.nunique() > pd.to_numeric(long, errors="coerce").astype(float).nunique())


def _about_mostly(name: str, cells: pd.Series) -> str:
    """A column of names most of which are numbers or dates, but for too many others."""
    sample = cells.iloc[:: max(len(cells) // _SAMPLE, 1)]
    if not (_some_are_numbers(cells) or sample.map(lambda cell: bool(_LIKE_A_DATE.fullmatch(cell))).mean() > 1 / 3):
        return ""
    like_dates = cells.where(cells.map(lambda cell: bool(_LIKE_A_DATE.fullmatch(cell))))
    dates = [_parse_dates(like_dates, order) for order in _DATE_ORDERS] if like_dates.notna().any() else [like_dates]
    best = max(dates, key=lambda part: int(part.notna().sum()))
    for what, values in (("number in one unit", _parse_numbers(cells, _usual_style(cells))), ("date", best)):
        others = cells[values.isna()]
        if 0 < len(others) <= len(cells) / 2:
            return (
                f"Column {name!r} is read as names: {len(others)} of its {len(cells)} cells hold no {what}, such as "
                f"{', '.join(map(repr, others.drop_duplicates()[:3]))}. Write all of them alike, or empty these."
            )
    return ""


def _about_thousands(name: str, cells: pd.Series, style: str) -> str:
    """What a comma or a point was taken for where it could be between thousands or before decimals."""
    form, _, unit = style.partition(" ")
    marked = cells.str.contains("[.,]")
    if form == "plain" or marked.all() or not marked.any():
        return ""
    others = [f"{other} {unit}".strip() for other in _FORMS if other != form]
    if not any(_parse_numbers(cells, other).notna().all() for other in others):
        return ""
    first = cells[marked].iloc[0]
    number = _parse_numbers(cells[marked].head(1), style).iloc[0]
    return f"Column {name!r}: {first!r} is read as {number:.15g}. If that is wrong, write it so in the file."


def _about_strange(name: str, what: str, strange: list[str], cells: pd.Series) -> str:
    samples = ", ".join(map(repr, strange[:3]))
    return f"Column {name!r}: {int(cells.isin(strange).sum())} cells that hold no {what} ({samples}) count as missing."


def _why_an_id(values: pd.Series) -> str:
    """Why a column of numbers is a key of the rows and no feature, or nothing."""
    if len(values) < _FEW_ROWS or values.isna().any() or not values.is_unique:
        return ""
    numbers = values.to_numpy(dtype=float)
    if not np.isfinite(numbers).all() or (numbers != np.round(numbers)).any():
        return ""
    steps = np.diff(numbers)
    counted = ((steps > 0).all() or (steps < 0).all()) and np.ptp(numbers) < 2 * len(numbers)
    if counted or _LIKE_AN_ID.fullmatch(str(values.name)):
        return "its whole numbers are all different and count or name the rows; --keep makes it a feature"
    return ""


def _as_text(values: pd.Series) -> pd.Series:
    """Strings without blanks at their ends; whole numbers as digits alone."""
    if not pd.api.types.is_float_dtype(values.dtype):
        return values.astype(object).map(lambda value: str(value).strip(), na_action="ignore").astype(object)
    return values.astype(object).map(lambda value: f"{value:.15g}", na_action="ignore").astype(object)


def _means_missing(words: pd.Series) -> pd.Series:
    return words.str.casefold().isin(_MISSING)


def _words_for_missing(values: pd.Series) -> int:
    return int(_means_missing(_as_text(values.dropna())).sum())


def _read_number(values: pd.Series, how: str, decimal_commas: bool = False) -> pd.Series | None:
    if pd.api.types.is_timedelta64_dtype(values.dtype):
        return values.dt.total_seconds()
    if pd.api.types.is_numeric_dtype(values.dtype) and not pd.api.types.is_bool_dtype(values.dtype):
        if how.endswith(" %"):  # 15 can mean 15% or 15 times as much
            return values.where(values == 0)
        if values.dtype in _USUAL_NUMBERS:
            return values
        return pd.Series(values.to_numpy(dtype=float, na_value=np.nan), index=values.index, name=values.name)
    objects = values.astype(object)
    present = objects.dropna()
    if present.map(lambda value: isinstance(value, bool | np.bool_)).any():
        return _read_truth(values, "")
    if not present.map(lambda value: isinstance(value, str)).any():
        try:
            return objects.map(_as_float, na_action="ignore").astype(float)
        except (TypeError, ValueError):
            return None
    words = _as_text(objects)
    cells = words.dropna()
    cells = cells[~_means_missing(cells)]
    numbers = pd.Series(np.nan, index=values.index, name=values.name)
    numbers[cells.index] = _parse_alike(cells, how, decimal_commas)
    truth = cells.str.casefold().map({"true": 1.0, "false": 0.0})
    numbers[cells.index] = numbers[cells.index].fillna(truth)
    if not len(cells) and len(present):
        return numbers
    return numbers if numbers.notna().any() else None


def _parse_alike(cells: pd.Series, how: str, decimal_commas: bool) -> pd.Series:
    """Numbers by the style of the data, or by another that goes for all cells; with the same unit."""
    form, _, unit = how.partition(" ")
    forms = _forms(decimal_commas)
    for style in (form, *forms) if form not in ("", "plain") else forms:
        numbers = _parse_numbers(cells, f"{style} {unit}".strip())
        if numbers.notna().all():
            return numbers
    return _parse_numbers(cells, how or "plain")


def _as_float(value: Any) -> float:
    return value.total_seconds() if isinstance(value, datetime.timedelta) else float(value)


def _forms(decimal_commas: bool) -> tuple[str, ...]:
    return _FORMS[::-1] if decimal_commas else _FORMS


def has_decimal_commas(frame: pd.DataFrame, separator: str) -> bool:
    """Whether a file writes 1,5 and not 1.5, by all that stands in its columns.

    Args:
        frame: (N, columns) as read, text where it is no number yet.
        separator: between columns: semicolons stand there where commas are taken.
    """
    english = False
    for name in frame.select_dtypes(include=("object", "string")):
        cells = _as_text(frame[name].dropna().head(_SAMPLE))
        cells = cells[~_means_missing(cells)]
        styles = [f"{form} {_usual_unit(cells)}".strip() for form in _FORMS]
        plain, as_english, as_european = (_parse_numbers(cells, style).notna().all() for style in styles)
        if len(cells) and as_european and not (plain or as_english):
            return True
        english |= bool(len(cells) and as_english and not as_european)
    points = any((frame[name].dropna() % 1 != 0).any() for name in frame.select_dtypes("float"))
    return separator == ";" and not (english or points)


def looks_like_thousands(words: pd.Series) -> bool:
    """Whether points stand between thousands, in all words that have one."""
    cells = _as_text(words.dropna())
    return bool(len(cells)) and bool(cells.map(lambda cell: bool(_EUROPEAN.fullmatch(cell))).all())


def _number_style(words: pd.Series, decimal_commas: bool = False) -> tuple[str, list[str]] | None:
    """What commas and points mean, and the unit, if nearly all of the words are numbers; and the few that are none."""
    if not len(words):
        return None
    if not _some_are_numbers(words):
        return None
    unit = _usual_unit(words)
    styles = [f"{form} {unit}".strip() for form in _forms(decimal_commas)]
    for style in styles:
        numbers = _parse_numbers(words, style)
        if numbers.notna().all():
            return style, []
    for style in styles:
        numbers = _parse_numbers(words, style)
        if numbers.notna().mean() >= _NEARLY_ALL and numbers.nunique() >= _FEW_ROWS:
            return style, words[numbers.isna()].drop_duplicates().tolist()
    return None


def _some_are_numbers(words: pd.Series) -> bool:
    """Whether a third of a sample are numbers: of a long column of text not every cell is looked at."""
    sample = words.iloc[:: max(len(words) // _SAMPLE, 1)]
    return bool(_parse_numbers(sample, _usual_style(sample)).notna().mean() > 1 / 3)


def _usual_style(words: pd.Series) -> str:
    styles = [f"{form} {_usual_unit(words)}".strip() for form in _FORMS]
    return max(styles, key=lambda style: int(_parse_numbers(words, style).notna().sum()))


def _bare(words: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Numbers without the blanks and marks in them, and the currency or unit of each; of two units none is taken."""
    bare = words.str.replace("\u2212", "-").str.replace(r'^="(.*)"$', r"\1", regex=True)  # as spreadsheets keep text
    bare = bare.str.replace(r"^\((.*)\)$|^(.*\d)-$", r"-\1\2", regex=True)
    bare = bare.str.replace(r"[\s\u00a0\u202f'’_]", "", regex=True)
    before = bare.str.extract(_BEFORE)[0]
    bare = bare.where(before.isna(), bare.str.replace(_BEFORE, lambda mark: mark[0][: -len(mark[1])], regex=True))
    after = bare.str.extract(_UNIT)[0].where(before.isna())
    bare = bare.where(after.isna(), bare.str.replace(_UNIT, "", regex=True))
    return bare, before.fillna(after).fillna("").str.casefold()


def _usual_unit(words: pd.Series) -> str:
    units = _bare(words)[1]
    units = units[units != ""]
    return str(units.mode()[0]) if len(units) else ""


def _parse_numbers(words: pd.Series, style: str) -> pd.Series:
    """Numbers as people write them: with a comma or a point between thousands, a currency or a unit, or per cent.

    One in another unit than that of the style is none; the unit may be left out, but for per cent.
    """
    form, _, unit = style.partition(" ")
    plain = pd.to_numeric(words, errors="coerce").astype(float)
    if style == "plain":
        return plain
    bare, units = _bare(words)
    fits = (units == unit) | ((units == "") & ((unit != "%") | (plain == 0)))
    if form == "plain":
        numbers = pd.to_numeric(bare, errors="coerce").astype(float)
    else:
        pattern = _ENGLISH if form == "english" else _EUROPEAN
        ok = bare.map(lambda text: bool(pattern.fullmatch(text)))
        separators = str.maketrans({",": None}) if form == "english" else str.maketrans({".": None, ",": "."})
        numbers = pd.to_numeric(bare.where(ok).str.translate(separators), errors="coerce").astype(float)
    return (numbers / 100 if unit == "%" else numbers).where(fits)


def _read_truth(values: pd.Series, how: str) -> pd.Series | None:
    if pd.api.types.is_numeric_dtype(values.dtype):  # truth values too
        numbers = pd.Series(values.to_numpy(dtype=float, na_value=np.nan), index=values.index, name=values.name)
        return numbers.where(numbers.isin((0.0, 1.0)))
    words = values.astype(object).map(lambda value: str(value).strip().casefold(), na_action="ignore")
    return words.map(_TRUTH).astype(float)


def _read_date(values: pd.Series, how: str) -> pd.Series | None:
    if isinstance(values.dtype, pd.PeriodDtype):
        values = values.dt.to_timestamp()
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return values.dt.tz_localize(None) if values.dt.tz is not None else values
    words = _as_text(values)
    dates = _parse_dates(words.where(~_means_missing(words.fillna(""))), how or "year first")
    if dates.notna().sum() or not how:
        return dates
    return None


def _date_order(words: pd.Series) -> tuple[str, list[str]] | None:
    """What comes first in dates, or that these are times of day, and the few words that are none; None if most are."""
    if not len(words):
        return None
    sample = words.head(_SAMPLE)
    orders: tuple[str, ...]
    if sample.map(lambda word: bool(_LIKE_A_TIME.fullmatch(word))).mean() >= _NEARLY_ALL:
        orders = ("time of day",)
    elif sample.map(lambda word: bool(_LIKE_A_DATE.fullmatch(word))).mean() >= _NEARLY_ALL:
        orders = _DATE_ORDERS
    else:
        return None
    dates = {order: _parse_dates(words, order) for order in orders}
    best = max(orders, key=lambda order: dates[order].notna().sum())
    strange = words[dates[best].isna()].drop_duplicates().tolist()
    if not strange or (dates[best].notna().mean() >= _NEARLY_ALL and dates[best].nunique() >= _FEW_ROWS):
        return best, strange
    return None


def _parse_dates(words: pd.Series, order: str) -> pd.Series:
    """Dates as the clocks there showed them; what is none is missing. A year of four digits in front is the year."""
    if order == "time of day":
        return _parse_times(words)
    local = words.str.replace(_ZONE, r"\1", regex=True)
    year_first = local.str.match(_YEAR_FIRST).fillna(value=False).astype(bool)
    iso = local.where(year_first).str.replace(_YEAR_FIRST, _padded, regex=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas says that it tries one date after the other
        dates = _naive(iso, format="ISO8601")
        if order != "year first" and not year_first.all():
            others = local.where(~year_first)
            options: dict[str, Any] = {"dayfirst": order == "day first"}
            read = _naive(others, **options)
            if read.isna().sum() > others.isna().sum():
                read = _naive(others, format="mixed", **options)
            dates = dates.where(year_first, read.where(_agree(others, read, order)))
    return dates


def _padded(date: re.Match[str]) -> str:
    return "-".join(part.rjust(2, "0") for part in date.groups() if part)


def _naive(words: pd.Series, **options: Any) -> pd.Series:
    try:
        dates = pd.to_datetime(words, errors="coerce", **options)
    except (ValueError, TypeError, OverflowError):
        return pd.Series(pd.NaT, index=words.index, name=words.name)
    return dates if pd.api.types.is_datetime64_dtype(dates) else pd.to_datetime(dates, utc=True).dt.tz_localize(None)


def _parse_times(words: pd.Series) -> pd.Series:
    """Times of day on the first day that a computer knows."""
    half = words.str.extract(_HALF)[0].str.casefold()
    bare = words.str.replace(_HALF, "", regex=True)
    since_midnight = pd.to_timedelta(bare.where(bare.str.count(":") != 1, bare + ":00"), errors="coerce")
    noon = pd.Timedelta(hours=12)
    within = since_midnight.dt.components["hours"]
    since_midnight = since_midnight.where((half != "a") | (within != 12), since_midnight - noon)
    return pd.Timestamp(0) + since_midnight.where((half != "p") | (within >= 12), since_midnight + noon)


def _agree(words: pd.Series, dates: pd.Series, order: str) -> pd.Series:
    """Where a date is read in this order indeed: the parser takes 13/04 for a day and a month in either."""
    first = pd.to_numeric(words.str.extract(r"^(\d{1,2})[-/.]\d{1,2}[-/.]")[0], errors="coerce")
    expected = dates.dt.day if order == "day first" else dates.dt.month
    return first.isna() | (first == expected)


def _reads_like_text(words: pd.Series, how: str) -> bool:
    sample = words.head(_SAMPLE)
    if how == "letters":
        return sample.str.len().mean() >= 10
    return sample.str.count(r"\S+").mean() >= 5


def _how_text(words: pd.Series) -> str:
    """Words, or letters where a script has no blanks between its words."""
    sample = words.dropna().head(_SAMPLE)
    letters = sum(len(_NO_SPACES.findall(text)) for text in sample)
    return "letters" if letters > 0.3 * max(sum(map(len, sample)), 1) else "words"


DATE_PARTS = ("year", "month", "day", "day_of_week")


def date_parts(dates: pd.Series) -> pd.DataFrame:
    """(N, 5) numbers: year, month, day of the month, day of the week (0 is Monday), and hour with its minutes."""
    if not pd.api.types.is_datetime64_any_dtype(dates):
        return pd.DataFrame({f"{dates.name} {part}": np.nan for part in (*DATE_PARTS, "hour")}, index=dates.index)
    parts = {part: getattr(dates.dt, part).astype(float) for part in DATE_PARTS}
    parts["hour"] = dates.dt.hour + dates.dt.minute / 60
    return pd.DataFrame({f"{dates.name} {part}": values for part, values in parts.items()})
