"""Networks that people take from libraries, small and in double precision, in training mode.

Every alignment is held against an ordinary backward pass of its own. A few families are tried each time; all of them
where L2RW_SWEEP=all is set, as the weekly job does.
"""

import os
import warnings

import pytest
import torch
import torchvision.models as vision
from torch import nn

from l2rw_core.scoring import score

transformers = pytest.importorskip("transformers")
transformers.logging.set_verbosity_error()

ALL = os.environ.get("L2RW_SWEEP") == "all"
EACH = nn.CrossEntropyLoss(reduction="none")


def assert_exact(model, loss_fn, batch, clean, engine="forward", ends=("forward",)):
    model = model.double().train()
    found = []
    for e in (engine, "loop"):
        torch.manual_seed(3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found.append(score(model, loss_fn, batch, clean, e, check=e != "loop"))
    assert found[0].engine in ends
    expected = found[1].alignment
    torch.testing.assert_close(found[0].alignment, expected, rtol=1e-7, atol=1e-9 * float(expected.abs().max()))
    torch.testing.assert_close(found[0].losses, found[1].losses, rtol=1e-8, atol=1e-10)


# torchvision ------------------------------------------------------------------------------------------------------

QUICK = ("resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5", "squeezenet1_1")
CLASSIFIERS = (
    *QUICK, "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "mnasnet0_5", "mobilenet_v2",
    "regnet_x_400mf", "regnet_y_400mf", "resnext50_32x4d", "swin_t", "swin_v2_t", "vgg11_bn", "wide_resnet50_2",
)  # fmt: skip


@pytest.mark.parametrize("name", CLASSIFIERS if ALL else QUICK)
def test_classifiers_of_torchvision(name):
    torch.manual_seed(0)
    options = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    model = vision.get_model(name, weights=None, num_classes=3, **options)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.1
    side = 64 if name in ("alexnet", "squeezenet1_1") else 32
    batch, clean = ((torch.randn(n, 3, side, side).double(), torch.arange(n) % 3) for n in (3, 2))
    # a part of a bias is set to 0 by way of a view in swin_v2, which the engine forward does not follow
    assert_exact(model, EACH, batch, clean, ends=("two_pass",) if name == "swin_v2_t" else ("forward",))


def test_a_vision_transformer():
    torch.manual_seed(0)
    model = vision.VisionTransformer(16, 4, 2, 2, 16, 24, num_classes=3)
    nn.init.normal_(model.heads.head.weight)
    batch, clean = ((torch.randn(n, 3, 16, 16).double(), torch.arange(n) % 3) for n in (4, 3))
    assert_exact(model, EACH, batch, clean)


@pytest.mark.parametrize(
    "name", ["lraspp_mobilenet_v3_large", *(["fcn_resnet50", "deeplabv3_resnet50"] if ALL else [])]
)
def test_segmentation_with_a_loss_of_each_image(name):
    torch.manual_seed(0)
    model = vision.get_model(name, weights=None, weights_backbone=None, num_classes=3)
    batch, clean = ((torch.randn(n, 3, 64, 64).double(), torch.randint(3, (n, 64, 64))) for n in (3, 2))
    assert_exact(model, lambda out, y: EACH(out["out"], y).mean((1, 2)), batch, clean)


# transformers -----------------------------------------------------------------------------------------------------

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "vocab_size": 30}
TEXTS = {
    "Bert": SMALL,
    "GPT2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": 30},
    "Llama": SMALL | {"num_key_value_heads": 1},
    "DistilBert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24, "vocab_size": 30},
    "Roberta": SMALL,
    "Electra": SMALL | {"embedding_size": 12},
    "Albert": SMALL | {"embedding_size": 12},
    "DebertaV2": SMALL | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "MPNet": SMALL,
    "Mistral": SMALL | {"num_key_value_heads": 1, "sliding_window": 4},
    "OPT": SMALL | {"ffn_dim": 24, "word_embed_proj_dim": 16},
    "Bloom": {"hidden_size": 16, "n_layer": 2, "n_head": 2, "vocab_size": 30},
    "GPTNeoX": SMALL,
    "Qwen2": SMALL | {"num_key_value_heads": 1},
    "ModernBert": SMALL | {"local_attention": 4},
}


@pytest.mark.parametrize("kind", TEXTS if ALL else list(TEXTS)[:3])
def test_text_classifiers_of_transformers(kind):
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**TEXTS[kind], num_labels=3, pad_token_id=0)
    model = getattr(transformers, f"{kind}ForSequenceClassification")(config)
    words = torch.randint(1, 30, (7, 9), generator=torch.Generator().manual_seed(1))
    words[:3, 6:] = 0
    named = {"input_ids": words, "attention_mask": (words != 0).long()}
    batch, clean = (
        ({k: v[part] for k, v in named.items()}, torch.arange(7)[part] % 3) for part in (slice(4), slice(4, 7))
    )
    ends = ("reverse",) if kind == "Bloom" else ("forward",)  # Bloom's activation has no rule for going forwards
    assert_exact(model, lambda out, y: EACH(out.logits, y), batch, clean, ends=ends)


class LowRank(nn.Module):
    """A frozen layer with a trained product of two thin matrices beside it, as adapters have it."""

    def __init__(self, layer: nn.Linear, rank: int = 2) -> None:
        super().__init__()
        self.layer, self.dropout = layer.requires_grad_(False), nn.Dropout(0.1)
        self.down = nn.Parameter(torch.randn(rank, layer.in_features) / 4)
        self.up = nn.Parameter(torch.randn(layer.out_features, rank) / 4)

    def forward(self, x):
        return self.layer(x) + self.dropout(x) @ self.down.T @ self.up.T


@pytest.mark.parametrize("engine", ["forward", "ghost"])
def test_a_frozen_network_with_low_rank_adapters(engine):
    torch.manual_seed(0)
    config = transformers.BertConfig(**SMALL, num_labels=3)
    model = transformers.BertForSequenceClassification(config).requires_grad_(False)
    for block in model.bert.encoder.layer:
        block.attention.self.query = LowRank(block.attention.self.query)
        block.attention.self.value = LowRank(block.attention.self.value)
    model.classifier.requires_grad_(True)
    words = torch.randint(1, 30, (7, 9), generator=torch.Generator().manual_seed(1))
    batch, clean = (({"input_ids": words[part]}, torch.arange(7)[part] % 3) for part in (slice(4), slice(4, 7)))
    assert_exact(model, lambda out, y: EACH(out.logits, y), batch, clean, engine, ends=("forward", "ghost"))
