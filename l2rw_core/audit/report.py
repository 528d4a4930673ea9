"""An audit as files: one page that needs nothing else, and a table that other tools read."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from tqdm.auto import tqdm

from l2rw_core.audit.pictures import Images, as_image, open_image
from l2rw_core.audit.run import Audit
from l2rw_core.running.progress import progress_wanted

REPORT, TABLE = "report.html", "labels.csv"
_THUMBNAIL = 96
_COLUMNS = 12
_EXPLAINED = 12
_LARGEST_CONFUSION = 12
_FORMULA_STARTS = tuple("=+-@＝＋－＠")


def write_report(
    audit: Audit, folder: Path, title: str = "the data", shown: int = 60, progress: bool | None = None
) -> tuple[Path, Path]:
    """Write `report.html` and `labels.csv` into `folder`, which is made if it is not there.

    Args:
        audit: what to report.
        folder: where to; each file appears there whole or not at all.
        title: what the data are called in the report.
        shown: examples in the gallery, most suspect first.
        progress: show a bar; by default unless the environment variable ``L2RW_PROGRESS`` is 0.

    Returns:
        The paths of the page and of the table.
    """
    page, table = to_html(audit, title, shown, progress), to_csv(audit)
    folder.mkdir(parents=True, exist_ok=True)
    return _replace(folder / REPORT, page), _replace(folder / TABLE, table)


def _replace(path: Path, text: str) -> Path:
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8", newline="")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def to_csv(audit: Audit) -> str:
    """One line an example, in the order of the data, with the columns that cleanlab's tools read.

    `id` counts from 0. Text that a spreadsheet would run as a formula is preceded by an apostrophe.
    """
    table = audit.suspects.sort_index()
    first = ["name", "given_label", "predicted_label", "label_score", "is_label_issue"]
    table = table[[*first, "seen", "weight", "alignment", "loss"]]
    text = table.select_dtypes(exclude=("number", "bool")).columns
    return table.assign(**{name: table[name].map(neutral) for name in text}).to_csv(float_format="%.6g")


def neutral(text: str) -> str:
    """`text` as a spreadsheet shows it: preceded by an apostrophe if it would be read as a formula."""
    start = text.lstrip()
    if text[:1] in ("\t", "\r", "\n") or (start.startswith(_FORMULA_STARTS) and not _is_number(start)):
        return "'" + text
    return text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.isascii()


def to_html(audit: Audit, title: str = "the data", shown: int = 60, progress: bool | None = None) -> str:
    """The report as one page: no script, no request to anywhere, every value from the data escaped."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files("l2rw_core.audit").joinpath("report.html").read_text("utf-8"))
    table = audit.suspects
    ranked = table[table["label_score"].notna()].head(shown)
    return template.render(
        title=title,
        images=isinstance(audit.train, Images),
        facts=_facts(audit),
        summary=audit.summary,
        issues=int(table["is_label_issue"].sum()),
        verdict=audit.verdict,
        findings=audit.findings,
        histogram=Markup(_histogram(table)),
        classes=_by_class(audit),
        confusion=_confusion(table),
        cards=_cards(audit, ranked, progress),
        columns=_shown_columns(audit),
        more_columns=_left_out(audit),
        explained=_EXPLAINED,
    )


def _facts(audit: Audit) -> dict[str, str]:
    o, p = audit.options, audit.problem
    size = f"{p.x.shape[1]} features {'of your own' if p.own_features else 'after coding'}"
    if p.x.ndim == 4:
        size = " x ".join(map(str, p.x.shape[2:])) + " pixels"
    name = p.model_name or type(audit.model).__name__
    return {
        "examples": f"{len(p.y):,}",
        "trusted examples": f"{len(p.clean_y):,}",
        "labels": f"{len(p.classes):,}",
        "the model saw": size,
        "model": f"{name}, {sum(q.numel() for q in audit.model.parameters()):,} parameters",
        "training": f"{audit.steps:,} steps of {min(o.batch_size, len(p.y))}, Adam at {o.lr:g}, seed {o.seed}",
        "ranked by": {"both": "alignment and loss", "measured": _signs(audit)}.get(o.by, o.by),
    }


def _signs(audit: Audit) -> str:
    """The signs of a measured ranking, those that count most first, with their parts of all weight."""
    weights = audit.weighing.weights if audit.weighing else {}
    whole = sum(weights.values()) or 1
    parts = sorted(((weight / whole, name) for name, weight in weights.items()), reverse=True)
    return "; ".join(f"{name} {part:.0%}" for part, name in parts if part >= 0.005)


def _histogram(table: pd.DataFrame) -> str:
    """Mean share of a batch's weight, for labels called issues and for the others."""
    from l2rw_core.figures import COLOURS, figure, to_svg

    weight, issue = table["weight"].fillna(0).to_numpy(), table["is_label_issue"].to_numpy(dtype=bool)
    edges = np.linspace(0, max(float(np.quantile(weight, 0.99)), 1.0), 26)
    capped = np.minimum(weight, edges[-1])
    fig, ax = figure(width=5.2, height=3.0)  # at 12 px as wide as a small phone
    ax.hist(capped[~issue], edges, color=COLOURS["clean"], alpha=0.55, label="not suspect")
    ax.hist(capped[issue], edges, color=COLOURS["noisy"], histtype="step", hatch="////", linewidth=2, label="suspect")
    ax.axvline(1, linestyle=":", color=COLOURS["neutral"])
    ax.set(xlabel="mean weight (1 is an equal share)", ylabel="examples")
    ax.legend()
    means = [f"{weight[mask].mean():.2f}" if mask.any() else "none" for mask in (issue, ~issue)]
    alt = f"Histogram of the mean weights. Mean of suspect labels: {means[0]}; of the others: {means[1]}."
    return to_svg(fig, alt)


def _by_class(audit: Audit) -> list[dict[str, Any]]:
    rows = []
    for name, part in audit.suspects.groupby("given_label", sort=True):
        wrong = part[part["is_label_issue"]]
        suggested = wrong["predicted_label"].value_counts()
        rows.append(
            {
                "name": str(name),
                "examples": len(part),
                "clean": int(audit.check.counts["clean"].get(name, 0)),
                "issues": len(wrong),
                "share": len(wrong) / len(part),
                "weight": float(part["weight"].mean()),
                "suggested": f"{suggested.index[0]} ({suggested.iloc[0]})" if len(suggested) else "",
            }
        )
    return rows


def _confusion(table: pd.DataFrame) -> dict[str, Any]:
    """Suspect labels by given and suggested label; of many labels, those that occur most."""
    issues = table[table["is_label_issue"]]
    counts = pd.crosstab(issues["given_label"], issues["predicted_label"])
    names = sorted(set(counts.index) | set(counts.columns))
    counts = counts.reindex(index=names, columns=names, fill_value=0)
    often = (
        (counts.sum(axis=0) + counts.sum(axis=1)).sort_values(ascending=False, kind="stable").index[:_LARGEST_CONFUSION]
    )
    common = [name for name in names if name in set(often)]
    counts = counts.loc[common, common]
    most = max(int(counts.to_numpy().max()), 1) if len(common) else 1
    rows = [(name, [(int(v), round(int(v) / most, 2)) for v in counts.loc[name]]) for name in common]
    return {"names": common, "rows": rows, "left_out": len(names) - len(common)}


def _cards(audit: Audit, ranked: pd.DataFrame, progress: bool | None) -> list[dict[str, Any]]:
    picture, values = _pictures(audit), _values(audit)
    rows = enumerate(ranked.itertuples(), start=1)
    return [
        {
            "rank": rank,
            "id": int(row.Index),
            "name": row.name,
            "given": row.given_label,
            "suggested": row.predicted_label,
            "agrees": row.predicted_label == row.given_label,
            "issue": bool(row.is_label_issue),
            "score": f"{row.label_score:.3g}",
            "picture": picture(int(row.Index)),
            "values": values(int(row.Index)),
            "why": _why(audit, int(row.Index)) if rank <= _EXPLAINED else [],
        }
        for rank, row in tqdm(rows, "writing", len(ranked), leave=False, disable=not progress_wanted(progress))
    ]


def _why(audit: Audit, example: int) -> list[str]:
    """The trusted examples that speak loudest against its label, in words, and whether all of them together do."""
    why = audit.explain(example)
    labels = audit.clean.labels
    against = why.clean[why.clean["share"] < 0].head(3)
    lines = [
        f"trusted {row.name}, which is {labels[row.Index]}, speaks against this label" for row in against.itertuples()
    ]
    if why.alignment > 0:
        lines.append("all trusted examples together speak for it: other signs make it suspect")
    return lines


def _pictures(audit: Audit) -> Callable[[int], str]:
    """From an id to the address of a small picture that is held in the address itself."""
    data = audit.train
    if not isinstance(data, Images):
        return lambda _: ""

    def picture(example: int) -> str:
        image = open_image(data.files[example], data.view) if data.files else as_image(data.x[example])
        image.thumbnail((_THUMBNAIL, _THUMBNAIL))
        buffer = io.BytesIO()
        image.save(buffer, "PNG", optimize=True)
        return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()

    return picture


def _shown_columns(audit: Audit) -> list[dict[str, Any]]:
    """Columns of a table, what is no feature first: a row is found by it."""
    if isinstance(audit.train, Images):
        return []
    frame = _own(audit)
    return [{"name": name, "text": not pd.api.types.is_numeric_dtype(frame[name])} for name in frame.columns]


def _own(audit: Audit) -> pd.DataFrame:
    return pd.concat([audit.train.aside, audit.train.frame], axis=1).iloc[:, :_COLUMNS]


def _left_out(audit: Audit) -> int:
    """Columns of a table that the report does not show."""
    if isinstance(audit.train, Images):
        return 0
    return max(len(audit.train.aside.columns) + len(audit.train.frame.columns) - _COLUMNS, 0)


def _values(audit: Audit) -> Callable[[int], list[str]]:
    if isinstance(audit.train, Images):
        return lambda _: []
    frame = _own(audit)
    return lambda example: [_short(value) for value in frame.iloc[example]]


def _short(value: Any) -> str:
    if pd.isna(value):
        return ""
    text = f"{value:.4g}" if isinstance(value, float | np.floating) else str(value).removesuffix(" 00:00:00")
    return text if len(text) <= 40 else text[:39] + "…"
