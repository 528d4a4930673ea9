"""The measured ranking: labels changed on purpose are found, weigh what finds them, and say when nothing does."""

import re
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from l2rw_core import cli
from l2rw_core.audit import TABLE, Table, audit, ranking


def even(k, rate):
    """A channel in which a label becomes each other one alike."""
    return np.full((k, k), rate / (k - 1)) + np.eye(k) * (1 - rate - rate / (k - 1))


def test_a_few_labels_are_changed_and_each_into_another():
    y = np.arange(1000) % 4
    found = ranking.plant(y, np.full((1000, 4), 0.25), even(4, 0.2), 0)
    changed = np.flatnonzero(found.labels != y)
    np.testing.assert_array_equal(changed, found.ids)
    assert len(changed) == 40
    assert (y == np.arange(1000) % 4).all()
    again = ranking.plant(y, np.full((1000, 4), 0.25), even(4, 0.2), 0)
    np.testing.assert_array_equal(again.labels, found.labels)
    assert not np.array_equal(ranking.plant(y, np.full((1000, 4), 0.25), even(4, 0.2), 1).ids, found.ids)


def test_labels_are_changed_as_those_of_their_class_seem_to_be_wrong():
    """Labels of class 0 are right; of the others many became 0."""
    y = np.arange(3000) % 3
    channel = np.array([[1, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5]]) * 0.98 + 0.02 / 3
    found = ranking.plant(y, np.full((3000, 3), 1 / 3), channel, 0)
    assert (found.labels[found.ids] == 0).mean() > 0.9
    assert (y[found.ids] > 0).mean() > 0.9


def test_of_few_examples_none_is_changed():
    y = np.arange(30) % 2
    found = ranking.plant(y, np.full((30, 2), 0.5), even(2, 0.2), 0)
    assert len(found.ids) == 0
    np.testing.assert_array_equal(found.labels, y)


def test_the_channel_is_what_was_done_to_the_labels():
    rng = np.random.default_rng(0)
    truth = np.arange(3000) % 3
    x = np.eye(3)[truth] * 9 + rng.normal(size=(3000, 3))
    y = np.where(rng.random(3000) < 0.4, 0, truth)
    clean = np.arange(60) % 3
    found = ranking.channel(x, y, np.eye(3)[clean] * 9.0, clean, 3, 0)
    np.testing.assert_allclose(found, [[1, 0, 0], [0.4, 0.6, 0], [0.4, 0, 0.6]], atol=0.06)
    np.testing.assert_allclose(found.sum(1), 1)


def test_what_a_model_learned_from_wrong_labels_is_seen_through():
    channel = np.array([[1, 0, 0], [0.6, 0.4, 0], [0.6, 0, 0.4]])
    truth = np.eye(3)
    seen = ranking.seen_through(truth @ channel, channel, 200)
    np.testing.assert_allclose(seen, truth, atol=0.02)
    assert (ranking.doubts(truth @ channel, np.zeros(3, int))[1] < 0).all(), "as it is, nobody doubts a label 0"
    assert (ranking.doubts(seen, np.zeros(3, int))[1] > 0).tolist() == [False, True, True]


def test_a_class_that_is_fed_by_wrong_labels_is_known_by_the_channel():
    channel = np.array([[1, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5]])
    y = np.repeat([0, 1, 2], [200, 50, 50])  # of 100 each, half of two classes became 0
    np.testing.assert_allclose(ranking.wrong_by_class(y, channel), [0.5, 0.02, 0.02], atol=0.02)


def test_class_shares_are_those_of_the_data_not_of_the_trusted_examples():
    y, clean = np.array([0] * 90 + [1] * 10), np.array([0, 1] * 50)
    found = ranking.corrected(np.full((1, 2), 0.5), y, clean)
    np.testing.assert_allclose(found, [[0.9, 0.1]])


def test_probabilities_are_of_models_that_have_not_seen_the_label():
    """Labels that are noise cannot be told, however closely a model follows those that it has seen."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(600, 5)), rng.integers(0, 3, 600)
    for model in (ranking.linear, ranking.boosted, ranking.neighbours):
        p = model(x, y, 3, 0)
        np.testing.assert_allclose(p.sum(1), 1)
        assert abs((p.argmax(1) == y).mean() - 1 / 3) < 0.08, model.__name__


PERHAPS = np.full(2000, 0.2)


def signs(n=2000, good=2, bad=8, planted=60, seed=0):
    """Signs of which some are larger where labels were changed."""
    rng = np.random.default_rng(seed)
    ids = np.sort(rng.choice(n, planted, replace=False))
    changed = np.zeros(n)
    changed[ids] = 1
    found = {f"good {j}": rng.normal(size=n) + 2 * changed for j in range(good)}
    return found | {f"bad {j}": rng.normal(size=n) for j in range(bad)}, ids


def test_signs_that_find_changed_labels_count_and_others_do_not():
    found, ids = signs()
    w = ranking.weigh(found, ids, found, PERHAPS, 0)
    assert all(weight >= 0 for weight in w.weights.values())
    assert min(w.weights["good 0"], w.weights["good 1"]) > 2 * max(w.weights[f"bad {j}"] for j in range(8))
    assert 0.9 < w.auroc < 0.99
    assert w.trusted


@pytest.mark.parametrize("seed", range(5))
def test_many_signs_that_say_nothing_find_nothing(seed):
    """Weights fitted to the changed labels would find these again; those that had no part in them are not found."""
    found, ids = signs(good=0, bad=60, planted=60, seed=seed)
    w = ranking.weigh(found, ids, found, PERHAPS, seed)
    assert abs(w.auroc - 0.5) < 0.15


def test_a_changed_example_is_judged_by_the_label_that_it_was_given():
    found, ids = signs()
    own = {name: np.where(np.isin(np.arange(2000), ids), -1.0, values) for name, values in found.items()}
    w = ranking.weigh(found, ids, own, PERHAPS, 0)
    assert (w.decision[ids] < np.median(w.decision)).all()


def table(x, y):
    return Table(pd.DataFrame(x).add_prefix("a"), np.char.add("c", y.astype(str)), [str(i) for i in range(len(y))])


def noisy(kind, seed=0):
    """600 digits or fewer as a table of 64 columns, with wrong labels, and 50 trusted ones; which labels are wrong."""
    data = load_digits()
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(data.target))
    if kind == "uneven":
        keep = np.r_[True, rng.random(len(order) - 1) < 1 / (1 + data.target[order[1:]])]
        order = order[keep]
    trusted = np.concatenate([order[data.target[order] == c][:5] for c in range(10)])
    rest = order[~np.isin(order, trusted)][:600]
    truth = data.target[rest]
    y = truth.copy()
    flipped = rng.random(len(rest)) < (0.4 if kind == "background" else 0.2)
    to = {"background": np.full(len(rest), 3), "pairs": (truth + 1) % 10}
    y[flipped] = to.get(kind, (truth + rng.integers(1, 10, len(rest))) % 10)[flipped]
    return table(data.data[rest], y), table(data.data[trusted], data.target[trusted]), y != truth


@pytest.mark.parametrize("kind", ["uniform", "pairs", "background", "uneven"])
def test_the_default_ranks_no_worse_than_its_own_loss(kind):
    train, clean, wrong = noisy(kind)
    done = audit(train, clean, progress=False)
    score = done.suspects.sort_index()["label_score"]
    assert roc_auc_score(~wrong, score) > 0.95
    given = np.setdiff1d(np.arange(len(wrong)), done.planted)  # only of these is the loss one of the label as given
    alone = roc_auc_score(wrong[given], done.ledger.mean("loss")[given])
    assert roc_auc_score(~wrong[given], score[given]) > alone - 0.03
    assert done.weighing.trusted
    calls = done.suspects.sort_index()["is_label_issue"].to_numpy()
    assert wrong[calls].mean() > 0.75


def test_where_features_say_nothing_the_command_says_so_and_calls_no_label_wrong(tmp_path, capsys):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(530, 5)), columns=list("abcde")).assign(label=rng.integers(0, 3, 530))
    frame[:500].to_csv(tmp_path / "junk.csv", index=False)
    frame[500:].to_csv(tmp_path / "clean.csv", index=False)
    cli.main(
        ["audit", str(tmp_path / "junk.csv"), "--clean", str(tmp_path / "clean.csv"), "--out", str(tmp_path / "out")]
    )
    said = capsys.readouterr().out
    assert re.search(r"Models that never saw the 30 trusted examples get \d+ of them right", said)
    assert "31 labels were changed on purpose" in said
    assert "do not trust this ranking" in said
    assert "0 of 500 labels look wrong" in said
    assert not pd.read_csv(tmp_path / "out" / TABLE)["is_label_issue"].any()


def groups(shares, trusted, rng, n=800, rate=0.15):
    """Two tables of points around the centres of their classes, 15% of labels wrong; which ones are."""
    k = len(shares)
    centres = rng.normal(size=(k, 6)) * 2.2
    truth = np.r_[np.arange(k).repeat(5), rng.choice(k, n - 5 * k, p=np.array(shares) / sum(shares))]
    wrong = rng.random(n) < rate
    given = np.where(wrong, (truth + rng.integers(1, k, n)) % k, truth)
    clean = np.arange(k).repeat(trusted)
    frames = [pd.DataFrame(centres[y] + rng.normal(size=(len(y), 6))).add_prefix("a") for y in (truth, clean)]
    return (
        frames[0].assign(label=np.char.add("c", given.astype(str))),
        frames[1].assign(label=np.char.add("c", clean.astype(str))),
        wrong,
    )


@pytest.mark.parametrize(
    ("shares", "trusted", "swapped"),
    [
        pytest.param([1, 1, 1], [10, 10, 10], 3, id="a tenth of the trusted labels is wrong"),
        pytest.param([1, 1, 1], [30, 5, 2], 0, id="the clean set is uneven"),
        pytest.param([1, 1, 1, 1], [3, 3, 3, 3], 0, id="twelve trusted examples"),
        pytest.param([40, 20, 20, 10, 10, 5, 5, 5, 3, 3, 3], [4] * 11, 0, id="eleven uneven classes"),
        pytest.param([8, 1], [10, 10], 0, id="two classes, eight to one"),
    ],
)
def test_wrong_labels_come_first_and_their_number_is_known(shares, trusted, swapped, tmp_path, capsys):
    data, clean, wrong = groups(shares, trusted, np.random.default_rng(0))
    places = np.arange(swapped) * 10
    clean.loc[places, "label"] = clean["label"].iloc[(places + 10) % len(clean)].to_numpy()
    data.to_csv(tmp_path / "data.csv", index=False)
    clean.to_csv(tmp_path / "clean.csv", index=False)
    cli.main(
        ["audit", str(tmp_path / "data.csv"), "--clean", str(tmp_path / "clean.csv"), "--out", str(tmp_path / "o")]
    )
    said, table = capsys.readouterr().out, pd.read_csv(tmp_path / "o" / TABLE)
    called = table["is_label_issue"].to_numpy()
    assert roc_auc_score(~wrong, table["label_score"]) > 0.93
    assert wrong[called].mean() > 0.75
    assert called[wrong].mean() > 0.75
    about, missed = map(int, re.search(r"about (\d+) of them are, and about (\d+) more", said).groups())
    assert about == pytest.approx(wrong[called].sum(), rel=0.25)
    assert missed < 0.4 * wrong.sum()
    named = set(re.findall(r"row (\d+) \(c\d+\)", said.partition("Look at these trusted examples too")[2]))
    assert named >= {str(place + 1) for place in places}
    assert len(named) <= len(places) + 3


def test_a_ranking_that_finds_little_is_called_so():
    found, ids = signs(good=1, bad=3, planted=60)
    weak = {name: values * 0.3 + np.random.default_rng(1).normal(size=2000) for name, values in found.items()}
    w = ranking.weigh(weak, ids, weak, PERHAPS, 0)
    assert 0.5 < w.auroc < 0.75
    assert w.trusted
    assert w.little
    assert not ranking.weigh(found, ids, found, PERHAPS, 0).little


def test_trusted_examples_are_judged_by_models_that_learned_other_labels():
    """A trusted label that no given label speaks for is doubted; the labels of the trusted have no part in it."""
    rng = np.random.default_rng(0)
    y, clean = np.arange(300) % 3, np.arange(30) % 3
    x, clean_x = (np.eye(3)[labels] * 6 + rng.normal(size=(len(labels), 3)) for labels in (y, clean))
    for trees in (True, False):
        said = ranking.of_trusted(x, y, clean_x, 3, 0, trees)
        np.testing.assert_allclose(said.sum(1), 1)
        assert (said.argmax(1) == clean).mean() > 0.95


@pytest.mark.parametrize("share", [0.05, 0.15, 0.4])
@pytest.mark.parametrize("apart", [1.2, 3.0])
def test_right_labels_that_look_suspect_do_not_count_as_wrong(share, apart):
    """Two normal distributions whose log ratio of densities is the decision itself."""
    rng = np.random.default_rng(0)
    n = 4000
    wrong = rng.random(n) < share
    decision = rng.normal(np.where(wrong, 1, -1) * apart**2 / 2, apart)
    assert ranking._noise(decision) == pytest.approx(share, abs=0.03)


def test_components_are_found_without_a_copy_of_all_images(monkeypatch):
    monkeypatch.setattr(ranking, "_MOST_ROWS", 1_000)
    rng = np.random.default_rng(0)
    x = rng.random((8_000, 16, 16, 3), dtype=np.float32).transpose(0, 3, 1, 2)
    before = x[5_000].copy()
    tracemalloc.start()
    train, clean = ranking.compact(x, x[:10], 0, 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < x.nbytes / 2
    assert train.shape == (8_000, 20)
    np.testing.assert_allclose(clean, train[:10], rtol=1e-3, atol=1e-3)
    assert np.array_equal(x[5_000], before)
