"""After an audit: data without the labels that it calls wrong, and which examples to check next."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from l2rw_core.audit.report import TABLE, neutral
from l2rw_core.audit.tables import cells_of, end_of, parts_of, plain_label, some, whole_table

HOWS = ("drop", "relabel", "weight")
"""What is done about labels that are called wrong."""
WEIGHT = "label_weight"
"""Column of the weights: 1, and less where a label is called wrong."""


def read_labels(folder: Path) -> pd.DataFrame:
    """The table of labels that an audit wrote, as it is now, in the order of the data.

    Somebody may have changed what it calls wrong, and a spreadsheet its order, its separators and its words.

    Raises:
        ValueError: if there is none, columns or rows are missing, or a cell is nothing that it can be.
    """
    path = folder / TABLE
    if not path.exists():
        raise ValueError(f"there is no {path}: name the folder that l2rw audit wrote with --audit")
    table = cells_of(path)
    missing = [name for name in ("id", *_TEXTS, "label_score", "is_label_issue") if name not in table]
    if missing:
        raise ValueError(f"{path} lacks the column {missing[0]!r}: take the table as the audit wrote it")
    ids = pd.to_numeric(table["id"], errors="coerce")
    absent = sorted(set(range(len(table))) - set(ids))
    if absent:
        raise ValueError(f"{path} has {len(table)} rows and none of id {absent[0]}: keep each of its rows, and once")
    table = table.assign(id=ids.astype(int)).sort_values("id", ignore_index=True)
    issue = table["is_label_issue"].str.strip().str.casefold().map(_TRUTH)
    if issue.isna().any():
        row = int(issue.isna().to_numpy().argmax())
        raise ValueError(f"{path}: is_label_issue of id {row} is neither True nor False")
    empty = np.flatnonzero(issue.astype(bool) & (table["predicted_label"].str.strip() == ""))
    if len(empty):
        raise ValueError(
            f"{path}: predicted_label of id {empty[0]} is empty: name a label, or set is_label_issue to False"
        )
    score = pd.to_numeric(table["label_score"].str.replace(",", "."), errors="coerce")
    return table.assign(label_score=score, is_label_issue=issue.astype(bool))


_TRUTH = dict.fromkeys(("true", "1", "yes", "wahr", "vrai", "verdadero", "verdadeiro", "vero", "waar"), True)
_TRUTH |= dict.fromkeys(("false", "0", "no", "falsch", "faux", "falso", "onwaar"), False)
"""As spreadsheets of several languages write truth values."""
_TEXTS = ("name", "given_label", "predicted_label")


def mended(data: Path, folder: Path, how: str, label_column: str | None = None) -> pd.DataFrame:
    """The data after an audit: of a table all its columns, of images and arrays a list of `name` and `label`.

    Args:
        data: what was audited.
        folder: what the audit wrote; a person may have set `is_label_issue` or `predicted_label` there.
        how: ``drop`` leaves out what is called wrong, ``relabel`` gives it the suggested label, ``weight`` keeps all
            and adds a column `label_weight` for `sample_weight` and the like: 1, and below 1 where it is called wrong.
        label_column: of a table; by default the column whose labels are those that were audited.

    Returns:
        The table; ``attrs["notes"]`` has what is to be said about it.

    Raises:
        ValueError: if the data are not those that were audited.
    """
    labels = read_labels(folder)
    if end_of(data) or parts_of(data):
        frame, column, labels_of_file = whole_table(data, label_column, lambda found: _others(found, labels) == [])
        _check_same(data, labels_of_file, labels)
    else:
        _check_there(data, labels)
        frame, column = labels[["name"]].assign(label=labels["given_label"].map(_bare)), "label"
        labels_of_file = frame["label"].to_numpy(dtype=str)
    wrong = labels["is_label_issue"].to_numpy()
    if how == "drop":
        return frame[~wrong]
    if how == "weight":
        share = np.minimum(2 * labels["label_score"].fillna(1).to_numpy(), 1)
        return frame.assign(**{WEIGHT: np.where(wrong, share, 1.0).round(4)})
    spellings = {neutral(label): label for label in sorted(set(labels_of_file))}
    predicted = labels["predicted_label"].map(plain_label)
    suggested = [spellings.get(label, _bare(label)) for label in predicted]
    fresh = {label for label, is_wrong in zip(suggested, wrong, strict=True) if is_wrong} - set(spellings.values())
    notes = [f"No row of the data had the label {some(fresh)}: if that is a slip, correct {TABLE}."] if fresh else []
    new = np.where(wrong, np.array(suggested, dtype=object), frame[column].to_numpy(dtype=object))
    changed = frame.assign(**{column: new})
    changed.attrs["notes"] = notes
    return changed


def _bare(label: str) -> str:
    """A label without the apostrophe that keeps a spreadsheet from running it."""
    return label[1:] if label[:1] == "'" and neutral(label[1:]) == label else label


def _check_there(data: Path, labels: pd.DataFrame) -> None:
    """ValueError if files of images are not where the audit saw them."""
    if not data.exists():
        raise ValueError(f"there is no file or folder {data}")
    names = [_bare(name) for name in labels["name"]] if data.is_dir() else []
    gone = [name for name in names if not (data / name).exists()]
    if gone:
        raise ValueError(
            f"{data} lacks {len(gone)} of the {len(labels)} files that the audit saw, {gone[0]} for one: give the "
            "folder that was audited"
        )


def _check_same(data: Path, labels_of_file: np.ndarray, labels: pd.DataFrame) -> None:
    if len(labels_of_file) != len(labels):
        raise ValueError(
            f"{data} has {len(labels_of_file)} rows and the audit saw {len(labels)}: give the table that was audited"
        )
    if other := _others(labels_of_file, labels):
        row = other[0]
        here, there = str(labels_of_file[row]), str(labels["given_label"][row])
        raise ValueError(
            f"{data} has the label {here!r} in row {row + 1}, and the audit saw {there!r}: give the table it was of"
        )


def _others(labels_of_file: np.ndarray, labels: pd.DataFrame) -> list[int] | None:
    """Rows in which a file has another label than the audit saw; None if it has another number of rows."""
    if len(labels_of_file) != len(labels):
        return None
    pairs = zip(labels_of_file, labels["given_label"], strict=True)
    return [row for row, (one, two) in enumerate(pairs) if neutral(one) != two]


def to_check(folder: Path, count: int, seed: int = 0) -> pd.DataFrame:
    """Examples to look at next: half of them to mend labels, half of them for a fair clean set.

    The first half are the labels with the lowest scores. The others are drawn at random, as many of a class as there
    seem to be, and one at least of each that has any left: what is trusted should be like the data.

    Args:
        folder: what the audit wrote.
        count: how many.
        seed: of the draw.

    Returns:
        The rows of the audit's table, with a column `why`: suspect or drawn.
    """
    labels = read_labels(folder).sort_values("label_score", kind="stable", na_position="last")
    if not 1 <= count <= len(labels):
        raise ValueError(f"choose between 1 and {len(labels)} examples, got {count}")
    first, rest = labels.iloc[: -(-count // 2)], labels.iloc[-(-count // 2) :]
    rest = rest.sample(frac=1, random_state=seed)
    one_each = rest.drop_duplicates("predicted_label")
    order = pd.concat([one_each, rest.drop(one_each.index)]).iloc[: count // 2]
    return pd.concat([first.assign(why="suspect"), order.assign(why="drawn")])
