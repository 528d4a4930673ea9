"""Structure and size of the networks are those of the released experiments."""

import pytest
import torch
from torch import nn

from l2rw_core.models import LeNet, Mlp, count_parameters, resnet32, wide_resnet28_10


@pytest.mark.parametrize(
    ("build", "count"),
    [
        (LeNet, 167_113),
        (lambda: LeNet(10), 168_022),
        (resnet32, 463_018),
        (lambda: resnet32(100), 468_868),
        (wide_resnet28_10, 36_211_658),
        (lambda: wide_resnet28_10(100), 36_269_348),
        (lambda: Mlp([3, 5, 2]), 3 * 5 + 5 + 5 * 2 + 2),
    ],
)
def test_parameter_counts(build, count):
    assert count_parameters(build()) == count


def test_frozen_parameters_do_not_count():
    model = Mlp([3, 5, 2])
    model.layers[0].requires_grad_(False)
    assert count_parameters(model) == 5 * 2 + 2


@pytest.mark.parametrize(
    ("model", "shape", "expected"),
    [
        (LeNet(), (4, 1, 28, 28), (4,)),
        (LeNet(10), (4, 1, 28, 28), (4, 10)),
        (LeNet(1, size=8), (4, 1, 8, 8), (4,)),
        (LeNet(10, channels=3, size=32), (4, 3, 32, 32), (4, 10)),
        (resnet32(), (4, 3, 32, 32), (4, 10)),
        (Mlp([4, 1]), (4, 2, 2), (4,)),
    ],
)
def test_output_shapes(model, shape, expected):
    assert model(torch.rand(shape)).shape == expected


def test_lenet_shrinks_28_pixels_to_14_7_and_4():
    sizes = []
    model = LeNet()
    for conv in model.convs:
        conv.register_forward_hook(lambda _, args, out: sizes.append((args[0].shape[-1], out.shape[-1])))
    model(torch.rand(2, 1, 28, 28))
    assert sizes == [(28, 28), (14, 14), (7, 7)]
    assert model.hidden.in_features == 4 * 4 * 64


@pytest.mark.parametrize("size", [28, 14, 7])
def test_pooling_pads_as_the_released_code_does(size):
    """An even size gets one row after its end, an odd size one on each side, both of minus infinity."""
    from l2rw_core.models import _halving_max_pool

    x = torch.randn(2, 3, size, size)
    before = size % 2
    padded = nn.functional.pad(x, (before, 1, before, 1), value=-torch.inf)
    expected = padded.unfold(2, 3, 2).unfold(3, 3, 2).amax((-1, -2))
    assert torch.equal(_halving_max_pool(x), expected)


def test_lenet_starts_as_the_released_code_does():
    torch.manual_seed(0)
    model = LeNet()
    for module in (*model.convs, model.hidden):
        assert module.weight.abs().max() <= 0.2
        assert not module.bias.any()
    # The standard deviation of a normal of 0.1 that is cut at 0.2.
    assert float(model.convs[2].weight.std().detach()) == pytest.approx(0.088, abs=0.002)


def test_lenet_says_what_images_it_takes():
    with pytest.raises(ValueError, match=r"\(1, 28, 28\), got \(1, 8, 8\)"):
        LeNet()(torch.rand(2, 1, 8, 8))


def test_mlp_needs_two_widths():
    with pytest.raises(ValueError, match="input and an output"):
        Mlp([3])


@pytest.mark.parametrize(("build", "units"), [(resnet32, 15), (wide_resnet28_10, 12)])
def test_two_convolutions_a_unit_and_one_before_them(build, units):
    assert sum(isinstance(m, nn.Conv2d) for m in build().modules()) == 1 + 2 * units


def test_batch_norm_shifts_but_does_not_scale():
    norms = [m for m in resnet32().modules() if isinstance(m, nn.BatchNorm2d)]
    assert all("weight" not in dict(m.named_parameters()) and m.bias is not None for m in norms)
    assert all(m.eps == 1e-3 and m.momentum == 1e-3 for m in norms)
    assert not any("weight" in key for m in norms for key in m.state_dict())


def test_dropout_only_where_it_belongs():
    assert sum(isinstance(m, nn.Dropout) for m in resnet32().modules()) == 0
    assert sum(isinstance(m, nn.Dropout) for m in wide_resnet28_10().modules()) == 12


def test_shortcut_pads_channels_on_both_sides_and_pools():
    model = resnet32()
    unit = model.blocks[5]  # first of the second stage: 16 to 32 channels
    x = torch.rand(2, 16, 8, 8)
    with torch.no_grad():
        for p in unit.residual.parameters():
            p.zero_()
    out = unit(x)
    torch.testing.assert_close(out[:, 8:24], nn.functional.avg_pool2d(x, 2))
    assert not out[:, :8].any()
    assert not out[:, 24:].any()
