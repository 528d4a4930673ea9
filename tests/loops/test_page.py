"""The code of the page on adapters runs as it stands."""

import re
from pathlib import Path

import pytest
import torch
from problems import background_flips
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from l2rw_core.models import Mlp

pytest.importorskip("lightning", reason="Lightning is not installed: the extra 'lightning' brings it")
transformers = pytest.importorskip("transformers", reason="the extra 'transformers' is not installed")

PAGE = Path(__file__).parents[2] / "reference" / "adapters.md"


@pytest.mark.filterwarnings("ignore")  # Lightning has advice about loggers and workers
def test_the_code_of_the_page_runs_from_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # Lightning and transformers write here
    torch.manual_seed(0)
    (x, y), (x_clean, y_clean), _ = background_flips()
    x, x_clean = x.float(), x_clean.float()
    size = {"vocab_size": 12, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    words = [{"input_ids": torch.randint(12, (5,)), "labels": torch.tensor(i % 2)} for i in range(32)]
    known = {
        "torch": torch,
        "nn": nn,
        "model": Mlp([2, 16, 2]),
        "train_loader": DataLoader(TensorDataset(x, y, torch.arange(len(y))), 100),
        "clean_loader": DataLoader(TensorDataset(x_clean, y_clean), 10),
        "labels": y.numpy(),
        "language_model": transformers.BertForSequenceClassification(transformers.BertConfig(**size)),
        "arguments": transformers.TrainingArguments(
            "out", num_train_epochs=1, use_cpu=True, report_to=[], dataloader_pin_memory=False
        ),
        "train": words[8:],
        "clean": words[:8],
        "X": x.numpy(),
        "y": y.numpy(),
        "X_clean": x_clean.numpy(),
        "y_clean": y_clean.numpy(),
        "X_test": x.numpy(),
    }
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), known)
    assert len(blocks) == 5
    assert known["ledger"].seen.tolist() == [2] * len(y)
    assert known["pipeline"].score(known["X"], known["y"]) > 0.5
