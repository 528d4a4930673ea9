"""The playground's arithmetic, run under node, is that of l2rw_core; its settings survive the address and nonsense."""

import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
import traitlets
from bs4 import BeautifulSoup
from torch import nn

import l2rw_core.interactive.playground as module
from l2rw_core.figures import COLOURS
from l2rw_core.interactive import Playground
from l2rw_core.interactive.playground import DATA, RANGES
from l2rw_core.reweight import Reweighter

SCRIPT = Path(module.__file__).with_name("playground.js")
DRIVER = Path(__file__).with_name("playground_node.mjs")
HIDDEN = 8
STEPS = 50
LARGEST_DIFFERENCE = 1e-9
MODELS = ("logistic", "mlp")
SETTINGS = {
    "noise": 0.5,
    "imbalance": 5,
    "clean_size": 20,
    "learning_rate": 0.5,
    "model": "logistic",
    "data": "clouds",
    "seed": 3,
    "n": 200,
    "steps": 100,
    "flips": [],
}


@pytest.fixture(scope="session")
def node(tmp_path_factory):
    """Calls functions of the module: `node(("makeData", settings), ...)` gives their answers."""
    program = shutil.which("node")
    if program is None:
        pytest.skip("node is not installed")
    # Without a package.json beside it, node takes a file for a module only by the name's ending.
    script = tmp_path_factory.mktemp("node") / "playground.mjs"
    shutil.copy(SCRIPT, script)

    def call(*requests):
        text = json.dumps([{"call": name, "args": arguments} for name, *arguments in requests])
        done = subprocess.run([program, DRIVER, script], input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return call


# --- the same numbers as l2rw_core -----------------------------------------------------------------------------------


class Flat(nn.Module):
    """The playground's models, on one flat vector of parameters in the playground's order."""

    def __init__(self, kind, theta):
        super().__init__()
        self.kind = kind
        self.theta = nn.Parameter(theta.clone())

    def forward(self, x):
        if self.kind == "logistic":
            return x @ self.theta[:2] + self.theta[2]
        inner = self.theta[: 3 * HIDDEN].reshape(HIDDEN, 3)
        hidden = torch.tanh(x @ inner[:, :2].T + inner[:, 2])
        return hidden @ self.theta[3 * HIDDEN : 4 * HIDDEN] + self.theta[4 * HIDDEN]


def bce(outputs, targets):
    return nn.functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none")


def make_case(kind, method, batch_size, seed=0, n=40, clean=8):
    generator = torch.Generator().manual_seed(seed)
    draw = {"generator": generator, "dtype": torch.float64}
    y_true = (torch.arange(n + clean) % 4 > 0).double()
    x = torch.randn(n + clean, 2, **draw)
    x[:, 0] += 3 * (y_true - 0.5)
    y = y_true.clone()
    y[: n // 3] = 1 - y[: n // 3]
    batches = [torch.randperm(n, generator=generator)[:batch_size].tolist() for _ in range(STEPS)]
    theta = 0.5 * torch.randn(3 if kind == "logistic" else 4 * HIDDEN + 1, **draw)
    return {
        "kind": kind,
        "method": method,
        "theta": theta.tolist(),
        "train": points(x[:n], y[:n]),
        "clean": points(x[n:], y_true[n:]),
        "batches": batches,
        "rate": 0.7,
    }


def points(x, y):
    return {"x": x[:, 0].tolist(), "y": x[:, 1].tolist(), "label": y.tolist()}


def tensors(given):
    columns = {name: torch.tensor(values, dtype=torch.float64) for name, values in given.items()}
    return torch.stack([columns["x"], columns["y"]], dim=1), columns["label"]


def trained(case, followed=()):
    """The case in PyTorch: at each step losses and weights, and the parameters after it.

    With the answers `followed`, each step starts from the parameters that the last one of these gave.
    """
    model = Flat(case["kind"], torch.tensor(case["theta"], dtype=torch.float64))
    optimizer = torch.optim.SGD(model.parameters(), lr=case["rate"])
    reweighter = Reweighter(model, optimizer, bce)
    x, y = tensors(case["train"])
    clean = tensors(case["clean"])
    for number, indices in enumerate(case["batches"]):
        if followed and number:
            model.theta.data.copy_(torch.tensor(followed[number - 1]["theta"], dtype=torch.float64))
        batch = x[indices], y[indices]
        if case["method"] == "l2rw":
            step = reweighter.step(batch, clean)
            losses, weights = step.losses, step.weights
        else:
            losses = bce(model(batch[0]), batch[1])
            optimizer.zero_grad()
            losses.mean().backward()
            optimizer.step()
            weights = torch.full_like(losses, 1 / len(losses))
        yield {"losses": losses.detach(), "weights": weights, "theta": model.theta.detach().clone()}


def largest_difference(answer, case, followed=()):
    pairs = list(zip(answer, trained(case, followed), strict=True))
    assert len(pairs) == len(case["batches"])
    return max(
        float((torch.tensor(got[name], dtype=torch.float64) - wanted[name]).abs().max())
        for got, wanted in pairs
        for name in wanted
    )


@pytest.mark.parametrize("batch_size", [40, 10], ids=["full batch", "mini-batches"])
@pytest.mark.parametrize("method", ["l2rw", "plain"])
@pytest.mark.parametrize("kind", MODELS)
def test_50_steps_agree_with_the_package(node, kind, method, batch_size):
    case = make_case(kind, method, batch_size)
    (answer,) = node(("train", case))
    assert largest_difference(answer, case) <= LARGEST_DIFFERENCE
    moved = torch.tensor(answer[-1]["theta"]) - torch.tensor(case["theta"])
    assert moved.abs().max() > 0.1, "a run that goes nowhere proves nothing"


@pytest.mark.parametrize("method", ["l2rw", "plain"])
@pytest.mark.parametrize("kind", MODELS)
def test_each_step_agrees_wherever_it_starts(node, kind, method):
    """Step by step, for more runs than the one above.

    Where a run comes close to the clean optimum, the weights depend on the direction of a clean gradient near 0, and
    the last digit of a parameter grows to the fifth within 50 steps, in PyTorch as in the page. Single steps do not.
    """
    cases = [make_case(kind, method, batch_size, seed) for seed in range(1, 6) for batch_size in (40, 10)]
    answers = node(*(("train", case) for case in cases))
    differences = [largest_difference(answer, case, answer) for answer, case in zip(answers, cases, strict=True)]
    assert max(differences) <= LARGEST_DIFFERENCE


@pytest.mark.parametrize("kind", MODELS)
def test_steps_in_which_every_weight_is_zero_move_nothing(node, kind):
    case = make_case(kind, "l2rw", 10)
    against = torch.tensor(case["clean"]["label"]).argmin()
    # Twice the same clean point with the wrong label: its gradient points against the clean one.
    case["clean"] = {name: [values[against]] for name, values in case["clean"].items()}
    for name, values in case["train"].items():
        values[:2] = [1 - v if name == "label" else v for v in case["clean"][name] * 2]
    case["batches"][7] = case["batches"][23] = [0, 1]
    (answer,) = node(("train", case))
    for step in (7, 23):
        assert answer[step]["weights"] == [0, 0]
        assert answer[step]["theta"] == answer[step - 1]["theta"]
    assert largest_difference(answer, case) <= LARGEST_DIFFERENCE


def test_weights_of_every_point_are_those_of_the_package_after_a_run_of_the_page(node):
    for kind in MODELS:
        (run,) = node(("simulated", SETTINGS | {"model": kind}, 100))
        model = Flat(kind, torch.tensor(run["theta"]["l2rw"], dtype=torch.float64))
        reweighter = Reweighter(model, None, bce)
        reweighter.loss(tensors(run["data"]["train"]), tensors(run["data"]["clean"]))
        holders = 1 + int((reweighter.last.weights.sort(descending=True).values.cumsum(0) < 0.5).sum())
        assert re.search(rf"; {holders} of 200 points carr(y|ies) half of the weight", run["sentence"])


# --- data ------------------------------------------------------------------------------------------------------------


def test_noise_moves_no_point_and_keeps_the_labels_flipped_before(node):
    levels = [0, 0.1, 0.35, 0.6, 0.9]
    worlds = node(*(("makeData", SETTINGS | {"noise": noise}) for noise in levels))
    flipped = []
    for noise, world in zip(levels, worlds, strict=True):
        assert world["train"]["x"] == worlds[0]["train"]["x"]
        assert world["clean"] == worlds[0]["clean"]
        assert world["test"] == worlds[0]["test"]
        wrong = {i for i, label in enumerate(world["train"]["label"]) if label != world["truth"][i]}
        assert len(wrong) == round(noise * 33 + 1e-9)
        assert all(world["truth"][i] == 0 for i in wrong)
        flipped.append(wrong)
    assert all(fewer <= more for fewer, more in itertools.pairwise(flipped))


def test_other_sliders_move_no_point_either(node):
    less, more = node(*(("makeData", SETTINGS | {"clean_size": size}) for size in (6, 40)))
    assert less["train"] == more["train"]
    assert set(less["clean"]["x"]) < set(more["clean"]["x"])
    even, rare = node(*(("makeData", SETTINGS | {"imbalance": ratio}) for ratio in (1, 20)))
    assert even["clean"] == rare["clean"]
    position = dict(zip(even["ids"], even["train"]["x"], strict=True))
    shared = [i for i, name in enumerate(rare["ids"]) if name in position]
    assert len(shared) == 110
    assert all(position[rare["ids"][i]] == rare["train"]["x"][i] for i in shared)


def test_the_same_settings_give_the_same_run_and_another_seed_another(node):
    first, again, other = node(*(("simulated", SETTINGS | {"seed": seed}, 60) for seed in (3, 3, 4)))
    assert first == again
    assert first["data"]["train"] != other["data"]["train"]
    assert first["theta"] != other["theta"]


def test_painted_labels_are_flipped_and_unknown_ones_ignored(node):
    plain, painted = node(
        *(("makeData", SETTINGS | {"noise": 0, "flips": flips}) for flips in ([], ["t3", "c5", "c399"]))
    )
    changed = [
        i for i, (a, b) in enumerate(zip(plain["train"]["label"], painted["train"]["label"], strict=True)) if a != b
    ]
    assert [painted["ids"][i] for i in changed] == ["t3", "c5"]


@pytest.mark.parametrize("kind", MODELS)
def test_the_figure_as_it_opens_is_no_lucky_draw(node, kind):
    """L2RW beats plain training by 10 points at least for every one of ten seeds, and by 20 in the middle."""
    runs = node(*(("simulated", SETTINGS | {"seed": seed, "model": kind}, 100) for seed in range(10)))
    gains = sorted(run["history"][-1]["l2rw"] - run["history"][-1]["plain"] for run in runs)
    assert gains[0] > 0.1
    assert gains[5] > 0.2
    opening = runs[SETTINGS["seed"]]["history"][-1]
    assert gains[2] < opening["l2rw"] - opening["plain"] < gains[-3], "the figure shows an unusual seed"


LANDING = SETTINGS | {"imbalance": 3, "clean_size": 10, "model": "mlp", "data": "rings", "seed": 6, "steps": 200}
"""What the book's first page opens with."""


def test_ten_clean_points_of_a_ring_are_not_enough_and_of_clouds_they_are(node):
    """L2RW is ahead of the clean points alone for nearly every seed, and its first page shows no unusual one."""

    def gains(settings):
        runs = node(*(("simulated", settings | {"seed": seed}, 200) for seed in range(10)))
        return [run["history"][-1]["l2rw"] - run["history"][-1]["clean"] for run in runs]

    few = gains(LANDING)
    assert min(few) >= 0
    assert sorted(few)[5] > 0.06
    assert sorted(few)[2] < few[LANDING["seed"]] < sorted(few)[-3], "the figure shows an unusual seed"
    clouds = gains(LANDING | {"data": "clouds"})
    assert abs(sum(clouds)) / 10 < 0.03, "ten clean points outline two clouds"


def test_the_small_network_of_chapter_2_leads_with_nearly_every_seed_at_first_and_with_fewer_at_the_end(node):
    chapter = SETTINGS | {"model": "mlp", "noise": 0.4, "imbalance": 1}
    runs = node(*(("simulate", chapter | {"seed": seed}, 400) for seed in range(20)))
    lead = {
        at["step"]: sum(run["history"][k]["l2rw"] > run["history"][k]["plain"] for run in runs)
        for k, at in enumerate(runs[0]["history"])
    }
    assert lead[50] >= 18
    assert 10 < lead[400] < lead[50]


def test_without_wrong_labels_plain_training_is_ahead_on_the_first_page(node):
    runs = node(*(("simulated", LANDING | {"seed": seed, "noise": 0}, 200) for seed in range(10)))
    ends = [run["history"][-1] for run in runs]
    assert sum(end["plain"] - max(end["l2rw"], end["clean"]) for end in ends) / 10 > 0.03


def test_the_model_of_the_clean_points_sees_no_training_point(node):
    clean, noisy = node(*(("simulated", LANDING | {"noise": noise}, 40) for noise in (0, 0.9)))
    assert clean["theta"]["clean"] == noisy["theta"]["clean"]
    assert clean["theta"]["l2rw"] != noisy["theta"]["l2rw"]
    assert f"the clean points alone {round(100 * clean['history'][-1]['clean'])}%" in clean["sentence"]


def test_rings_lie_where_they_should(node):
    (world,) = node(("makeData", LANDING | {"n": 400, "imbalance": 1}))
    x, _ = tensors(world["train"])
    radius, truth = x.norm(dim=1), torch.tensor(world["truth"])
    for label, wanted in ((0, 0.6), (1, 2.3)):
        assert abs(float(radius[truth == label].median()) - wanted) < 0.1
        assert float(x[truth == label].mean(0).abs().max()) < 0.4


def test_names_of_lines_keep_apart_and_inside(node):
    (kept,) = node(("keptApart", [50, 52, 10], 17, 200))
    assert kept == [50, 67, 10]
    (low,) = node(("keptApart", [195, 190, 196], 17, 200))
    assert sorted(low) == [166, 183, 200]
    assert low[1] < low[0] < low[2]


# --- words, settings, address ----------------------------------------------------------------------------------------


def test_a_run_whose_parameters_leave_the_numbers_ends_and_says_what_to_do(node):
    (run,) = node(("simulated", SETTINGS | {"model": "mlp", "learning_rate": 1e308}, 100))
    assert run["failed"] in ("plain", "l2rw", "clean")
    assert run["steps"] < 100
    assert "Lower the learning rate" in run["sentence"]


def test_sentences_before_the_first_step_and_at_the_end(node):
    start, end = node(("simulated", SETTINGS, 0), ("simulated", SETTINGS, 10_000))
    assert start["sentence"].startswith("Before the first step all three models are the same")
    assert end["steps"] == 400
    assert end["sentence"].endswith("The run ends here.")


def test_settings_survive_the_address(node):
    settings = SETTINGS | {
        "noise": 0.25,
        "imbalance": 20,
        "model": "mlp",
        "data": "rings",
        "flips": ["t3", "c12"],
        "steps": 7,
    }
    (text,) = node(("settingsText", settings))
    assert text.startswith("noise:0.25,imbalance:20,")
    assert not set(text) & set("&#?=%+ "), "it stands in a query as it is"
    (raw,) = node(("parseSettings", text))
    (back,) = node(("clampSettings", raw, SETTINGS))
    assert back == settings


NONSENSE = [
    "",
    "noise",
    "noise:,n:,seed:x,flip:",
    "noise:NaN,imbalance:Infinity,clean:-7,rate:1e999,n:1e9,steps:-1,seed:2.6",
    "\ufffd%A,model:__proto__,flip:t1.<b>.c-2.t9999",
    "constructor:1,model:toString,data:hasOwnProperty",
]


@pytest.mark.parametrize("text", NONSENSE)
def test_nonsense_in_the_address_gives_settings_that_can_be_run(node, text):
    (raw,) = node(("parseSettings", text))
    raw = {name: value for name, value in raw.items() if value is not None}
    (settings,) = node(("clampSettings", raw, SETTINGS))
    for name, (low, high) in RANGES.items():
        assert low <= settings[name] <= high
    assert settings["model"] in MODELS
    assert settings["data"] in DATA
    assert set(settings["flips"]) <= {"t1"}
    (run,) = node(("simulated", settings, 3))
    assert run["failed"] is None


def test_arrow_keys_go_to_the_next_point_that_way(node):
    cross = {"x": [0, 1, -1, 0, 0, 3], "y": [0, 0, 0, 1, -1, 0], "label": [0] * 6}
    ways = [(1, 0), (-1, 0), (0, 1), (0, -1)]
    assert node(*(("neighbour", cross, 0, *way) for way in ways)) == [1, 2, 3, 4]
    assert node(("neighbour", cross, 5, 1, 0)) == [5]


def test_a_point_in_words(node):
    (world,) = node(("makeData", SETTINGS))
    wrong = next(i for i, label in enumerate(world["train"]["label"]) if label != world["truth"][i])
    (words,) = node(("point", SETTINGS, wrong))
    assert "labelled circle, but it is a triangle" in words


# --- the Python side -------------------------------------------------------------------------------------------------


def test_script_and_python_agree_on_ranges_models_colours_and_defaults(node):
    source = SCRIPT.read_text()
    for name, kinds in (("MODELS", MODELS), ("DATA", DATA)):
        assert tuple(re.findall(r"(\w+): ", re.search(rf"{name} = {{(.*)}};", source)[1])) == kinds
    for name, (low, high) in RANGES.items():
        assert re.search(rf"\b{name}: {{ low: {low:g}, high: {high:g},", source), name
    for role, colour in re.findall(r'^  (\w+): "(#\w{6})",$', source, flags=re.MULTILINE):
        assert COLOURS[role] == colour
    widget = Playground()
    for name in (*RANGES, "model", "data"):
        assert getattr(widget, name) == SETTINGS[name]


@pytest.mark.parametrize("name", RANGES)
def test_a_setting_out_of_range_is_refused_with_its_range(name):
    low, high = RANGES[name]
    for value in (low, high):
        assert getattr(Playground(**{name: value}), name) == value
    for value in (low - 1, high + 1):
        with pytest.raises(traitlets.TraitError, match=f"^{name} must be from {low} to {high}, got {value}"):
            Playground(**{name: value})
    widget = Playground()
    with pytest.raises(traitlets.TraitError, match="must be from"):
        setattr(widget, name, high + 1)
    assert getattr(widget, name) == SETTINGS[name]


def test_nan_an_unknown_model_and_a_name_unfit_for_an_address_are_refused():
    with pytest.raises(traitlets.TraitError, match=r"noise must be from 0 to 0\.9, got nan"):
        Playground(noise=float("nan"))
    with pytest.raises(traitlets.TraitError, match="model must be 'logistic' or 'mlp', got 'tree'"):
        Playground(model="tree")
    with pytest.raises(traitlets.TraitError, match="data must be 'clouds' or 'rings', got 'moons'"):
        Playground(data="moons")
    for name in ("", "a=b", "two words", "7up", "a&b"):
        with pytest.raises(traitlets.TraitError, match="name must be letters"):
            Playground(name=name)


def test_the_page_holds_one_module_without_imports_of_a_modest_size():
    source = str(Playground()._esm)
    assert source == SCRIPT.read_text()
    assert len(source.encode()) < 58_000
    assert not re.search(r"^\s*import\b|\bimport\(|https?://", source, flags=re.MULTILINE)


def test_who_shows_it_can_take_the_widget_or_the_page():
    data, _ = Playground(noise=0.3)._repr_mimebundle_()
    assert data.keys() >= {"application/vnd.jupyter.widget-view+json", "text/html"}
    host = BeautifulSoup(data["text/html"], "html.parser").select_one(".l2rw-playground-host")
    assert json.loads(host["data-settings"]) == {
        "name": "playground",
        **{key: value for key, value in SETTINGS.items() if key not in ("steps", "flips", "noise")},
        "noise": 0.3,
    }


def test_the_module_cannot_end_the_script_that_holds_it():
    assert "</script" not in SCRIPT.read_text().lower()
