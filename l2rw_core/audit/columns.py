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
_ENGLISH = re.compile(r"[+-]?(\d{1,3}(,\d{3})+|\d+)?(\.\d*)?(e[+-]?\d+)?", re.IGNORECASE)
_EUROPEAN = re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d+)?(,\d*)?(e[+-]?\d+)?", re.IGNORECASE)
_UNIT = re.compile(r"(?<=[\d.,])([^\W\d_]{1,4}[²³]?|°[a-z]?|[€$£¥])$", re.IGNORECASE)
_LIKE_A_DATE = re.compile(
    r"\d{4}[-/.]\d{1,2}([-/.]\d{1,2}.*)?|\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d{2})\b.*"
    r"|(\w+,? )?(\d{1,2}[ -])?(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*[ ,.-].*\d.*",
    re.IGNORECASE,
)
_LIKE_A_TIME = re.compile(r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?")
_OFFSET = r"(?<=\d)\s*(Z|UTC|GMT|[+-]\d{2}:?\d{2})$"
_LIKE_AN_ID = re.compile(r"(.*[_\s.-])?(id|ids|idx|index|key|uuid|guid|nr|no)|.*[a-z](Id|ID)|unnamed: 0", re.IGNORECASE)
_NO_SPACES = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]")
_FEW_ROWS = 20
"""In fewer rows nothing is said about values that are all different."""
_NEARLY_ALL = 0.9
"""A column of numbers or dates may hold a few words."""
_SAMPLE = 1000


@dataclass(frozen=True)
class Column:
    """How one column of a table is read."""

    name: str
    kind: Kind
    how: str = ""
    """Of a number: what its commas mean. Of a date: what comes first. Of text: words, or letters without spaces."""
    mixed: bool = False
    """Whether a few of the data's numbers are words, which count as missing."""

    def read(self, values: pd.Series) -> pd.Series:
        """The column as numbers, dates or strings, with what is missing as missing.

        Raises:
            ValueError: if it holds something else than the data do.
        """
        if self.kind in ("category", "text"):
            return _as_text(values)
        if values.isna().all():
            return pd.Series(np.nan, index=values.index, name=values.name, dtype=float)
        read = {"number": _read_number, "truth": _read_truth, "date": _read_date}[self.kind]
        series = read(values, self.how)
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

    def read(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The feature columns of a table with at least these columns."""
        return pd.DataFrame({c.name: c.read(frame[c.name]) for c in self.columns}, index=frame.index)

    @property
    def text(self) -> tuple[str, ...]:
        """Names of the columns that are text."""
        return tuple(c.name for c in self.columns if c.kind == "text")


def understand(frame: pd.DataFrame, text: Iterable[str] = (), keep: Iterable[str] = ()) -> Reading:
    """Decide what each column of a table is.

    Args:
        frame: (N, columns) as read from a file, or as somebody has it.
        text: columns that are text, whatever they look like.
        keep: columns that are features although nearly every row has a value of its own.
    """
    columns: list[Column] = []
    left_out: dict[str, str] = {}
    ids: dict[str, Column] = {}
    notes: list[str] = []
    for name in frame.columns:
        column, why, note = _understand(frame[name], name in set(text), name in set(keep))
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


def _understand(values: pd.Series, text: bool, keep: bool) -> tuple[Column | None, str, str]:
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
    if pd.api.types.is_numeric_dtype(values.dtype) or pd.api.types.is_timedelta64_dtype(values.dtype):
        return Column(name, "number"), "" if keep else _why_an_id(values), ""
    if pd.api.types.is_datetime64_any_dtype(values.dtype) or isinstance(values.dtype, pd.PeriodDtype):
        return Column(name, "date"), "", ""
    return _understand_objects(name, present.astype(object), len(values), keep)


def _understand_objects(name: str, present: pd.Series, rows: int, keep: bool) -> tuple[Column | None, str, str]:
    types = set(present.map(type))
    if all(issubclass(t, bool | np.bool_) for t in types):
        return Column(name, "truth"), "", ""
    if all(issubclass(t, int | float | np.number | Decimal | Fraction | datetime.timedelta) for t in types):
        numbers = _read_number(present, "")
        return Column(name, "number"), "" if keep or numbers is None else _why_an_id(numbers), ""
    if all(issubclass(t, datetime.date | datetime.datetime | np.datetime64) for t in types):
        return Column(name, "date"), "", ""
    if any(issubclass(t, list | tuple | dict | set | bytes | np.ndarray) for t in types):
        return None, "its cells hold lists or bytes: give numbers, words or dates, or an .npz", ""
    return _understand_strings(name, _as_text(present), rows, keep)


def _understand_strings(name: str, words: pd.Series, rows: int, keep: bool) -> tuple[Column | None, str, str]:
    filled = words[~_means_missing(words)]
    lower = set(filled.str.casefold().head(_SAMPLE))
    if lower in _TRUTH_PAIRS and set(filled.str.casefold()) in _TRUTH_PAIRS:
        return Column(name, "truth"), "", ""
    number = _number_style(filled)
    if number is not None:
        style, strange = number
        numbers = _parse_numbers(filled, style)
        note = _about_strange(name, "number", strange, filled) if strange else ""
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
    if distinct > MOST_CATEGORIES:
        note = f"Column {name!r} has {distinct} values: the {MOST_CATEGORIES - 1} most frequent are told apart."
        return Column(name, "category"), "", note
    return Column(name, "category"), "", ""


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
    if pd.api.types.is_bool_dtype(values.dtype) or not pd.api.types.is_numeric_dtype(values.dtype):
        return values.astype(object).map(lambda value: str(value).strip(), na_action="ignore").astype(object)
    return values.astype(object).map(lambda value: f"{value:.15g}", na_action="ignore").astype(object)


def _means_missing(words: pd.Series) -> pd.Series:
    return words.str.casefold().isin(_MISSING)


def _words_for_missing(values: pd.Series) -> int:
    return int(_means_missing(_as_text(values.dropna())).sum())


def _read_number(values: pd.Series, how: str) -> pd.Series | None:
    if pd.api.types.is_timedelta64_dtype(values.dtype):
        return values.dt.total_seconds()
    if pd.api.types.is_numeric_dtype(values.dtype) and not pd.api.types.is_bool_dtype(values.dtype):
        if isinstance(values.dtype, np.dtype):
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
    numbers[cells.index] = _parse_numbers(cells, how or _style_of_few(cells))
    truth = cells.str.casefold().map({"true": 1.0, "false": 0.0})
    numbers[cells.index] = numbers[cells.index].fillna(truth)
    if not len(cells) and len(present):
        return numbers
    return numbers if numbers.notna().any() else None


def _style_of_few(cells: pd.Series) -> str:
    style = _number_style(cells)
    return style[0] if style else "plain"


def _as_float(value: Any) -> float:
    return value.total_seconds() if isinstance(value, datetime.timedelta) else float(value)


def _number_style(words: pd.Series) -> tuple[str, list[str]] | None:
    """What commas and points mean, if nearly all of the words are numbers; and the few words that are none."""
    if not len(words):
        return None
    for style in ("plain", "english", "european"):
        numbers = _parse_numbers(words, style)
        if numbers.notna().all():
            return style, []
    for style in ("plain", "english", "european"):
        numbers = _parse_numbers(words, style)
        if numbers.notna().mean() >= _NEARLY_ALL and numbers.nunique() >= _FEW_ROWS:
            return style, words[numbers.isna()].drop_duplicates().tolist()
    return None


def _parse_numbers(words: pd.Series, style: str) -> pd.Series:
    """Numbers as people write them: a currency, one unit, per cent, and a comma or a point between thousands."""
    plain = pd.to_numeric(words, errors="coerce").astype(float)
    if style == "plain" or plain.notna().all():
        return plain
    bare = words.str.replace("\u2212", "-").str.replace(r"^\((.*)\)$", r"-\1", regex=True)
    bare = bare.str.replace(r"[\s\u00a0\u202f'’_]|^[$€£¥]|(?<=^[+-])[$€£¥]", "", regex=True)
    percent = bare.str.endswith("%")
    bare = bare.str.removesuffix("%")
    units = bare.str.extract(_UNIT.pattern, flags=re.IGNORECASE)[0].dropna().str.casefold()
    if len(units) and units.nunique() == 1:
        bare = bare.str.replace(_UNIT, "", regex=True)
    form = _ENGLISH if style == "english" else _EUROPEAN
    ok = bare.map(lambda text: bool(form.fullmatch(text)))
    separators = str.maketrans({",": None}) if style == "english" else str.maketrans({".": None, ",": "."})
    numbers = pd.to_numeric(bare.where(ok).str.translate(separators), errors="coerce").astype(float)
    return numbers.where(~percent, numbers / 100)


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
    if sample.map(lambda word: bool(_LIKE_A_TIME.fullmatch(word))).mean() >= _NEARLY_ALL:
        orders = ["time of day"]
    elif sample.map(lambda word: bool(_LIKE_A_DATE.fullmatch(word))).mean() >= _NEARLY_ALL:
        orders = ["year first", "month first", "day first"]
    else:
        return None
    dates = {order: _parse_dates(words, order) for order in orders}
    best = max(orders, key=lambda order: dates[order].notna().sum())
    strange = words[dates[best].isna()].drop_duplicates().tolist()
    if not strange or (dates[best].notna().mean() >= _NEARLY_ALL and dates[best].nunique() >= _FEW_ROWS):
        return best, strange
    return None


def _parse_dates(words: pd.Series, order: str) -> pd.Series:
    """Dates as the clocks there showed them; what is none is missing."""
    if order == "time of day":
        padded = words.where(words.str.count(":") != 1, words + ":00")
        return pd.Timestamp(0) + pd.to_timedelta(padded, errors="coerce")
    local = words.str.replace(_OFFSET, "", regex=True)
    options: dict[str, Any] = {"format": "ISO8601"} if order == "year first" else {"dayfirst": order == "day first"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas says that it tries one date after the other
        try:
            dates = pd.to_datetime(local, errors="coerce", **options)
            if order != "year first" and dates.isna().sum() > local.isna().sum():
                dates = pd.to_datetime(local, errors="coerce", format="mixed", **options)
                dates = dates.where(_agree(local, dates, order))
        except (ValueError, TypeError, OverflowError):
            return pd.Series(pd.NaT, index=words.index, name=words.name)
    return (
        dates if pd.api.types.is_datetime64_any_dtype(dates) else pd.to_datetime(dates, utc=True).dt.tz_localize(None)
    )


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
