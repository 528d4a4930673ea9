"""Every differentiable operator of PyTorch's own database, with its own sample inputs, against rows of the Jacobian.

An operator's tensors are the parameters of a model, random projections of what it returns are the losses, all in double
precision. `OTHERS` says where an operator ends that the engine `forward` cannot follow: a line that has become wrong,
because PyTorch has got a rule or mended one, fails. Under another version than that of `constraints.txt` an operator
may end elsewhere, and the slopes have to be right all the same.
"""

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from l2rw_core.scoring import Scoring

opinfo = pytest.importorskip("torch.testing._internal.common_methods_invocations", exc_type=ImportError)

N, PARTS = 3, 8
SAMPLES = 2
CONSTRAINTS = (Path(__file__).parents[2] / "constraints.txt").read_text().splitlines()
OF_THE_TABLES = f"torch=={torch.__version__.partition('+')[0]}" in CONSTRAINTS

OTHERS = {
    "cdist": "reverse",  # no forward mode
    "to_sparse": "reverse",
    "as_strided_scatter": "reverse",
    "ormqr": "reverse",
    "scatter_reduce.prod": "reverse",
    "index_reduce.mean": "reverse",
    "index_reduce.prod": "reverse",
    "index_reduce.amin": "reverse",
    "index_reduce.amax": "reverse",
    "nn.functional.max_unpool3d": "reverse",
    "nn.functional.pdist": "reverse",
    "native_dropout_backward": "reverse",
    "nn.functional.multi_margin_loss": "loop",  # no second derivative either
    "nn.functional.multilabel_margin_loss": "loop",
    "nn.functional.embedding_bag": "loop",
    "nn.functional.ctc_loss": "loop",
    "_segment_reduce.lengths": "loop",
    "_segment_reduce.offsets": "loop",
    "torch.ops.aten._scaled_dot_product_flash_attention_for_cpu": "loop",
    "triangular_solve": "reverse",
    "nn.functional.linear_cross_entropy.chunked": "reverse",
    "nn.functional.linear_cross_entropy.chunked_none": "loop",
}
COARSE = {
    **dict.fromkeys(("float", "cfloat"), 1e-6),  # casts to single precision
    **dict.fromkeys(("half", "chalf"), 1e-3),
    "bfloat16": 1e-2,
    "cov": 1e-6,  # weights of single precision
    "logcumsumexp": 1e-6,  # rounding of exponentials, in the backward pass too
    "matrix_exp": 1e-8,
}
WITHOUT = {"sparse.mm.reduce"}  # its parameter is a sparse CSR matrix, of which PyTorch has no dense view


class Operator(nn.Module):
    """An operator whose differentiable inputs are parameters; it returns all that it gives, as one vector."""

    def __init__(self, info, sample) -> None:
        super().__init__()
        self.info, self.finish = info, sample.output_process_fn_grad
        inputs, self.structure = tree_flatten((sample.input, sample.args, sample.kwargs))
        trained = [isinstance(t, Tensor) and t.requires_grad and t.is_floating_point() for t in inputs]
        self.own = nn.ParameterList(t.detach().clone() for t, own in zip(inputs, trained, strict=True) if own)
        self.inputs = [None if own else t for t, own in zip(inputs, trained, strict=True)]
        self.trained = trained

    def forward(self, _):
        own = iter(self.own)
        inputs = [next(own) if trained else t for t, trained in zip(self.inputs, self.trained, strict=True)]
        inputs = [t.clone() if isinstance(t, Tensor) and not t.requires_grad else t for t in inputs]
        first, args, kwargs = tree_unflatten(inputs, self.structure)
        out = self.finish(self.info(first, *args, **kwargs))
        parts = [t for t in tree_leaves(out) if isinstance(t, Tensor) and (t.is_floating_point() or t.is_complex())]
        return torch.cat([(t.real if t.is_complex() else t).double().flatten() for t in parts])


def projected(out: Tensor, factors: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(len(factors), out.numel(), generator=generator).double() @ out * factors


BATCH = torch.zeros(N), torch.arange(1, N + 1).double()
CLEAN = torch.zeros(N), torch.full((N,), 2.0).double()


def reference(model: Operator, seed: int) -> Tensor:
    parameters = list(model.parameters())

    def gradient(batch, i=None):
        torch.manual_seed(seed)
        losses = projected(model(batch[0]), batch[1])
        return torch.autograd.grad(losses.mean() if i is None else losses[i], parameters, allow_unused=True)

    v = gradient(CLEAN)
    rows = [gradient(BATCH, i) for i in range(N)]
    pairs = [[(g, w) for g, w in zip(row, v, strict=True) if g is not None and w is not None] for row in rows]
    return torch.stack([torch.as_tensor(sum((g * w).sum() for g, w in row)).double() for row in pairs])


def models(info) -> Iterator[Operator]:
    """Of the first samples that can be trained at all: something to differentiate, and finite numbers."""
    found = 0
    for sample in info.sample_inputs("cpu", torch.float64, requires_grad=True):
        model = Operator(info, sample)
        try:
            usable = (
                len(model.own) > 0
                and reference(model, 5).isfinite().all()
                and projected(model(0), CLEAN[1]).isfinite().all()
            )
        except (RuntimeError, TypeError, NotImplementedError):  # real numbers, where it wants complex ones
            continue
        if usable:
            found += 1
            yield model
        if found == SAMPLES:
            return


def name_of(info) -> str:
    return ".".join(filter(None, (info.name, info.variant_test_name)))


def differentiable() -> list:
    return [info for info in opinfo.op_db if info.supports_autograd and name_of(info) not in WITHOUT]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("part", range(PARTS))
def test_every_operator_has_the_slopes_of_the_jacobian(part):
    wrong, tried = [], 0
    for info in differentiable()[part::PARTS]:
        name, engines = name_of(info), set()
        for model in models(info):
            expected = reference(model, 5)
            scoring = Scoring(model, projected, BATCH, CLEAN)
            scoring.passes.clean_seed = 5
            torch.manual_seed(5)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                scores = scoring.scores(check=True)
            engines.add(scores.engine)
            scale = float(expected.abs().max())
            off = float((scores.alignment - expected).abs().max())
            if off > max(COARSE.get(name, 1e-9) * scale, 1e-25):
                wrong.append(f"{name}: off by {off / scale:.1g} by {scores.engine}")
            tried += 1
        as_told = engines == {OTHERS[name]} if name in OTHERS else "forward" in engines
        if OF_THE_TABLES and engines and not as_told:
            wrong.append(f"{name}: ends in {engines}")
    assert wrong == []
    assert tried > 80


@pytest.mark.skipif(not OF_THE_TABLES, reason="another version of PyTorch has other operators")
def test_the_table_names_operators_that_there_are():
    names = {name_of(info) for info in opinfo.op_db}
    assert names >= {*OTHERS, *COARSE, *WITHOUT}
