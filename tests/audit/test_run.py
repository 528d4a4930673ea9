"""An audit finds labels known to be wrong, in one process and in another, and can be killed at any time."""

import os
import re
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from samples import folders, frames, sample
from sklearn.metrics import roc_auc_score

from l2rw_core import cli
from l2rw_core.audit import CHECKPOINT, REPORT, TABLE, AuditProblem, Images, Options, Table, audit, encode, run
from l2rw_core.audit.run import FEW_TO_FOLD, _folds, _plain, _Training


def as_images(s):
    return tuple(
        Images(x[..., None], y.astype(str), [f"{i}" for i in range(len(y))])
        for x, y in ((s.x, s.y), (s.clean_x, s.clean_y))
    )


def as_tables(s):
    return tuple(
        Table(f.drop(columns="label"), f["label"].to_numpy(dtype=str), [f"row {i}" for i in range(len(f))])
        for f in frames(s)
    )


@pytest.fixture(scope="module")
def wine():
    return as_tables(sample("wine"))


@pytest.fixture(scope="module")
def done(wine):
    torch.manual_seed(5)
    return audit(*wine, progress=False)


@pytest.fixture(scope="module")
def done_images():
    return audit(*as_images(sample("digits")), progress=False)


@pytest.mark.parametrize(("name", "audited"), [("digits", "done_images"), ("wine", "done")])
def test_wrong_labels_come_first_and_most_right_ones_are_left_alone(name, audited, request):
    s = sample(name)
    table = request.getfixturevalue(audited).suspects.sort_index()
    assert roc_auc_score(~s.wrong, table["label_score"]) > 0.9
    issue = table["is_label_issue"].to_numpy()
    assert issue[s.wrong].mean() > 0.65
    assert issue[~s.wrong].mean() < 0.1


@pytest.mark.parametrize(("name", "pair"), [("digits", as_images), ("wine", as_tables)])
def test_right_labels_are_hardly_ever_called_wrong(name, pair):
    s = sample(name, rate=0)
    assert audit(*pair(s), progress=False).suspects["is_label_issue"].mean() < 0.1


def test_a_rare_class_is_not_simply_suspect():
    s = sample("digits", rate=0)
    rng = np.random.default_rng(0)
    rare = np.flatnonzero(s.y == 2)[12:]
    kept = np.setdiff1d(np.arange(len(s.y)), rare)
    y = s.y[kept]
    wrong = (y < 2) & (rng.random(len(y)) < 0.2)
    train, clean = as_images(s)
    train = Images(train.x[kept], np.where(wrong, 1 - y, y).astype(str), [f"{i}" for i in kept])
    table = audit(train, clean, progress=False).suspects.sort_index()
    assert (y == 2).sum() == 12
    assert table["is_label_issue"][y == 2].sum() <= 1
    assert roc_auc_score(~wrong, table["label_score"]) > 0.95
    assert table["label_score"][y == 2].median() > table["label_score"][wrong].quantile(0.9)


def test_the_same_seed_gives_the_same_table_and_leaves_the_callers_random_state(wine, monkeypatch):
    monkeypatch.setattr(run, "LEAST_STEPS", 20)

    def found(seed):
        return audit(*wine, Options(seed=seed, epochs=10), progress=False).suspects

    torch.manual_seed(5)
    first = found(0)
    torch.manual_seed(6)
    before = torch.get_rng_state()
    pd.testing.assert_frame_equal(found(0), first)
    assert torch.equal(torch.get_rng_state(), before)
    assert not found(1)["loss"].equals(first["loss"])


def test_changed_labels_are_given_back_and_the_trusted_ones_are_left_alone(wine, done):
    """Compared with tables made anew: these have been through the audit."""
    for part, fresh in zip(wine, as_tables(sample("wine")), strict=True):
        assert (part.labels == fresh.labels).all()
    assert len(done.planted) == done.weighing.planted > 0
    found = done.suspects.sort_index()
    assert found["given_label"].tolist() == wine[0].labels.tolist()
    assert found["weight"].isna().to_numpy().nonzero()[0].tolist() == done.planted.tolist()
    assert found["label_score"].notna().all()


def test_suggestions_that_are_often_wrong_are_not_to_be_taken_unseen(done):
    def advice(right):
        said = np.eye(3)[(done.problem.clean_y.numpy() + 1) % 3]
        said[:right] = np.eye(3)[done.problem.clean_y.numpy()[:right]]
        found = [finding for finding in replace(done, trusted=said).findings if "rather than" in finding]
        return found[0] if found else ""

    count = len(done.problem.clean_y)
    assert f"of {count} trusted labels, models that never saw them find {count // 2}," in advice(count // 2)
    assert advice(count - 1) == ""


def test_of_few_images_a_step_takes_fewer(done, done_images):
    """So three hundred thumbnails take seconds; what somebody asks for is done."""
    assert (done.options.batch_size, done_images.options.batch_size) == (100, 32)
    assert done_images.ledger.seen.sum() == 32 * done_images.steps
    few, many = (as_images(sample("digits", most=most))[0] for most in (30, 300))
    for data, asked, got in ((few, None, 32), (many, 7, 7)):
        assert Options(batch_size=asked).on(encode(data, data)).batch_size == got


@pytest.mark.parametrize(("rows", "size"), [(2_000, 100), (20_000, 100), (60_000, 300), (100_000, 500), (900_000, 500)])
def test_of_many_rows_a_step_takes_more(rows, size):
    """A pass over them takes no more than some hundred steps; what somebody asks for is done."""
    x, y = torch.zeros(rows, 1), torch.zeros(rows, dtype=torch.int64)
    table = AuditProblem(x, y, x[:9], y[:9], ["a", "b"])
    assert Options().on(table).batch_size == size
    assert Options(batch_size=7).on(table).batch_size == 7
    pictures = replace(table, x=x[:, :, None, None])
    assert Options().on(pictures).batch_size == 100


def test_an_example_is_explained_by_clean_examples_and_layers(wine, done):
    s = sample("wine")
    worst = int(done.suspects.index[0])
    why = done.explain(worst)
    assert s.wrong[worst]
    assert why.alignment < 0
    assert set(why.clean["name"]) == set(wine[1].names)
    assert why.clean["share"].sum() == pytest.approx(why.layers["share"].sum(), rel=1e-4)
    with pytest.raises(ValueError, match=rf"no example {len(s.y)}: ids go from 0 to {len(s.y) - 1}"):
        done.explain(len(s.y))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"clean_batch_size": -1}, "clean_batch_size must be at least 1"),
        ({"lr": float("inf")}, "lr must be positive"),
        ({"by": "charm"}, "unknown signal 'charm'; choose one of measured, both"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Options(**options)


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    root = tmp_path_factory.mktemp("tables")
    for name, frame in zip(("data", "clean"), frames(sample("wine")), strict=True):
        frame.to_csv(root / f"{name}.csv", index=False)
    return root


def arguments(root, out, *more):
    return ["audit", str(root / "data.csv"), "--clean", str(root / "clean.csv"), "--out", str(out), *more]


def test_killed_it_goes_on_and_ends_as_if_never_stopped(tables, tmp_path):
    """One process is killed, a second one never is; the first is then finished in this process."""
    command = [sys.executable, "-m", "l2rw_core", *arguments(tables, tmp_path / "killed", "--epochs", "160")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        last = time.monotonic() + 300
        while not (tmp_path / "killed" / CHECKPOINT).exists():
            assert process.poll() is None
            assert time.monotonic() < last, "no checkpoint after five minutes"
            time.sleep(0.02)
        process.kill()
    assert [path.name for path in (tmp_path / "killed").iterdir() if path.name in (REPORT, TABLE)] == []
    command = [sys.executable, "-m", "l2rw_core", *arguments(tables, tmp_path / "whole", "--epochs", "160")]
    whole = subprocess.run(command, capture_output=True, text=True, check=False)
    assert whole.returncode == 0, whole.stderr
    assert whole.stderr == ""
    assert "labels look wrong" in whole.stdout
    cli.main(arguments(tables, tmp_path / "killed", "--epochs", "160"))
    for name in (REPORT, TABLE):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "whole").iterdir()) == sorted((REPORT, TABLE))


def test_a_folder_of_images_from_the_command_line(tmp_path, capsys):
    s = sample("digits", most=120)
    data, clean = folders(s, tmp_path)
    cli.main(["audit", str(data), "--clean", str(clean), "--out", str(tmp_path / "out"), "--shown", "5"])
    told = capsys.readouterr().out
    table = pd.read_csv(tmp_path / "out" / TABLE)
    assert f"{table['is_label_issue'].sum()} of {len(s.y)} labels look wrong" in told
    wrong = [s.wrong[int(name[-8:-4])] for name in table["name"]]
    assert roc_auc_score(~np.array(wrong), table["label_score"]) > 0.9
    assert (tmp_path / "out" / REPORT).read_text().count("<img") == 5


def test_networks_speak_of_images_that_they_have_not_seen():
    """Labels that nothing in the image tells can be learned by heart, and not be guessed."""
    rng = np.random.default_rng(0)
    x, y = torch.from_numpy(rng.random((60, 1, 8, 8), dtype=np.float32)), torch.from_numpy(rng.integers(0, 2, 60))
    problem = AuditProblem(x, y, x[:4], y[:4], ["a", "b"])
    plain = _plain(_Training(problem, Options(lr=1e-2)), progress=False)
    seen, unseen = (p[np.arange(60), y] for p in (plain.probabilities, plain.unseen))
    assert seen.mean() > 0.85
    assert abs(unseen.mean() - 0.5) < 0.15
    assert plain.loss.shape == (60,)
    table = replace(problem, x=x.flatten(1), clean_x=x[:4].flatten(1))
    assert _plain(_Training(table, Options(epochs=1)), progress=False).unseen is None


@pytest.mark.parametrize(("n", "number"), [(11, 5), (FEW_TO_FOLD, 5), (FEW_TO_FOLD + 1, 2)])
def test_folds_hold_every_image_once(n, number):
    folds = _folds(n, 0)
    assert len(folds) == number
    assert torch.equal(torch.cat(folds).sort().values, torch.arange(n))
    assert max(map(len, folds)) - min(map(len, folds)) <= 1


def test_the_report_is_written_also_if_nobody_reads_what_is_said(tables, tmp_path):
    """As with `| head -1`."""
    command = [sys.executable, "-m", "l2rw_core", *arguments(tables, tmp_path / "out", "--epochs", "1", "--shown", "1")]
    environment = os.environ | {"L2RW_PROGRESS": "0", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        process.stdout.close()
        said = process.stderr.read().decode()
    assert process.returncode == 141
    assert said == ""
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted((REPORT, TABLE))


def test_bars_do_not_fill_a_log(tables, tmp_path):
    command = [sys.executable, "-m", "l2rw_core", *arguments(tables, tmp_path / "out", "--shown", "1")]
    start = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"L2RW_PROGRESS": "1"})
    states = Counter(re.findall(r"(?:^|[\r\n])([^\r\n:]+): +\d+%", done.stderr))  # by the bar's whole name
    models = ("training, equal weights", "other models, before training", "other models, after training")
    assert set(states) == {"reading", "looking for duplicates", "training", "writing", *models}
    assert max(states.values()) <= 2 + (time.monotonic() - start) / 10


def test_a_checkpoint_of_other_data_or_of_none_is_refused(tables, tmp_path, done, capsys):
    file = tmp_path / CHECKPOINT
    other = _Training(done.problem, Options(seed=3))
    other.save(file)
    for content, message in (
        (file.read_bytes(), "belongs to an audit of other data or with other options: delete it to start anew"),
        (file.read_bytes()[:-1], "is damaged or is not a checkpoint: delete it"),
        (b"something else", "is damaged or is not a checkpoint: delete it"),
    ):
        file.write_bytes(content)
        with pytest.raises(SystemExit):
            cli.main(arguments(tables, tmp_path))
        assert message in capsys.readouterr().err
        assert file.read_bytes() == content
        assert list(tmp_path.iterdir()) == [file]


def test_an_earlier_report_is_not_overwritten(tables, tmp_path, capsys):
    (tmp_path / TABLE).write_text("mine")
    with pytest.raises(SystemExit):
        cli.main(arguments(tables, tmp_path))
    assert "is there already: name another folder with --out, or move it away" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [TABLE]
    assert (tmp_path / TABLE).read_text() == "mine"
