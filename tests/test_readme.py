"""What the README promises runs as it stands."""

import re
from pathlib import Path

import torch

from l2rw_core import cli, experiments
from l2rw_core.models import LeNet

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_python_example_trains():
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    torch.manual_seed(0)
    model = LeNet(3)
    before = [p.clone() for p in model.parameters()]
    names = {
        "model": model,
        "optimizer": torch.optim.AdamW(model.parameters()),
        "loader": [(torch.rand(8, 1, 28, 28), torch.randint(3, (8,))) for _ in range(2)],
        "clean_batch": (torch.rand(6, 1, 28, 28), torch.arange(6) % 3),
    }
    exec(compile(code, "README.md", "exec"), names)
    assert names["step"].weights.shape == (8,)
    assert any(not torch.equal(p, q) for p, q in zip(before, model.parameters(), strict=True))


def test_the_shell_commands_are_understood(monkeypatch):
    commands = re.findall(r"^\.venv/bin/l2rw (.*?)\s*(?:#.*)?$", README, flags=re.MULTILINE)
    assert len(commands) >= 2
    ran = []
    for kind in (cli.Audit, cli.Reproduce, cli.Report):
        monkeypatch.setattr(kind, "__call__", lambda self: ran.append(self))
    for command in commands:
        cli.main(command.split())
    assert [type(command) for command in ran] == [cli.Audit, *[cli.Reproduce] * 4, cli.Report]
    for command in ran[1:-1]:
        assert experiments.grid(command.name, command.scale).cells


def test_the_files_it_names_are_there():
    for path in re.findall(r"`([\w/]+\.(?:py|md|yml)|[\w/]+/)`", README):
        if path != "data/cache/":
            assert (ROOT / path).exists() or (ROOT / "l2rw_core" / path).exists(), path


def test_the_make_targets_it_names_are_there():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"make ([a-z-]+)", README):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
