"""An alignment taken apart adds up to the whole, and agrees with gradients computed one example at a time."""

import copy

import pytest
import torch
from torch import nn

from l2rw_core import Reweighter, alignment
from l2rw_core.audit import explain
from l2rw_core.ledger import WeightLedger
from l2rw_core.models import Mlp

LOSS = nn.CrossEntropyLoss(reduction="none")


def mixed_model():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(48, 4)
    ).double()


def images(n, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 1, 6, 6, generator=generator, dtype=torch.float64)
    return x, torch.randint(4, (n,), generator=generator)


def gradients(model, batch):
    """One list of parameter gradients an example, by plain backward passes."""
    x, y = batch
    return [
        torch.autograd.grad(LOSS(model(x[i : i + 1]), y[i : i + 1]).sum(), list(model.parameters()))
        for i in range(len(y))
    ]


@pytest.mark.parametrize("training", [True, False])
def test_shares_add_up_and_are_inner_products_of_gradients(training):
    model, example, clean = mixed_model().train(training), images(1, 1), images(7, 2)
    why = explain(model, LOSS, example, clean)
    assert why.clean["share"].sum() == pytest.approx(why.alignment, rel=1e-10)
    assert why.layers["share"].sum() == pytest.approx(why.alignment, rel=1e-10)

    reference = copy.deepcopy(model).eval()
    (mine,), theirs = gradients(reference, example), gradients(reference, clean)
    pulls = [sum(float((a * b).sum()) for a, b in zip(mine, other, strict=True)) / 7 for other in theirs]
    assert why.clean["share"].sort_index().tolist() == pytest.approx(pulls, rel=1e-10)
    mean = [torch.stack(parts).mean(0) for parts in zip(*theirs, strict=True)]
    names = [name for name, _ in reference.named_parameters()]
    assert list(why.layers.index) == list(dict.fromkeys(name.split(".")[0] for name in names))
    last = sum(float((mine[k] * mean[k]).sum()) for k, name in enumerate(names) if name.startswith("5."))
    assert why.layers["share"]["5"] == pytest.approx(last, rel=1e-10)
    assert (why.layers["cosine"].abs() <= 1 + 1e-12).all()

    _, u = alignment(reference, LOSS, example, clean)
    assert why.alignment == pytest.approx(float(u), rel=1e-10)


def test_layers_without_a_forward_mode_rule():
    model = nn.Sequential(nn.Flatten(), nn.utils.parametrizations.weight_norm(nn.Linear(36, 4))).double()
    example, clean = images(1, 1), images(7, 2)
    why = explain(model, LOSS, example, clean)
    expected = alignment(model, LOSS, example, clean, engine="lookahead")[1]
    assert why.alignment == pytest.approx(float(expected), rel=1e-10)
    assert why.clean["share"].sum() == pytest.approx(why.alignment, rel=1e-10)


def test_the_model_is_left_as_it_was():
    model = mixed_model()
    model[3].eval()
    before = copy.deepcopy(model.state_dict())
    explain(model, LOSS, images(1, 1), images(5, 2))
    assert [module.training for module in model] == [True, True, True, False, True, True]
    assert all(p.grad is None for p in model.parameters())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_frozen_layers_have_no_share():
    model = mixed_model()
    model[0].requires_grad_(False)
    why = explain(model, LOSS, images(1, 1), images(5, 2))
    assert "0" not in why.layers.index
    assert why.layers["share"].sum() == pytest.approx(why.alignment, rel=1e-10)


def test_largest_shares_come_first_and_carry_their_names():
    clean = images(5, 2)
    why = explain(mixed_model(), LOSS, images(1, 1), clean, [f"photo {i}" for i in range(5)])
    sizes = why.clean["share"].abs()
    assert sizes.is_monotonic_decreasing
    assert why.clean["name"].tolist() == [f"photo {i}" for i in why.clean.index]
    assert why.clean["name"].iloc[0] in str(why)
    assert f"{why.alignment:+.3g}" in str(why)


def test_a_twin_with_the_right_label_helps_and_with_a_wrong_one_harms():
    x, y = images(6, 3)
    model = mixed_model()
    right = explain(model, LOSS, (x[2:3], y[2:3]), (x, y))
    wrong = explain(model, LOSS, (x[2:3], (y[2:3] + 1) % 4), (x, y))
    assert right.clean["share"][2] > 0 > wrong.clean["share"][2]
    assert "helps" in str(right)


def test_wrong_calls_are_refused():
    model, clean = mixed_model(), images(5, 2)
    with pytest.raises(ValueError, match="one example, a batch of length 1, got 2"):
        explain(model, LOSS, images(2, 1), clean)
    with pytest.raises(ValueError, match="5 clean examples and 2 names"):
        explain(model, LOSS, images(1, 1), clean, ["a", "b"])
    with pytest.raises(ValueError, match=r"\(n,\)|shape"):
        explain(model, nn.CrossEntropyLoss(), images(1, 1), clean)
    assert all(module.training for module in model)


def test_accumulated_alignments_are_what_tracin_computes(tmp_path):
    """Captum's TracInCP with one checkpoint a step and unit step sizes, averaged over the clean examples."""
    influence = pytest.importorskip("captum.influence", reason="captum, an independent oracle, is in the extra `dev`")
    (x, y), clean = images(12, 1), images(5, 2)
    torch.manual_seed(0)
    model = Mlp([36, 8, 4]).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    reweighter, ledger, kept = Reweighter(model, optimizer, LOSS), WeightLedger(12), []
    x, clean = x.flatten(1), (clean[0].flatten(1), clean[1])
    for number in range(8):
        kept.append(str(tmp_path / f"{number}.pt"))
        torch.save(model.state_dict(), kept[-1])
        ledger.record(reweighter.step((x, y), clean), range(12))

    def load(net, path):
        net.load_state_dict(torch.load(path, weights_only=True))
        return 1.0

    data = torch.utils.data.TensorDataset(x, y)
    tracin = influence.TracInCP(model, data, kept, load, loss_fn=LOSS, batch_size=12)
    expected = tracin.influence(clean).mean(0)
    torch.testing.assert_close(ledger.total("influence"), expected, rtol=1e-9, atol=1e-12)
    assert expected.abs().max() > 1
