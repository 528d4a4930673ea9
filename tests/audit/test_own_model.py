"""A network, probabilities and features that somebody brings go through the command, or are refused in one line."""

import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score
from torch import nn

from l2rw_core import cli
from l2rw_core.audit import REPORT, TABLE, Options, Own, audit, encode, own, read_pair, report, run
from l2rw_core.audit.pace import in_words

RNG = np.random.default_rng(0)
N, CLEAN = 120, 24
MODULES = """
import torch
from torch import nn
saw = []
class Net(nn.Module):
    def __init__(self, num_classes=7):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.LazyLinear(8), nn.ReLU(), nn.Linear(8, num_classes))
    def forward(self, x):
        saw.append(tuple(x.shape[1:]))
        return self.layers(x)
def wrong():
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(2))
def frozen(num_classes):
    return inner.net.requires_grad_(False)
def broken():
    raise RuntimeError("no such luck\\nsecond line")
def no_module():
    return 3
class inner:
    net = Net(3)
    net(torch.zeros(2, 2))
    saw.clear()
number = 5
"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder with a table of three classes, two columns that tell them apart, and a module of networks."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "LEAST_STEPS", 3)
    monkeypatch.setattr(report, "_histogram", lambda table: "")  # it would take half of the time
    for name, n in (("data", N), ("clean", CLEAN)):
        table(n).to_csv(f"{name}.csv", index=False)
    (tmp_path / "own_nets.py").write_text(MODULES)
    yield tmp_path
    sys.modules.pop("own_nets", None)


def table(n):
    y = np.arange(n) % 3
    x = np.stack([np.cos(y * 2), np.sin(y * 2)], 1) * 3 + np.random.default_rng(n).normal(size=(n, 2))
    return pd.DataFrame(x, columns=["a", "b"]).assign(label=np.array(["01", "cat", "dog"])[y])


def images(root, shape=(28, 28)):
    for name, n in (("scans", 40), ("checked", 12)):
        for number in range(n):
            folder = root / name / "uv"[number % 2]
            folder.mkdir(parents=True, exist_ok=True)
            pixels = RNG.integers(0, 200, shape).astype(np.uint8)
            pixels[4:9] += np.uint8(50 * (number % 2))
            Image.fromarray(pixels).save(folder / f"{number:02}.png")


def command(*more, data="data.csv", clean="clean.csv"):
    cli.main(["audit", data, "--clean", clean, "--out", "out", "--epochs", "1", "--shown", "1", *more])
    return pd.read_csv(f"out/{TABLE}", dtype={"given_label": str, "predicted_label": str})


def facts():
    page = Path("out", REPORT).read_text(encoding="utf-8")
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def refused(capsys, *more, data="data.csv", clean="clean.csv"):
    with pytest.raises(SystemExit) as stop:
        cli.main(["audit", data, "--clean", clean, "--out", "out", *more])
    told = capsys.readouterr()
    assert stop.value.code == 2
    assert told.out == ""
    assert len(told.err.splitlines()) == 1
    return told.err


# Networks


@pytest.mark.parametrize("shape", [(28, 28), (32, 32, 3)])
def test_a_network_of_torchvision_takes_grey_and_coloured_images(shape, place):
    images(place, shape)
    found = command("--model", "squeezenet1_1", data="scans", clean="checked")
    assert set(found["given_label"]) == {"u", "v"}
    assert "squeezenet1_1, 723,522 parameters" in facts(), "its last layer is of two classes"


def test_it_is_built_without_weights(monkeypatch):
    from torchvision import models

    asked = {}
    monkeypatch.setattr(models, "get_model", lambda name, **options: asked.update(options) or nn.Linear(2, 3))
    own.find_model("resnet18", 3)()
    assert asked == {"weights": None, "num_classes": 3}


@pytest.mark.parametrize("name", ["own_nets:Net", "own_nets:inner.net"])
def test_a_network_by_its_import_path_is_the_one_that_trains(name):
    command("--model", name)
    assert f"{name}, 51 parameters" in facts(), "of a lazy layer too: two features, three labels"
    assert set(sys.modules["own_nets"].saw) == {(2,)}


def test_a_saved_module_starts_from_the_parameters_that_it_was_saved_with(place):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 3))
    torch.save(model, place / "net.pt")
    train, clean = read_pair("data.csv", "clean.csv")
    problem = encode(train, clean, Own(own.find_model("net.pt", 3), "net.pt"))
    first, second = problem.build_model(), problem.build_model()
    for a, b, c in zip(model.parameters(), first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)
        assert b is not c, "each training has its own copy"
    command("--model", "net.pt")
    assert "net.pt, 51 parameters" in facts()


MODELS = {
    "resnet1": "torchvision has no network 'resnet1' ('resnet101', 'resnet152'",
    "none.pt": "there is no file none.pt: name one that torch.save(model, file) wrote",
    "data.csv": "data.csv cannot be read as a saved module: ",
    "weights.pt": "weights.pt holds parameters alone and no module: save the whole module",
    "tensor.pt": "tensor.pt holds a Tensor and no module",
    "nowhere:Net": "the model 'nowhere:Net' cannot be imported: No module named 'nowhere'",
    "own_nets:Nett": "cannot be imported: module 'own_nets' has no attribute 'Nett'",
    "own_nets:number": "'own_nets:number' is a int: name a module, or what builds one",
    "own_nets:wrong": "the model own_nets:wrong must return (n, 3) logits, one for each label, and returned (2, 2)",
    "own_nets:frozen": "has no parameter that learns",
    "own_nets:broken": "cannot be used on examples of shape (2,): no such luck; choose",
    "own_nets:no_module": "cannot be used on examples of shape (2,): ",
    "resnet18": "the model resnet18 cannot be used on examples of shape (2,): ",
}


@pytest.mark.parametrize("model", MODELS)
def test_what_is_no_network_for_these_data_is_refused_and_nothing_is_written(model, place, capsys):
    torch.save(nn.Linear(2, 3).state_dict(), place / "weights.pt")
    torch.save(torch.zeros(3), place / "tensor.pt")
    assert MODELS[model] in refused(capsys, "--model", model)
    assert not (place / "out").exists()


# Probabilities


def predictions(sure=0.8):
    """What a good model says, and the ids of two labels that it is sure are something else."""
    y = np.arange(N) % 3
    p = np.full((N, 3), (1 - sure) / 2)
    p[np.arange(N), y] = sure
    p[[5, 40]] = p[[5, 40]][:, [1, 2, 0]]
    return p


def written(form, p, classes=("01", "cat", "dog")):
    frame = pd.DataFrame(p, columns=classes)
    if form == "npy":
        np.save("p.npy", p)
    elif form == "npz":
        np.savez("p.npz", p)
    elif form == "names in another order":
        frame[["dog", "01", "cat"]].to_csv("p.csv", index=False)
    elif form == "row numbers":
        frame.to_csv("p.csv")
    elif form == "numbers for names":
        pd.DataFrame(p).to_csv("p.csv", index=False)
    else:
        pytest.importorskip("pyarrow")
        frame.to_parquet("p.parquet")
    return {"npy": "p.npy", "npz": "p.npz", "parquet": "p.parquet"}.get(form, "p.csv")


@pytest.mark.parametrize(
    "form", ["npy", "npz", "names in another order", "row numbers", "numbers for names", "parquet"]
)
def test_probabilities_are_read_by_the_names_of_the_labels_or_in_their_order(form, place):
    path = written(form, predictions())
    np.testing.assert_allclose(own.read_probabilities(place / path, ["01", "cat", "dog"]), predictions())


def test_predictions_of_somebodys_model_decide_where_nothing_else_can(place, capsys):
    """Columns that say little; predictions from elsewhere that know the truth, though not surely."""
    for name, n in (("data", 600), ("clean", CLEAN)):
        noise = np.random.default_rng(n + 1).normal(size=(n, 2)) * 5
        table(n).assign(a=table(n)["a"] + noise[:, 0], b=table(n)["b"] + noise[:, 1]).to_csv(f"{name}.csv", index=False)
    frame, wrong = pd.read_csv("data.csv", dtype={"label": str}), np.zeros(600, dtype=bool)
    truth = frame["label"].copy()
    wrong[::9] = True
    frame.loc[wrong, "label"] = truth[wrong].map({"01": "cat", "cat": "dog", "dog": "01"})
    frame.to_csv("data.csv", index=False)
    p = 0.1 + 0.7 * pd.get_dummies(truth).to_numpy(dtype=float)
    np.save("p.npy", p)
    assert roc_auc_score(~wrong, command("--epochs", "20")["label_score"]) < 0.8
    Path("out").rename("without")
    found = command("--epochs", "20", "--probabilities", "p.npy")
    called = found["is_label_issue"].to_numpy()
    assert wrong[called].mean() > 0.9
    assert called[wrong].mean() > 0.5
    assert roc_auc_score(~wrong, found["label_score"]) > 0.95
    assert (found["predicted_label"] == truth).mean() > 0.95
    assert "own model" in facts()
    assert "in any other order" not in capsys.readouterr().out


def test_rows_in_another_order_are_noticed(capsys):
    np.save("p.npy", predictions()[np.random.default_rng(0).permutation(N)])
    command("--probabilities", "p.npy")
    assert re.search(
        r"Your probabilities agree with \d\d% of the labels, as they would in any", capsys.readouterr().out
    )


PROBABILITIES = {
    "shape (119, 3) and the data 120 examples of 3 labels: give (120, 3)": lambda: predictions()[1:],
    "have shape (120, 2)": lambda: predictions()[:, 1:],
    "have shape (120,)": lambda: predictions()[:, 0],
    "the probabilities of row 3 are 3, 0, 0, and 3 together: they must be 0 or more": lambda: np.where(
        np.arange(N)[:, None] == 2, [[3.0, 0, 0]], predictions()
    ),
    "the probabilities of row 1 are -1, 1, 1": lambda: np.tile([-1.0, 1, 1], (N, 1)),
    "hold what is no finite number": lambda: np.where(predictions() > 0.5, np.nan, predictions()),
    "the probabilities hold what is no": lambda: predictions().astype(str),
}


@pytest.mark.parametrize("message", PROBABILITIES)
def test_what_is_no_probability_is_refused_and_nothing_is_written(message, place, capsys):
    np.save("p.npy", PROBABILITIES[message]())
    assert message in refused(capsys, "--probabilities", "p.npy")
    assert not (place / "out").exists()


FILES = {
    "p.npy": (b"junk", "p.npy cannot be read as plain arrays"),
    "p.csv": (b"01,cat\n.5,.5\n", "p.csv has no column 'dog': name a column after each label, or 0 to 2 for"),
    "q.csv": (b"01,cat,dog,cow\n.5,.5,0,0\n", "q.csv has a column 'cow', which is no label of the data"),
    "p.parquet": (b"junk", "p.parquet cannot be read as a table"),
    "p.json": (b"[]", "p.json is none of .npy, .npz, .csv, .tsv, .parquet"),
    "none.npy": (None, "there is no file none.npy"),
    "none.csv": (None, "there is no file none.csv"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_without_probabilities_is_refused_and_nothing_is_written(name, place, capsys):
    content, message = FILES[name]
    if content is not None:
        (place / name).write_bytes(content)
    assert message in refused(capsys, "--probabilities", name)
    assert not (place / "out").exists()


def test_objects_are_not_unpickled(place, capsys):
    np.save("p.npy", np.array([{"a": 1}] * N, dtype=object), allow_pickle=True)
    assert "p.npy cannot be read as plain arrays: Object arrays" in refused(capsys, "--probabilities", "p.npy")


def test_probabilities_in_a_ranking_by_one_sign_are_refused(place, capsys):
    np.save("p.npy", predictions())
    told = refused(capsys, "--probabilities", "p.npy", "--by", "loss")
    assert "probabilities count in a measured ranking, and not by loss: leave one of them out" in told
    assert not (place / "out").exists()


# Features


def test_features_stand_in_for_pixels_and_the_report_still_shows_the_pictures(place):
    """Images of noise; features from elsewhere that tell them apart, of a wide range."""
    rng = np.random.default_rng(0)
    for name, n in (("scans", N), ("checked", CLEAN)):
        (place / name).mkdir()
        for number in range(n):
            folder = place / name / "uv"[number * 2 // n]
            folder.mkdir(exist_ok=True)
            Image.fromarray(rng.integers(0, 255, (8, 8)).astype(np.uint8)).save(folder / f"{number:03}.png")
    truth, trusted = np.arange(N) * 2 // N, np.arange(CLEAN) * 2 // CLEAN
    wrong = np.arange(N) % 10 == 3
    is_class = truth ^ wrong
    parts = {
        name: rng.normal(size=(len(y), 300)) * 1e4 + 3e4 * y[:, None] * (np.arange(300) < 20)
        for name, y in (("data", is_class), ("clean", trusted))
    }
    np.savez("f.npz", **parts)
    found = command("--features", "f.npz", "--epochs", "20", data="scans", clean="checked")
    assert roc_auc_score(~wrong, found["label_score"]) > 0.9
    assert "the model saw 300 features of your own" in facts()
    assert "<img" in (place / "out" / REPORT).read_text()


FEATURES = {
    "f.npz has no array 'clean', and holds 'data'": {"data": np.ones((N, 2))},
    "the features of the data have shape (119, 2): give (120, D)": {
        "data": np.ones((119, 2)),
        "clean": np.ones((24, 2)),
    },
    "the features of the trusted examples have shape (23, 2): give (24, D)": {
        "data": np.ones((N, 2)),
        "clean": np.ones((23, 2)),
    },
    "have 2 features and the trusted examples 3": {"data": np.ones((N, 2)), "clean": np.ones((24, 3))},
    "features of the data hold what is no finite": {"data": np.full((N, 2), np.inf), "clean": np.ones((24, 2))},
    "features of the trusted examples hold what": {"data": np.ones((N, 2)), "clean": np.full((24, 2), "a")},
}


@pytest.mark.parametrize("message", FEATURES)
def test_features_of_other_data_are_refused_and_nothing_is_written(message, place, capsys):
    np.savez("f.npz", **FEATURES[message])
    assert message in refused(capsys, "--features", "f.npz")
    assert not (place / "out").exists()


def test_features_in_another_kind_of_file_are_refused(place, capsys):
    np.save("f.npy", np.ones((N, 2)))
    assert "f.npy is no .npz: write the features as np.savez" in refused(capsys, "--features", "f.npy")
    assert not (place / "out").exists()


# Time


@pytest.fixture
def slow(monkeypatch):
    """A clock on which each step of training takes three seconds."""
    now = [0.0]
    step = run._Training.step

    def slowly(self, number):
        now[0] += 3
        step(self, number)

    monkeypatch.setattr(run._Training, "step", slowly)
    for module in ("run", "pace"):
        monkeypatch.setattr(f"l2rw_core.audit.{module}.time.monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(("minutes", "passes"), [(5, 48), (0.01, 1), (999, 100)])
def test_a_budget_is_kept_by_fewer_passes(minutes, passes, slow, capsys):
    """Two steps a pass, and before that four to find out what one takes."""
    command("--budget", str(minutes), "--epochs", "100")
    assert f"{passes * 2} steps of 100" in facts()
    made = "1 pass" if passes == 1 else f"{passes} passes"
    said = f"To keep to {minutes:g} minutes, training made {made} instead of 100"
    assert (said in capsys.readouterr().out) == (passes < 100)
    assert slow[0] <= 60 * minutes or passes == 1


def test_an_audit_that_goes_on_keeps_its_number_of_passes(slow, place):
    pair, options = read_pair("data.csv", "clean.csv"), Options(epochs=9, budget=0.9)
    first = audit(*pair, options, progress=False, checkpoint=place / "c")
    again = audit(*pair, options, progress=False, checkpoint=place / "c")
    assert 0 < first.cut == again.cut
    pd.testing.assert_frame_equal(first.suspects, again.suspects)


def test_how_long_it_will_take_is_said_before_and_every_part_has_a_bar(slow, capsys, monkeypatch, place):
    monkeypatch.setenv("L2RW_PROGRESS", "1")
    images(place)
    command("--budget", "2", "--epochs", "100", data="scans", clean="checked")
    told = capsys.readouterr()
    assert "will take" not in told.out
    before, said, after = told.err.partition("this will take about 2 minutes: 18 of 100 passes over 40 examples")
    assert said
    for part in ("reading", "looking at scans", "reading checked", "looking for duplicates", "other models, before"):
        assert part in before
    for part in ("training", "training, equal weights", "other models, after", "writing"):
        assert f"{part}" in after


def test_what_takes_long_to_know_has_no_part_in_the_result():
    """Bars are drawn or not, a budget is large or none: the table is the same, of a network with chance in it too."""
    pair = read_pair("data.csv", "clean.csv")
    brought = Own(lambda: nn.Sequential(nn.Linear(2, 8), nn.Dropout(), nn.Linear(8, 3)))

    def found(progress, **more):
        options = Options(epochs=2, **more)
        return audit(*pair, options, progress=progress, problem=encode(*pair, brought)).suspects

    plain = found(False)
    pd.testing.assert_frame_equal(found(True), plain)
    pd.testing.assert_frame_equal(found(False, budget=1e6), plain)


@pytest.mark.parametrize(
    ("seconds", "words"), [(1, "5 seconds"), (42, "40 seconds"), (130, "2 minutes"), (9000, "2.5 hours")]
)
def test_times_are_said_as_people_say_them(seconds, words):
    assert in_words(seconds) == words


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--budget", "0"), "budget must be a positive number of minutes, got 0"),
        (("--budget", "nan"), "budget must be a positive number of minutes, got nan"),
        (("--device", "warp"), "device 'warp' cannot be used"),
        (("--device", "meta"), "device 'meta' cannot be used"),
    ],
)
def test_impossible_budgets_and_devices_are_refused(options, message, place, capsys):
    assert message in refused(capsys, *options)
    assert not (place / "out").exists()
