"""From labels.csv to mended data, and to the examples that are checked next, through the command."""

import numpy as np
import pandas as pd
import pytest

from l2rw_core import cli
from l2rw_core.audit import TABLE


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A table with text that a reader might change, and an audit of it that calls two labels wrong."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.csv").write_text(
        'code;note;label\n007;"a;b";=1\n1e5;NA;dog\n1.50; x ;=1\n0;;dog\n9;y;dog\n', encoding="utf-8"
    )
    (tmp_path / "audit").mkdir()
    table = pd.DataFrame(
        {
            "id": range(5),
            "name": [f"row {n}" for n in range(1, 6)],
            "given_label": ["'=1", "dog", "'=1", "dog", "dog"],
            "predicted_label": ["dog", "dog", "'=1", "'=1", "dog"],
            "label_score": [0.1, 0.9, 0.8, 0.3, 0.95],
            "is_label_issue": [True, False, False, True, False],
        }
    )
    table.to_csv(tmp_path / "audit" / TABLE, index=False)
    return tmp_path


def read(path):
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def test_wrong_labels_are_dropped_and_every_other_cell_stays_as_it_was_written(place):
    cli.main(["audit", "apply", "data.csv"])
    assert read("mended.csv").to_numpy().tolist() == [["1e5", "NA", "dog"], ["1.50", " x ", "=1"], ["9", "y", "dog"]]


def test_wrong_labels_get_the_suggested_ones_as_the_data_write_them(place):
    cli.main(["audit", "apply", "data.csv", "--how", "relabel", "--out", "new.csv"])
    assert read("new.csv")["label"].tolist() == ["dog", "dog", "=1", "=1", "dog"]
    assert read("new.csv")["code"].tolist() == ["007", "1e5", "1.50", "0", "9"]


def test_wrong_labels_count_less(place):
    cli.main(["audit", "apply", "data.csv", "--how", "weight"])
    assert read("mended.csv")["label_weight"].astype(float).tolist() == [0.2, 1, 1, 0.6, 1]


def test_what_a_person_decided_in_the_table_is_what_is_done(place):
    table = pd.read_csv(place / "audit" / TABLE)
    table["is_label_issue"] = ["FALSE", "TRUE", "FALSE", "FALSE", "FALSE"]  # as a spreadsheet writes it
    table.to_csv(place / "audit" / TABLE, index=False)
    cli.main(["audit", "apply", "data.csv"])
    assert read("mended.csv")["code"].tolist() == ["007", "1.50", "0", "9"]


@pytest.mark.parametrize("written", ["data.csv", "data.parquet"])
def test_the_column_of_the_labels_is_the_one_that_was_audited(place, written):
    table = pd.read_csv("data.csv", sep=";", dtype=str)
    table = table.rename(columns={"label": "diagnosis"}).assign(label="x", note=["a", None, "b", "c", "d"])
    table.to_csv(written, index=False) if written.endswith("csv") else table.to_parquet(written)
    cli.main(["audit", "apply", written, "--how", "relabel"])
    assert read("mended.csv")["diagnosis"].tolist() == ["dog", "dog", "=1", "=1", "dog"]
    assert set(read("mended.csv")["label"]) == {"x"}


def of_images(place):
    """The same audit, of images."""
    table = pd.read_csv(place / "audit" / TABLE)
    table["name"] = [f"{'dog' if label == 'dog' else 'eq'}/{n}.png" for n, label in enumerate(table["given_label"])]
    table.to_csv(place / "audit" / TABLE, index=False)
    for name in table["name"]:
        (place / "scans" / name).parent.mkdir(parents=True, exist_ok=True)
        (place / "scans" / name).write_bytes(b"")


def test_of_images_it_is_a_list(place):
    of_images(place)
    cli.main(["audit", "apply", "scans", "--how", "relabel"])
    assert read("mended.csv").columns.tolist() == ["name", "label"]
    assert read("mended.csv")["label"].tolist() == ["dog", "dog", "=1", "=1", "dog"]


def test_other_images_than_those_that_were_audited_are_refused(place, capsys):
    of_images(place)
    (place / "scans" / "dog" / "1.png").unlink()
    for data, message in (
        ("scans", "scans lacks 1 of the 5 files that the audit saw, dog/1.png"),
        ("none", "there is no"),
    ):
        with pytest.raises(SystemExit):
            cli.main(["audit", "apply", data])
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("order", [[4, 3, 2, 1, 0], [2, 3, 0, 1, 4]])
def test_rows_that_somebody_sorted_are_those_of_their_ids(order, place):
    """In the second order each row has the label that was in its place."""
    table = pd.read_csv(place / "audit" / TABLE)
    table.iloc[order].to_csv(place / "audit" / TABLE, index=False)
    cli.main(["audit", "apply", "data.csv"])
    assert read("mended.csv")["code"].tolist() == ["1e5", "1.50", "9"]


@pytest.mark.parametrize(("yes", "no"), [("WAHR", "FALSCH"), ("VRAI", "FAUX"), ("TRUE", "FALSE"), ("1", "0")])
def test_a_spreadsheet_may_have_saved_the_table_in_its_own_way(yes, no, place):
    table = pd.read_csv(place / "audit" / TABLE)
    table["is_label_issue"] = np.where(table["is_label_issue"], yes, no)
    table.to_csv(place / "audit" / TABLE, index=False, sep=";", decimal=",", encoding="utf-8-sig")
    cli.main(["audit", "apply", "data.csv", "--how", "weight"])
    assert read("mended.csv")["label_weight"].astype(float).tolist() == [0.2, 1, 1, 0.6, 1]


def test_a_label_that_no_row_had_is_named_and_blanks_around_one_are_cut(place, capsys):
    table = pd.read_csv(place / "audit" / TABLE)
    table.loc[[0, 3], "predicted_label"] = ["dgo", " dog "]
    table.to_csv(place / "audit" / TABLE, index=False)
    cli.main(["audit", "apply", "data.csv", "--how", "relabel"])
    assert read("mended.csv")["label"].tolist() == ["dgo", "dog", "=1", "dog", "dog"]
    assert "No row of the data had the label 'dgo': if that is a slip, correct labels.csv" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.iloc[[0, 1, 2, 4]], "has 4 rows and none of id 3: keep each of its rows, and once"),
        (lambda table: table.iloc[[0, 1, 1, 3, 4]], "has 5 rows and none of id 2: keep each of its rows, and once"),
        (lambda table: table.assign(predicted_label=""), "predicted_label of id 0 is empty: name a label, or set"),
        (lambda table: table.assign(is_label_issue="maybe"), "is_label_issue of id 0 is neither True nor False"),
        (lambda table: table.drop(columns="id"), "lacks the column 'id'"),
    ],
)
def test_a_table_that_somebody_spoiled_is_refused(change, message, place, capsys):
    change(pd.read_csv(place / "audit" / TABLE)).to_csv(place / "audit" / TABLE, index=False)
    with pytest.raises(SystemExit):
        cli.main(["audit", "apply", "data.csv", "--how", "relabel"])
    assert message in capsys.readouterr().err
    assert not (place / "mended.csv").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda place: (place / "data.csv").write_text("label\ndog\n"), "has 1 rows and the audit saw 5"),
        (
            lambda place: (place / "data.csv").write_text("a,label\n" + "1,dog\n" * 5),
            "has the label 'dog' in row 1, and the audit saw \"'=1\"",
        ),
        (lambda place: (place / "audit" / TABLE).unlink(), "name the folder that l2rw audit wrote with --audit"),
        (lambda place: (place / "mended.csv").write_text("mine"), "mended.csv is there already"),
        (
            lambda place: (place / "audit" / TABLE).write_text("id,name\n0,row 1\n"),
            "lacks the column 'given_label'",
        ),
    ],
)
def test_another_table_is_refused_and_nothing_is_written(change, message, place, capsys):
    change(place)
    before = {path.name for path in place.iterdir()}
    with pytest.raises(SystemExit):
        cli.main(["audit", "apply", "data.csv"])
    assert message in capsys.readouterr().err
    assert {path.name for path in place.iterdir()} == before


def test_half_of_what_is_checked_next_is_suspect_and_half_is_like_the_data(place):
    rng = np.random.default_rng(0)
    classes = np.array(["common"] * 900 + ["rare"] * 100)
    table = pd.DataFrame({"id": range(1000), "name": [f"row {n}" for n in range(1, 1001)], "given_label": classes})
    table = table.assign(predicted_label=classes, label_score=rng.random(1000), is_label_issue=False)
    table.to_csv(place / "audit" / TABLE, index=False)
    cli.main(["audit", "choose", "200"])
    found = pd.read_csv("to_check.csv")
    suspect, drawn = (found[found["why"] == why] for why in ("suspect", "drawn"))
    assert len(suspect) == len(drawn) == 100
    assert set(suspect["id"]) == set(table.nsmallest(100, "label_score")["id"])
    assert not set(suspect["id"]) & set(drawn["id"])
    assert 3 <= (drawn["given_label"] == "rare").sum() <= 20
    cli.main(["audit", "choose", "4", "--out", "few.csv"])
    assert set(pd.read_csv("few.csv").query("why == 'drawn'")["given_label"]) == {"common", "rare"}


@pytest.mark.parametrize("count", [0, 6])
def test_more_examples_than_there_are_cannot_be_chosen(count, place, capsys):
    with pytest.raises(SystemExit):
        cli.main(["audit", "choose", str(count)])
    assert f"choose between 1 and 5 examples, got {count}" in capsys.readouterr().err
