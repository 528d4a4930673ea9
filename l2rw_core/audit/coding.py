"""Columns as features: numbers standardised, dates as their parts, categories one-hot, text by its words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from l2rw_core.audit.columns import MOST_CATEGORIES, date_parts, understand
from l2rw_core.audit.tables import some

if TYPE_CHECKING:
    from sklearn.compose import ColumnTransformer

MOST_WORDS = 300
"""Words of a column of text beyond this many, the rarest, are left out."""
FARTHEST = 10.0
"""A number farther from the mean, in standard deviations, is taken for one that is this far."""


def code(frame: pd.DataFrame, clean: pd.DataFrame, text: tuple[str, ...] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Features of a table and of its clean set, coded by what the table holds.

    Args:
        frame: (N, columns), with at least one that tells something.
        clean: (M, columns) of the same names.
        text: columns that are free text, whatever they look like.

    Returns:
        Two arrays of float32, (N, features) and (M, features).

    Raises:
        ValueError: if a column of the clean set holds something else than the data do, or nothing is left.
    """
    reading = understand(frame, text, keep=frame.columns)
    if not reading.columns:
        raise ValueError(f"no column of {some(set(frame.columns))} is a feature. {' '.join(reading.notes)}")
    parts, numbers, categories, texts = [], [], [], []
    for table in (frame, clean):
        columns: dict[str, pd.Series] = {}
        numbers, categories, texts = [], [], []
        for column in reading.columns:
            values = column.read(table[column.name])
            if column.kind == "date":
                spread = date_parts(values)
                columns |= {name: spread[name] for name in spread}
                numbers += list(spread.columns)
            elif column.kind in ("number", "truth"):
                columns[column.name] = values.astype(float)
                numbers.append(column.name)
            else:
                columns[column.name] = values.fillna("") if column.kind == "text" else values
                (texts if column.kind == "text" else categories).append(column.name)
        parts.append(pd.DataFrame(columns))
    empty = [name for name in numbers if parts[0][name].isna().all()]
    numbers = [name for name in numbers if name not in empty]
    letters = {column.name for column in reading.columns if column.how == "letters"}
    encoder = _encoder(numbers, categories, texts, letters).fit(parts[0])
    x, clean_x = (np.asarray(encoder.transform(part), dtype=np.float32) for part in parts)
    return x, clean_x


def _encoder(numbers: list[str], categories: list[str], texts: list[str], letters: set[str]) -> ColumnTransformer:
    from sklearn.compose import ColumnTransformer
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

    standard = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True),
        StandardScaler(),
        FunctionTransformer(np.clip, kw_args={"a_min": -FARTHEST, "a_max": FARTHEST}),
    )
    one_hot = make_pipeline(
        SimpleImputer(strategy="constant", fill_value="missing", missing_values=np.nan),
        OneHotEncoder(handle_unknown="ignore", max_categories=MOST_CATEGORIES, sparse_output=False),
    )
    words = [
        (
            f"text {name}",
            make_pipeline(
                TfidfVectorizer(
                    strip_accents="unicode",
                    sublinear_tf=True,
                    max_features=MOST_WORDS,
                    **(_LETTERS if name in letters else _WORDS),
                ),
                FunctionTransformer(_dense, check_inverse=False),
            ),
            name,
        )
        for name in texts
    ]
    return ColumnTransformer(
        [("numbers", standard, numbers), ("names", one_hot, categories), *words], sparse_threshold=0
    )


_LETTERS = {"analyzer": "char", "ngram_range": (1, 2)}
_WORDS = {"token_pattern": r"(?u)\b\w+\b"}


def _dense(words: object) -> np.ndarray:
    """Rows of length 1 made as long as as many standardised numbers would be, which a network learns from faster."""
    dense = words.toarray()  # type: ignore[attr-defined]
    return dense * np.sqrt(dense.shape[1])
