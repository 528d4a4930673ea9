"""Wrong calls, one a row: each ends in one error of a documented type that names cause and remedy, and changes nothing.

What is compared before and after: parameters, buffers, gradients and modes of the model, the optimizer's state, and
every file. A row says what is called, with which error, and what its message says.
"""

import gzip
import io
import re
import shlex
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from small_runs import SMALL
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from l2rw_core import Reweighter, cli
from l2rw_core.audit import Options, check_clean_set, explain, read_data, read_pair
from l2rw_core.datasets import (
    BackgroundFlip,
    BatchStream,
    CleanSet,
    DataCorrupt,
    DataUnavailable,
    LongTail,
    PairImbalance,
    Subset,
    UniformFlip,
    load,
    make_split,
    two_classes,
)
from l2rw_core.experiments import Experiment, append, fit, grid, load_records, mnist_imbalance, run_all
from l2rw_core.interactive import by_profile
from l2rw_core.ledger import WeightLedger, suspects
from l2rw_core.methods import Method
from l2rw_core.models import LeNet, Mlp
from l2rw_core.running.checkpoints import read_checkpoint, write_checkpoint
from l2rw_core.scoring import alignment, directional_derivative
from l2rw_core.weights import to_weights

NONE, CPU = nn.CrossEntropyLoss(reduction="none"), torch.device("cpu")
SHORT = SMALL.with_(name="short", steps=2, evaluate_every=2)


class OwnMethod(Method):
    """A class of one's own, which the package has no name for."""


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 3))


def scripted(model: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch deprecates it, and models have it
        return torch.jit.script(model)


def with_clipped_gradient(model: nn.Module) -> nn.Module:
    model[4].weight.register_hook(lambda g: g.clamp(-0.02, 0.02))
    return model


class Apply(nn.Module):
    """Something that goes wrong after a layer."""

    def __init__(self, function: Callable) -> None:
        super().__init__()
        self.layer, self.function = nn.Linear(4, 3), function

    def forward(self, x):
        return self.function(self.layer(x))


class World:
    """A model that has taken a step, so that optimizer and gradients hold something, and a folder with files."""

    def __init__(self, folder: Path, model: nn.Module) -> None:
        torch.manual_seed(0)
        self.folder, self.model = folder, model
        self.x, self.y = torch.rand(7, 4), torch.arange(7) % 3
        self.clean_x, self.clean_y = torch.rand(5, 4), torch.arange(5) % 3
        self.optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
        trainable = [p for p in model.parameters() if p.requires_grad]
        for p in trainable:
            p.grad = torch.ones_like(p)
        self.optimizer.step()

    def step(self, x=None, y=None, clean=None, batch=None, loss_fn=NONE, **options):
        x, y = self.x if x is None else x, self.y if y is None else y
        clean = (self.clean_x, self.clean_y) if clean is None else clean
        Reweighter(self.model, self.optimizer, loss_fn, **options).step((x, y) if batch is None else batch, clean)

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    def write(self, name: str, content: str | bytes = b"") -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def state(self) -> dict:
        """Everything that a wrong call must leave alone."""

        def content(t):
            return None if t is None else t.shape if t.is_meta else t.detach().numpy().tobytes()

        return {
            "values": {name: content(t) for name, t in self.model.state_dict().items()},
            "gradients": {name: (content(p.grad), p.requires_grad) for name, p in self.model.named_parameters()},
            "modes": [module.training for module in self.model.modules()],
            "momentum": [content(s.get("momentum_buffer")) for s in self.optimizer.state.values()],
            "groups": str([{**group, "params": None} for group in self.optimizer.param_groups]),
            "files": {p: p.read_bytes() if p.is_file() else None for p in self.folder.rglob("*")},
        }


def only_finite(outputs, labels):
    losses = NONE(outputs, labels)
    return torch.where(losses.isfinite(), losses, torch.zeros(()))


@dataclass
class Wrong:
    """A wrong call, a pattern of the cause and remedy that it is told, and the documented type of its error."""

    call: Callable[[World], object]
    message: str
    error: type[Exception] = ValueError
    model: Callable[[], nn.Module] = network
    files: Callable[[World], object] = lambda world: None
    """Puts the files there that the call reads."""


def deterministically(function: Callable) -> Callable:
    def run(world):
        torch.use_deterministic_algorithms(True)
        try:
            function(world)
        finally:
            torch.use_deterministic_algorithms(False)

    return run


def unpooled(x):
    """An operation that PyTorch has no deterministic implementation of."""
    pooled, places = nn.functional.max_pool2d(x[:, None, None], (1, 3), return_indices=True)
    return nn.functional.max_unpool2d(pooled, places, (1, 3)).flatten(1)


def column_loss(outputs, targets):
    return (outputs[:, :1] - targets).square()


DO_NOT_FIT = r"have to fit, as in loss_fn\(model\(inputs\), targets\)"
STEPS = {
    "an optimizer with a closure": Wrong(
        lambda w: Reweighter(w.model, torch.optim.LBFGS(w.model.parameters()), NONE), "LBFGS .* needs no closure"
    ),
    "inference mode": Wrong(torch.inference_mode()(lambda w: w.step()), "inference mode is on.* leave it"),
    "outputs in a column, targets in a row": Wrong(
        lambda w: w.step(y=torch.rand(7), loss_fn=column_loss), r"\(5, 1\) and \(5,\) make such a table: .* same shape"
    ),
    "a batch of three parts": Wrong(
        lambda w: w.step(batch=(w.x, w.y, w.y)), "got tuple of 3, not 2: put several inputs", TypeError
    ),
    "numpy inputs": Wrong(lambda w: w.step(x=w.x.numpy()), "must be a tensor.*got ndarray", TypeError),
    "a gradient that a hook clips": Wrong(
        lambda w: w.step(),
        "no engine finds weights that fit.*a hook on the parameter 4.weight.*clip the gradients of the update",
        model=lambda: with_clipped_gradient(network()),
    ),
    "a model for data parallelism": Wrong(
        lambda w: Reweighter(nn.DataParallel(w.model), w.optimizer, NONE), "is a DataParallel.*DistributedReweighter"
    ),
    "a scripted model": Wrong(
        lambda w: alignment(scripted(nn.Linear(4, 3)), NONE, (w.x, w.y), (w.clean_x, w.clean_y)),
        "is a ScriptModule.*from which torch.jit.script made it",
    ),
    "a check of another name": Wrong(
        lambda w: Reweighter(w.model, w.optimizer, NONE, check="never"),
        "check must be one of 'every', 'first', got 'never'",
    ),
    "inputs too wide": Wrong(
        lambda w: w.step(x=torch.rand(7, 5)), rf"training batch, inputs \(7, 5\).*4x8.*{DO_NOT_FIT}"
    ),
    "clean inputs too wide": Wrong(
        lambda w: w.step(clean=(torch.rand(5, 5), w.clean_y)),
        rf"clean batch, inputs \(5, 5\).*{DO_NOT_FIT}",
    ),
    "float64 inputs": Wrong(lambda w: w.step(x=w.x.double()), rf"torch.float64.*float32.*{DO_NOT_FIT}"),
    "integer inputs": Wrong(lambda w: w.step(x=w.x.long()), rf"torch.int64.*float32.*{DO_NOT_FIT}"),
    "float labels": Wrong(lambda w: w.step(y=w.y.float()), rf"targets \(7,\) torch.float32.*{DO_NOT_FIT}"),
    "int32 labels": Wrong(lambda w: w.step(y=w.y.int()), rf"targets \(7,\) torch.int32.*{DO_NOT_FIT}"),
    "labels in a column": Wrong(lambda w: w.step(y=w.y[:, None]), rf"targets \(7, 1\).*{DO_NOT_FIT}"),
    "too few labels": Wrong(lambda w: w.step(y=w.y[:6]), rf"inputs \(7, 4\).*targets \(6,\).*{DO_NOT_FIT}"),
    "labels in a list": Wrong(lambda w: w.step(y=w.y.tolist()), rf"targets list.*{DO_NOT_FIT}"),
    "a loss that hides an input that is no number": Wrong(
        lambda w: w.step(x=w.x.masked_fill(torch.arange(7)[:, None] == 2, torch.nan), loss_fn=only_finite),
        "the alignments are NaN or infinite.*keep away from where the loss has no slope",
    ),
    "a loss that reaches no parameter": Wrong(
        lambda w: w.step(loss_fn=lambda o, y: torch.ones(len(y), requires_grad=True) * 2),
        "the clean loss does not depend on any trainable parameter",
    ),
    "a sparse loss": Wrong(
        lambda w: w.step(loss_fn=lambda o, y: NONE(o, y).to_sparse()), "dense tensor.*got torch.sparse_coo", TypeError
    ),
    "a loss without values": Wrong(
        lambda w: w.step(loss_fn=lambda o, y: NONE(o, y).to("meta")), "holds values, got .* on meta", TypeError
    ),
    "a key that there is not": Wrong(lambda w: w.step(loss_fn=lambda o, y: {}["logits"]), "KeyError 'logits'"),
    "no labels": Wrong(lambda w: w.step(batch=(w.x, None)), rf"targets NoneType.*{DO_NOT_FIT}"),
    "an array": Wrong(lambda w: w.step(x=w.x.numpy()), "inputs must be a tensor, or a tuple or dict", TypeError),
    "words": Wrong(lambda w: w.step(x="words"), "inputs must be a tensor, or a tuple or dict", TypeError),
    "one number": Wrong(lambda w: w.step(x=torch.tensor(1.0)), "must be a tensor.*examples first", TypeError),
    "inputs elsewhere": Wrong(lambda w: w.step(x=w.x.to("meta")), rf"on meta.*on cpu.*{DO_NOT_FIT}"),
    "labels elsewhere": Wrong(lambda w: w.step(y=w.y.to("meta")), rf"int64 on meta.*on cpu.*{DO_NOT_FIT}"),
    "clean batch elsewhere": Wrong(
        lambda w: w.step(clean=(w.clean_x.to("meta"), w.clean_y.to("meta"))),
        rf"clean batch.*on meta.*on cpu.*{DO_NOT_FIT}",
    ),
    "a model without values": Wrong(
        lambda w: w.step(), "parameters hold no values: .* to_empty", model=lambda: network().to("meta")
    ),
    "NaN inputs": Wrong(
        lambda w: w.step(x=w.x * torch.nan), "NaN or infinite for 7 of 7.*position 0: look for bad inputs"
    ),
    "infinite clean inputs": Wrong(
        lambda w: w.step(clean=(w.clean_x / 0, w.clean_y)), "clean loss is NaN or inf.*look for bad inputs"
    ),
    "NaN outputs": Wrong(
        lambda w: w.step(), "NaN or infinite.*lower the learning rate", model=lambda: Apply(lambda z: z / 0)
    ),
    "NaN losses": Wrong(
        lambda w: w.step(loss_fn=lambda o, t: NONE(o, t) * torch.nan),
        "NaN or infinite for 5 of 5.*look for",
    ),
    "infinite slopes": Wrong(
        lambda w: w.step(loss_fn=lambda o, t: (0 * o).square().sum(1).sqrt()),
        "alignments are NaN or infinite.*lower the learning rate",
    ),
    "one loss for all": Wrong(
        lambda w: w.step(loss_fn=nn.CrossEntropyLoss()),
        r"one loss per example.*got \(\); .*reduction=.none",
    ),
    "a sum of losses": Wrong(
        lambda w: w.step(loss_fn=nn.CrossEntropyLoss(reduction="sum")), r"got \(\); use reduction=.none"
    ),
    "a loss for each output": Wrong(
        lambda w: w.step(y=torch.rand(7, 3), clean=(w.clean_x, torch.rand(5, 3)), loss_fn=nn.MSELoss(reduction="none")),
        r"got \(5, 3\).*average over any further dimension yourself",
    ),
    "complex losses": Wrong(
        lambda w: w.step(loss_fn=lambda o, t: NONE(o, t) * 1j), "real numbers, got torch.complex64: take", TypeError
    ),
    "losses without a slope": Wrong(
        lambda w: w.step(loss_fn=lambda o, t: (o.argmax(1) != t).float()),
        "does not depend on any trainable",
    ),
    "losses in a tuple": Wrong(
        lambda w: w.step(loss_fn=lambda o, t: (NONE(o, t),)), "must return a tensor, got tuple", TypeError
    ),
    "empty batch": Wrong(lambda w: w.step(x=w.x[:0], y=w.y[:0]), "batch is empty: give it at least one"),
    "empty clean batch": Wrong(
        lambda w: w.step(clean=(w.clean_x[:0], w.clean_y[:0])), "clean batch is empty: give it at least one"
    ),
    "three parts": Wrong(lambda w: w.step(batch=(w.x, w.y, w.y)), r"must be a pair \(inputs, targets\)", TypeError),
    "a loader in place of a batch": Wrong(
        lambda w: w.step(clean=DataLoader(TensorDataset(w.clean_x, w.clean_y))),
        "must be a pair.*got DataLoader: draw one batch at a time, as .*clean_batches",
        TypeError,
    ),
    "a dict of parts": Wrong(lambda w: w.step(batch={"x": w.x, "y": w.y}), "must be a pair.*got dict", TypeError),
    "a loader": Wrong(
        lambda w: w.step(clean=[(w.clean_x, w.clean_y)]), "clean batch must be a pair.*got list", TypeError
    ),
    "label too large": Wrong(lambda w: w.step(y=w.y + 1), "label 3 is out of range.*labels go from 0 to 2"),
    "negative clean label": Wrong(
        lambda w: w.step(clean=(w.clean_x, w.clean_y - 1)), "clean label -1 is out of range.*from 0 to 2"
    ),
    "binary targets above 1": Wrong(
        lambda w: w.step(
            y=w.y.float(),
            clean=(w.clean_x, w.clean_y.float()),
            loss_fn=lambda o, t: nn.functional.binary_cross_entropy(o[:, 0].sigmoid(), t, reduction="none"),
        ),
        rf"between 0 and 1.*{DO_NOT_FIT}",
    ),
    "chance where none is allowed": Wrong(
        deterministically(lambda w: w.step()),
        r"does not have a deterministic implementation.*use_deterministic_algorithms",
        model=lambda: Apply(unpooled),
    ),
    "nothing to train": Wrong(
        lambda w: Reweighter(w.model, None, NONE).loss((w.x, w.y), (w.clean_x, w.clean_y)),
        "no trainable parameter: set requires_grad",
        model=lambda: network().requires_grad_(False),
    ),
    "no optimizer": Wrong(
        lambda w: Reweighter(w.model, None, NONE).step((w.x, w.y), (w.clean_x, w.clean_y)),
        r"needs an optimizer: give one to Reweighter, or use loss\(\)",
    ),
    "another model's optimizer": Wrong(
        lambda w: Reweighter(network(), w.optimizer, NONE), "none of the model's.*build it from model.param"
    ),
    "a name for an optimizer": Wrong(
        lambda w: Reweighter(w.model, "sgd", NONE), "optimizer must be a.*got str", TypeError
    ),
    "a function for a model": Wrong(
        lambda w: Reweighter(w.model.forward, None, NONE), "must be a torch.nn.Module, got method: wrap", TypeError
    ),
    "a name for a loss": Wrong(
        lambda w: Reweighter(w.model, None, "mse"),
        r"loss_fn must be a function of \(outputs, targets\), got str",
        TypeError,
    ),
    "unknown engine": Wrong(lambda w: w.step(engine="backward"), "'backward'; choose one of 'auto', 'forward',"),
    "no virtual step": Wrong(
        lambda w: alignment(w.model, NONE, (w.x, w.y), (w.clean_x, w.clean_y), "lookahead", step_size=0.0),
        "step_size must be positive, got 0.0",
    ),
    "direction of other parameters": Wrong(
        lambda w: directional_derivative(w.model, NONE, (w.x, w.y), {"weight": torch.ones(3)}),
        "direction must have one tensor for each trainable parameter of the model, by name",
    ),
    "weights of nothing": Wrong(lambda w: to_weights(torch.ones(0)), r"shape \(n,\) with n > 0, got \(0,\)"),
    "weights of a matrix": Wrong(lambda w: to_weights(torch.ones(2, 2)), r"shape \(n,\).*got \(2, 2\)"),
    "weights of NaN": Wrong(lambda w: to_weights(torch.tensor([torch.nan])), "NaN or inf.*lower the learning"),
}


def as_step(n: int) -> SimpleNamespace:
    return SimpleNamespace(weights=torch.ones(n), alignment=torch.ones(n), losses=torch.ones(n))


DIGITS = ("x_train", "y_train", "x_test", "y_test")
VALUES = {
    "a ledger of negative size": Wrong(lambda w: WeightLedger(-1), "n must be .* at least 1, got -1"),
    "a ledger that forgets nothing": Wrong(lambda w: WeightLedger(3, decay=1.0), "decay must lie between 0"),
    "margins of one column": Wrong(
        lambda w: WeightLedger(7).record(as_step(7), range(7), torch.zeros(7, 1), torch.zeros(7)),
        r"\(7, 1\) leave no other class .*squeeze",
    ),
    "margins without labels": Wrong(
        lambda w: WeightLedger(7).record(as_step(7), range(7), torch.zeros(7, 3)), "logits need targets, the given lab"
    ),
    "margins of half a label": Wrong(
        lambda w: WeightLedger(7).record(as_step(7), range(7), torch.zeros(7, 3), torch.full((7,), 0.5)),
        "targets must be whole numbers from 0 to 2, got 0.5",
    ),
    "labels of other length": Wrong(
        lambda w: suspects(WeightLedger(3), [0, 1]), r"labels must have shape \(3,\), .* got \(2,\)"
    ),
    "a label that is missing": Wrong(
        lambda w: suspects(WeightLedger(3), ["a", None, "b"]), r"labels\[1\] is None: give every example a label"
    ),
    "a label that is no number": Wrong(
        lambda w: suspects(WeightLedger(3), [0.0, float("nan"), 1.0]), r"labels\[1\] is nan: give every example a label"
    ),
    "an empty ledger": Wrong(lambda w: suspects(WeightLedger(2), [0, 1]), "holds no alignment: record steps"),
    "two examples to explain": Wrong(
        lambda w: explain(w.model, NONE, (w.x[:2], w.y[:2]), (w.clean_x, w.clean_y)), "length 1, got 2"
    ),
    "an example of another shape": Wrong(
        lambda w: explain(w.model, NONE, (w.x[:1, :1], w.y[:1]), (w.clean_x, w.clean_y)),
        "cannot take the example's batch, inputs .* shapes, types and devices have to fit",
    ),
    "a clean set without labels": Wrong(
        lambda w: check_clean_set((w.x, w.y), w.clean_x), r"clean set must be a pair \(inputs, labels\)"
    ),
    "a clean class without data": Wrong(
        lambda w: check_clean_set((w.x, w.y), (w.clean_x, w.clean_y + 5)), "class 5, which the training set"
    ),
    "a clean set of NaN": Wrong(
        lambda w: check_clean_set((w.x, w.y), (w.clean_x * torch.nan, w.clean_y)),
        "finite.*fill what is miss",
    ),
    "no epoch": Wrong(lambda w: Options(epochs=0), "epochs must be at least 1, got 0"),
    "a learning rate of NaN": Wrong(lambda w: Options(lr=float("nan")), "lr must be positive, got nan"),
    "a negative seed": Wrong(lambda w: Options(seed=-1), "seed must lie between 0 and 4294967295, got -1"),
    "an unknown signal": Wrong(lambda w: Options(by="charm"), "'charm'; choose one of measured, both, alignment"),
    "a network of nothing": Wrong(lambda w: Mlp([4]), "needs an input and an output width, got .4."),
    "images of another size": Wrong(lambda w: LeNet()(torch.zeros(2, 1, 8, 8)), r"takes images of shape \(1, 28"),
    "an unknown method": Wrong(lambda w: SHORT.with_(method="l2rv"), "'l2rv'; choose one of baseline"),
    "a method that is an object": Wrong(
        lambda w: SHORT.with_(method=object()), "unknown method .* or hand over a class"
    ),
    "a class that is no method": Wrong(lambda w: SHORT.with_(method=dict), "'dict'.*choose one of baseline"),
    "a class of one's own on record": Wrong(
        lambda w: SHORT.with_(method=OwnMethod).to_dict(), "OwnMethod is a class of your own.*METHODS"
    ),
    "a checkpoint of a class of one's own": Wrong(
        lambda w: fit(SHORT.with_(method=OwnMethod), checkpoint=w.folder / "own.pt"), "must have a name"
    ),
    "an unknown data set": Wrong(lambda w: SHORT.with_(data="mnits"), "'mnits'; choose one of mnist"),
    "an unknown model": Wrong(lambda w: SHORT.with_(model="vgg"), "'vgg'; choose one of lenet"),
    "an unknown scale": Wrong(lambda w: SHORT.with_(scale="huge"), "'huge'; choose one of paper"),
    "no steps": Wrong(lambda w: SHORT.with_(steps=0), "steps must be at least 1, got 0"),
    "steps in words": Wrong(lambda w: SHORT.with_(steps="many"), "steps must be of the type int, got 'many'"),
    "half a step": Wrong(lambda w: SHORT.with_(steps=2.5), "steps must be of the type int, got 2.5"),
    "a batch of negative size": Wrong(lambda w: SHORT.with_(batch_size=-1), "batch_size must be at least 1"),
    "no learning rate": Wrong(lambda w: SHORT.with_(lr=0.0), "lr must be positive and finite, got 0.0"),
    "an infinite learning rate": Wrong(lambda w: SHORT.with_(lr=float("inf")), "lr must be positive and fin"),
    "negative momentum": Wrong(lambda w: SHORT.with_(momentum=-0.1), "momentum must be finite and must not"),
    "a seed too large": Wrong(lambda w: SHORT.with_(seed=2**40), "seed must be at most 4294967295"),
    "a name with a path": Wrong(lambda w: SHORT.with_(name="../x"), "since it names a file, got '../x'"),
    "no clean image": Wrong(lambda w: SHORT.with_(clean_size=0), "size must be at least 1, got 0"),
    "more noise than labels": Wrong(lambda w: CleanSet(noise=1.5), "noise must lie between 0 and 1, got 1.5"),
    "a rate above 1": Wrong(lambda w: UniformFlip(1.5), "rate must lie between 0 and 1, got 1.5"),
    "a background that is no class": Wrong(
        lambda w: make_split(load("digits"), (BackgroundFlip(0.4, 11),)), "no class 11"
    ),
    "a pair after flipped labels": Wrong(
        lambda w: make_split(load("digits"), [UniformFlip(0.3), PairImbalance(4, 9, 0.9, 80)], CleanSet(size=4)),
        "PairImbalance changes the classes and comes after UniformFlip.*put PairImbalance first",
    ),
    "one class against itself": Wrong(lambda w: PairImbalance(4, 4), "two different classes, got 4 twice"),
    "a tail the wrong way": Wrong(lambda w: LongTail(0.5), "factor must be at least 1, got 0.5"),
    "a larger subset": Wrong(
        lambda w: make_split(load("digits"), (Subset(9999),)), "9999 images are wanted and .* lower size"
    ),
    "a clean set of everything": Wrong(
        lambda w: fit(SHORT.with_(clean_size=5000), progress=False), "clean set of 5000 cannot be taken out"
    ),
    "unknown fields": Wrong(
        lambda w: Experiment.from_dict({"learning_rate": 1}),
        "unknown fields in an experiment: learning_rate",
    ),
    "an unknown bias": Wrong(
        lambda w: Experiment.from_dict({"biases": [{"kind": "Blur"}]}), "'Blur'; choose one of PairImb"
    ),
    "a bias with an unknown number": Wrong(
        lambda w: Experiment.from_dict({"biases": [{"kind": "UniformFlip", "share": 1}]}),
        "no UniformFlip can",
    ),
    "an experiment in a list": Wrong(lambda w: Experiment.from_dict([]), "a dict of its fields, got list"),
    "a stream of nothing": Wrong(lambda w: BatchStream(0, 1, 0), "must be at least 1, got 0 and 1"),
    "a negative step": Wrong(lambda w: BatchStream(5, 2, 0).indices(-1), "must not be negative, got -1"),
    "points in a tail the wrong way": Wrong(lambda w: two_classes(10, imbalance=0.5), "imbalance >= 1"),
    "an unknown figure": Wrong(lambda w: grid("fig9"), "'fig9'; choose one of"),
    "an unknown profile of a notebook": Wrong(lambda w: grid("table1", "qick"), "'?qick'?.*(choose|scale)"),
    "an unknown profile of a notebook that has two": Wrong(
        lambda w: by_profile("qick", quick=5, paper=50), "unknown profile 'qick'; choose one of quick, paper"
    ),
    "a ratio that is none in a notebook": Wrong(lambda w: mnist_imbalance(ratio=1), "must be at least 2 .*, got 1"),
    "data of an unknown name": Wrong(lambda w: load("imagenet"), "'imagenet'; choose one of mnist"),
    "data that is not there": Wrong(
        lambda w: load("mnist", w.folder, download=False),
        "mnist is not in .* use the embedded .*digits",
        DataUnavailable,
    ),
}


def npz(**arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def parquet(label: str) -> bytes:
    return pd.DataFrame({"a": [1, 2], "label": ["u", label]}).to_parquet(compression=None)


def checkpoint_of(experiment: Experiment) -> Callable[[World], object]:
    return lambda w: write_checkpoint(
        {"experiment": experiment.to_dict(), "checksum": load("digits").checksum}, w / "c"
    )


def resumed(w):
    return fit(SHORT, progress=False, checkpoint=w / "c")


def record_with(old: str, new: str) -> Callable[[World], object]:
    def write(w):
        path = append(fit(SHORT, progress=False), w.folder)
        path.write_text(path.read_text().replace(old, new))

    return write


RAW = "MNIST/raw/train-images-idx3-ubyte"
FILES = {
    "an npz cut short": Wrong(
        lambda w: load("mnist", w.folder),
        "mnist.npz cannot be used.*Delete it",
        DataCorrupt,
        files=lambda w: w.write("mnist.npz", npz(**{name: np.zeros((3, 2, 2)) for name in DIGITS})[:200]),
    ),
    "an npz of other arrays": Wrong(
        lambda w: load("mnist", w.folder),
        "y_train, x_test, y_test are missing. Delete it",
        DataCorrupt,
        files=lambda w: w.write("mnist.npz", npz(x_train=np.zeros(3))),
    ),
    "a gz cut short": Wrong(
        lambda w: load("mnist", w.folder, download=False),
        "ubyte.gz is damaged.*Delete it",
        DataCorrupt,
        files=lambda w: w.write(f"{RAW}.gz", gzip.compress(bytes(1000))[:-9]),
    ),
    "an idx file of something else": Wrong(
        lambda w: load("mnist", w.folder, download=False),
        "files in .*MNIST are damaged.*Delete that folder",
        DataCorrupt,
        files=lambda w: [w.write(RAW.replace("train-images-idx3", name), b"\x00\x00\x08\x03" * 9) for name in IDX],
    ),
    "a csv without a label": Wrong(
        lambda w: read_data(w / "a.csv"),
        "which column of .*a.csv is the label. Name it with --label-column",
        files=lambda w: w.write("a.csv", "a,b\n1,2\n"),
    ),
    "a csv of no text": Wrong(
        lambda w: read_data(w / "a.csv"),
        "a.csv cannot be read",
        files=lambda w: w.write("a.csv", b"\xff\xfe\0"),
    ),
    "an infinite number in a csv": Wrong(
        lambda w: read_data(w / "a.csv"),
        "'a' holds an infinite number: remove or replace it",
        files=lambda w: w.write("a.csv", "a,label\ninf,u\n2,v\n"),
    ),
    "a clean label that the data lack": Wrong(
        lambda w: read_pair(w / "a.csv", w / "b.csv"),
        "the clean set has the label 'w', which the data lack; they have 'u', 'v'",
        files=lambda w: (w.write("a.csv", "a,label\n1,u\n2,v\n"), w.write("b.csv", "a,label\n1,u\n2,w\n")),
    ),
    "a parquet file cut short": Wrong(
        lambda w: read_data(w / "a.parquet"),
        "a.parquet (cannot be read as a table|needs pyarrow)",
        files=lambda w: w.write("a.parquet", b"PAR1 and no more"),
    ),
    "a parquet file with text that is no UTF-8": Wrong(
        lambda w: read_data(w / "a.parquet"),
        "a.parquet cannot be read as a table",
        files=lambda w: w.write("a.parquet", parquet("v").replace(b"\1\0\0\0v", b"\1\0\0\0\x80")),
    ),
    "an image that is none": Wrong(
        lambda w: read_data(w / "d"),
        "x.png cannot be read as an image.*repair it or move it away",
        files=lambda w: w.write("d/u/x.png", b"no image"),
    ),
    "arrays with objects": Wrong(
        lambda w: read_data(w / "a.npz"),
        "a.npz cannot be read as an .npz of plain arrays",
        files=lambda w: w.write("a.npz", npz(x=np.array([{}], dtype=object), y=[1])),
    ),
    "no such file": Wrong(lambda w: read_data(w / "a.csv"), "there is no file or folder"),
    "a pickle": Wrong(
        lambda w: read_data(w / "a.pkl"),
        "neither a folder of images nor one of",
        files=lambda w: w.write("a.pkl"),
    ),
    "a checkpoint with a wrong checksum": Wrong(
        resumed,
        "is damaged or is not a checkpoint: delete it",
        files=lambda w: (checkpoint_of(SHORT)(w), w.write("c", (w / "c").read_bytes()[:-1] + b"?")),
    ),
    "an empty checkpoint": Wrong(resumed, "is damaged or is not a checkpoint: delete it", files=lambda w: w.write("c")),
    "a checkpoint of another run": Wrong(
        resumed, "belongs to another experiment.*delete it", files=checkpoint_of(SHORT.with_(seed=1))
    ),
    "a checkpoint without a state": Wrong(
        resumed, "does not fit this run.*'confusion'.*delete it", files=checkpoint_of(SHORT)
    ),
    "a checkpoint of a list": Wrong(
        lambda w: read_checkpoint(w / "c", CPU),
        "holds no state of a run: delete it",
        files=lambda w: write_checkpoint([1, 2], w / "c"),
    ),
    "a checkpoint inside a file": Wrong(
        lambda w: fit(SHORT, progress=False, checkpoint=w / "c" / "d"),
        "cannot be written to .*: name another file for the checkpoint",
        files=lambda w: w.write("c"),
    ),
    "a record that was changed": Wrong(
        lambda w: load_records("short", w.folder),
        "short.jsonl, line 1, is not a record: .*does not match its own contents; restore the file",
        files=record_with('"steps":2', '"steps":3'),
    ),
    "a record of which only a result was changed": Wrong(
        lambda w: load_records("short", w.folder),
        "line 1, is not a record: .*does not match its own contents; restore the file",
        files=record_with('"realised_noise":0.', '"realised_noise":0.1'),
    ),
    "a record of something else": Wrong(
        lambda w: load_records("short", w.folder),
        "line 1, is not a record: it lacks 'id'; restore the file, or move that line out of it",
        files=lambda w: w.write("short.jsonl", '{"x": 1}\n'),
    ),
    "records that are no text": Wrong(
        lambda w: load_records("short", w.folder),
        "line 1, is not a record: .*decode.*; restore the file",
        files=lambda w: w.write("short.jsonl", b"\xff\xfe\n"),
    ),
    "a file for a folder of records": Wrong(
        lambda w: load_records(folder=w / "f"), "is a file: name the folder", files=lambda w: w.write("f")
    ),
    "no process": Wrong(lambda w: run_all([SHORT], w.folder, jobs=0), "n_jobs == 0"),
}
IDX = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
CALLS = STEPS | VALUES | FILES


def test_the_table_is_as_long_as_it_should_be():
    assert len(STEPS) + len(VALUES) + len(FILES) == len(CALLS), "two rows of one name"
    assert len(CALLS) + len(COMMANDS) >= 60


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_call_is_one_clear_error_and_changes_nothing(name, tmp_path):
    row = CALLS[name]
    torch.manual_seed(0)
    world = World(tmp_path, row.model())
    row.files(world)
    before = world.state()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns of some of this before it fails
        with pytest.raises(row.error, match=f"(?s){row.message}"):
            row.call(world)
    assert world.state() == before


TABLE = "a,b,label\n" + "".join(f"{i},{i % 3},{'uv'[i % 2]}\n" for i in range(12))
COMMANDS = {
    "reproduce table2 --rows l2rv --records {0}": "table2 has no row 'l2rv'; choose from",
    "reproduce table2 --where data=digit --records {0}": "table2 has no data 'digit'; choose from",
    "reproduce table2 --where data --records {0}": "where takes conditions such as data=mnist, got 'data'",
    "reproduce table2 --where data=digits --where data=digits --records {0}": "--where is given twice: give it once,",
    "reproduce table2 --rows l2rw --rows=random --records {0}": "--rows is given twice: give it once, with all",
    "reproduce fig2 --set steps=1 --set lr=1 --records {0}": "--set is given twice",
    "reproduce fig2 --set steps --records {0}": "set takes fields with their values, such as steps=500, got 'steps'",
    "reproduce fig2 --set stpes=5 --records {0}": "no field 'stpes' to set; choose from data, .*steps, .*augment",
    "reproduce fig2 --set method=l2rw --records {0}": "no field 'method' to set; choose from",
    "reproduce fig2 --set seed=1 --records {0}": "no field 'seed' to set; choose from",
    "reproduce fig2 --set steps=many --records {0}": "steps is a whole number, got 'many'",
    "reproduce fig2 --set lr=fast --records {0}": "lr is a number, got 'fast'",
    "reproduce fig2 --set augment=maybe --records {0}": "augment is true or false, got 'maybe'",
    "reproduce fig2 --set lr_drops=4,x --records {0}": "lr_drops is numbers such as 400,600, got '4,x'",
    "reproduce fig2 --set steps=0 --records {0}": "steps must be at least 1, got 0",
    "reproduce fig2 --set data=imagenet --records {0}": "unknown data set 'imagenet'; choose one of",
    "audit {0}/a.csv --clean {0}/b.csv --ignore a --ignore b --out {0}/o": "--ignore is given twice",
    "reproduce fig2 --scale reduced --records {0}": "reduced",
    "reproduce table2 --trials 0 --records {0}": "trials must be at least 1, got 0",
    "reproduce table2 --jobs 0 --records {0}": "jobs must be a number of processes, or -1 for one a core, got 0",
    "reproduce table2 --jobs -7 --records {0}": "jobs must be a number of processes, or -1 for one a core, got -7",
    "reproduce table2 --device cuda:99 --records {0}": "device 'cuda:99' cannot be used",
    "reproduce table2 --device warp --records {0}": "device 'warp' cannot be used",
    "reproduce table2 --device meta --records {0}": "device 'meta' cannot be used",
    "reproduce fig2 --records {0}/a.csv": "a.csv is a file: name the folder",
    "reproduce fig2 --records {0}/a.csv/x": "cannot be written to .*: name another folder with --records",
    "reproduce fig2 --records {0}/spoilt": "fig2.jsonl, line 1, is not a record: .*restore",
    "show --records {0}/a.csv": "a.csv is a file: name the folder",
    "show --records {0}/none": "there is no folder .*none: name the folder .* with --records",
    "show --name nope --records {0}": "nothing of 'nope' is on record in .*: the folder holds no record",
    "show --name nope --records {0}/spoilt": "nothing of 'nope' is on record in .*: there is fig2",
    "show --records {0}/spoilt": "fig2.jsonl, line 1, is not a record",
    "report --root {0}": "has no folder data: name a checkout of the project with --root",
    "audit {0}/none.csv --clean {0}/b.csv --out {0}/o": "there is no file or folder .*none.csv",
    "audit {0}/a.csv --clean {0}/a.csv --out {0}/o": "is the data itself",
    "audit {0}/a.csv --clean {0}/b.csv --label-column c --out {0}/o": "has no column 'c'; it has 'a', 'b', 'label'",
    "audit {0}/a.csv --clean {0}/b.csv --ignore c --out {0}/o": "has no column 'c'",
    "audit {0}/a.csv --clean {0}/b.csv --epochs 0 --out {0}/o": "epochs must be at least 1, got 0",
    "audit {0}/a.csv --clean {0}/b.csv --seed -1 --out {0}/o": "seed must lie between 0",
    "audit {0}/a.csv --clean {0}/b.csv --shown 0 --out {0}/o": "shown must be at least 1, got 0",
    "audit {0}/a.csv --clean {0}/b.csv --out {0}/a.csv": "is a file: name a folder with --out",
    "audit {0}/a.csv --clean {0}/b.csv --out {0}/a.csv/x": "cannot be written to .*: name another folder with --out",
}
SYNTAX = {
    "": "subcommand",
    "frobnicate": "frobnicate",
    "run": "Unrecognized",
    "reproduce fig2 --trials many": "many",
    "reproduce fig2 --scale huge": "huge",
    "reproduce fig2 --frobnicate": "frobnicate",
    "reproduce fig9": "fig9",
    "audit": "clean",
    "audit a.csv --clean b.csv --by charm": "charm",
}


def leave(arguments: list[str], capsys) -> tuple[str, str]:
    """Standard output and error of a command that must end with the exit code 2."""
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    return capsys.readouterr()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_command_is_one_line_and_leaves_no_file(command, tmp_path, capsys):
    world = World(tmp_path, network())
    world.write("a.csv", TABLE)
    world.write("b.csv", TABLE)
    world.write("spoilt/fig2.jsonl", "{}\n")
    before = world.state()
    out, err = leave(shlex.split(command.format(tmp_path)), capsys)
    assert out == ""
    assert len(err.splitlines()) == 1
    assert re.search(rf"^l2rw: .*{COMMANDS[command]}", err), err
    assert world.state() == before


@pytest.mark.parametrize("command", SYNTAX)
def test_what_is_no_command_at_all_is_shown_with_the_way_to_help(command, capsys):
    out, err = leave(shlex.split(command), capsys)
    assert out == ""
    assert SYNTAX[command] in err
    assert "--help" in err
    assert "Traceback" not in err
