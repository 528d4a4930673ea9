"""What the README promises runs as it stands."""

import re
import tomllib
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from torch.utils.data import DataLoader, TensorDataset

from l2rw_core import Reweighter, cli, experiments

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


@pytest.fixture
def lines():
    (diff,) = re.findall(r"```diff\n(.*?)```", README, flags=re.DOTALL)
    return diff.splitlines()


def test_three_lines_are_new(lines):
    assert sum(line.startswith("+") for line in lines) == 3


@pytest.mark.parametrize("sign", ["-", "+"])
def test_the_loop_trains_before_and_after_the_change(lines, sign):
    code = "\n".join(line[1:] for line in lines if line[:1] in (" ", sign, ""))
    torch.manual_seed(0)
    batches = [(torch.rand(4, 3, 32, 32), torch.randint(10, (4,))) for _ in range(2)]
    names = {"loader": batches, "clean_batch": batches[0]}
    exec(compile(code, "README.md", "exec"), names)
    state = names["optimizer"].state
    assert all(state[p]["momentum_buffer"].any() for p in names["model"].parameters())
    assert sign == "-" or names["step"].weights.shape == (4,)


def test_the_weights_it_prints_are_such_as_a_step_gives():
    (printed,) = re.findall(r">>> step.weights\ntensor\(\[(.*?)]\)", README)
    weights = [float(w) for w in printed.split(",")]
    assert abs(sum(weights) - 1) < 1e-3
    assert min(weights) >= 0


def test_the_loop_with_a_ledger_ranks_every_label():
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
    loss_fn = torch.nn.CrossEntropyLoss(reduction="none")
    data = TensorDataset(torch.rand(150, 1, 4, 4), torch.arange(150) % 3)
    names = {"DataLoader": DataLoader, "data": data, "trusted": TensorDataset(*data[:9])}
    names |= {"reweighter": Reweighter(model, torch.optim.SGD(model.parameters(), 0.1), loss_fn)}
    names |= {"given_labels": data.tensors[1]}
    lines = code.rstrip().splitlines()
    exec(compile("\n".join([*lines[:-1], f"table = {lines[-1]}"]), "README.md", "exec"), names)
    assert sorted(names["table"].index) == list(range(150))


def test_the_shell_commands_are_understood(monkeypatch):
    commands = re.findall(r"^(?:\.venv/bin/|\$ )l2rw (.*?)\s*(?:#.*)?$", README, flags=re.MULTILINE)
    assert len(commands) >= 2
    ran = []
    for kind in (cli.Audit, cli.Apply, cli.Reproduce, cli.Report):
        monkeypatch.setattr(kind, "__call__", lambda self: ran.append(self))
    for command in commands:
        cli.main(command.split())
    assert [type(command) for command in ran] == [cli.Audit, cli.Apply, *[cli.Reproduce] * 4, cli.Report]
    for command in ran[2:-1]:
        assert experiments.grid(command.name, command.scale).cells


def test_what_opens_and_runs_a_chapter_comes_with_the_extra_it_installs():
    (extra,) = re.findall(r"pip install '\./l2rw-core\[(\w+)]' && jupyter lab ", README)
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"][extra]
    assert "`papermill chapters/" in README
    assert {"jupyterlab", "papermill"} <= {Requirement(text).name for text in asked}


def test_the_files_it_names_are_there():
    for path in re.findall(r"`([\w/]+\.(?:py|md|yml)|[\w/]+/)`", README):
        if path != "data/cache/":
            assert (ROOT / path).exists() or (ROOT / "l2rw_core" / path).exists(), path


def test_its_links_and_pictures_lead_somewhere():
    links = re.findall(r"\]\((?!https?:)([^)\s]+)\)", README) + re.findall(r'(?:src|srcset)="([^"]+)"', README)
    assert {"reference/pictures/found_light.png", "reference/pictures/found_dark.png"} <= set(links)
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_make_targets_it_names_are_there():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"make ([a-z-]+)", README):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_the_files_that_pages_name_are_there():
    pages = [*ROOT.glob("chapters/*.ipynb"), *ROOT.glob("reference/*.ipynb"), *ROOT.glob("reference/*.md")]
    path = re.compile(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|md|ipynb|csv|jsonl|toml|yml|json))`")
    named = {(page.name, name) for page in pages for name in path.findall(page.read_text())}
    assert ("cost.ipynb", "reference/examples/data_parallel.py") in named
    assert [one for one in sorted(named) if not (ROOT / one[1]).exists()] == []
