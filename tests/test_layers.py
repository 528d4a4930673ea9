"""The two factors of equation (12) multiply and add up to the alignments, or the model is refused."""

import pytest
import torch
from architectures import Branching, TiedLanguageModel
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from l2rw_core.alignment import alignment
from l2rw_core.layers import layer_factors
from l2rw_core.models import LeNet, Mlp

CROSS_ENTROPY = nn.CrossEntropyLoss(reduction="none")


def batch(n, features, classes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, features, generator=generator, dtype=torch.float64)
    return x, torch.randint(classes, (n,), generator=generator)


def case(model, n=6, m=4, features=5, classes=3):
    return model.double(), batch(n, features, classes, 1), batch(m, features, classes, 2)


def assert_adds_up(model, train, clean, loss_fn=CROSS_ENTROPY):
    factors = layer_factors(model, loss_fn, train, clean)
    total = sum(f.contributions.sum(1) for f in factors.values())
    _, u = alignment(model, loss_fn, train, clean)
    torch.testing.assert_close(total, u, rtol=1e-10, atol=1e-12)
    return factors


@given(
    widths=st.lists(st.integers(1, 6), max_size=3),
    activation=st.sampled_from([nn.ReLU, nn.Tanh, nn.GELU]),
    n=st.integers(1, 5),
    m=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
@settings(max_examples=40)
def test_parts_add_up_to_the_alignments(widths, activation, n, m, seed):
    torch.manual_seed(seed)
    model, train, clean = case(Mlp([5, *widths, 3], activation), n, m)
    factors = assert_adds_up(model, train, clean)
    assert len(factors) == len(widths) + 1
    assert all(part.shape == (n, m) and not part.requires_grad for f in factors.values() for part in f)


def test_factors_are_inner_products_of_inputs_and_of_gradients_before_the_activation():
    torch.manual_seed(0)
    model, (x, y), (x_clean, y_clean) = case(Mlp([5, 4, 3], nn.Tanh))
    first, last = layer_factors(model, CROSS_ENTROPY, (x, y), (x_clean, y_clean)).values()

    def outputs(x, y):
        hidden = torch.tanh(model.layers[0](x))
        at_output = model.layers[2](hidden).softmax(1) - nn.functional.one_hot(y, 3)
        return hidden, at_output, at_output @ model.layers[2].weight * (1 - hidden**2)

    (h, g_last, g_first), (h_clean, c_last, c_first) = outputs(x, y), outputs(x_clean, y_clean)
    torch.testing.assert_close(first.inputs, x @ x_clean.T + 1)
    torch.testing.assert_close(first.gradients, (g_first @ c_first.T).detach())
    torch.testing.assert_close(last.inputs, (h @ h_clean.T + 1).detach())
    torch.testing.assert_close(last.gradients, (g_last @ c_last.T).detach())


def test_a_column_is_the_alignment_with_that_clean_example_alone():
    torch.manual_seed(0)
    model, train, (x_clean, y_clean) = case(Mlp([5, 4, 3]))
    factors = layer_factors(model, CROSS_ENTROPY, train, (x_clean, y_clean))
    for j in range(4):
        _, u = alignment(model, CROSS_ENTROPY, train, (x_clean[j : j + 1], y_clean[j : j + 1]))
        torch.testing.assert_close(sum(4 * f.contributions[:, j] for f in factors.values()), u)


@pytest.mark.parametrize(("weight", "bias", "offset"), [(True, True, 1), (True, False, 0), (False, True, None)])
def test_the_bias_adds_one_if_it_is_trained(weight, bias, offset):
    layer = nn.Linear(5, 3)
    layer.weight.requires_grad_(weight)
    layer.bias.requires_grad_(bias)
    model, train, clean = case(nn.Sequential(layer))
    (factors,) = assert_adds_up(model, train, clean).values()
    expected = torch.ones(6, 4, dtype=torch.float64) if offset is None else train[0] @ clean[0].T + offset
    torch.testing.assert_close(factors.inputs, expected)


def test_frozen_layers_are_left_out_and_others_keep_their_names():
    model, train, clean = case(Mlp([5, 4, 4, 3]))
    model.layers[2].requires_grad_(False)
    assert list(assert_adds_up(model, train, clean)) == ["layers.0", "layers.4"]


def test_a_layer_that_the_loss_does_not_reach_is_left_out():
    class Unused(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Linear(5, 3), nn.Linear(5, 3)

        def forward(self, x):
            return self.used(x)

    assert list(assert_adds_up(*case(Unused()))) == ["used"]


def test_operations_in_place_after_a_layer_do_not_change_what_was_seen():
    torch.manual_seed(0)
    layers = nn.Linear(5, 4), nn.ReLU(inplace=True), nn.Linear(4, 3)
    assert_adds_up(*case(nn.Sequential(*layers)))


def test_one_output_and_single_precision():
    torch.manual_seed(0)
    model = Mlp([5, 8, 1])
    x, y = batch(6, 5, 2)
    train, clean = (x.float(), y.float()), (x[:3].float(), y[:3].float())
    loss_fn = nn.BCEWithLogitsLoss(reduction="none")
    total = sum(f.contributions.sum(1) for f in layer_factors(model, loss_fn, train, clean).values())
    torch.testing.assert_close(total, alignment(model, loss_fn, train, clean)[1])


def test_inputs_may_be_a_dict():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(5, 3)

        def forward(self, *, features):
            return self.layer(features)

    model, (x, y), (x_clean, y_clean) = case(Named())
    assert_adds_up(model, ({"features": x}, y), ({"features": x_clean}, y_clean))


def test_the_model_is_left_as_it_was():
    torch.manual_seed(0)
    model, train, clean = case(nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4, affine=False), nn.Linear(4, 3)).eval())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert_adds_up(model, train, clean)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_other_parameters_are_refused_by_name():
    images = torch.rand(2, 1, 28, 28), torch.tensor([0, 1])
    with pytest.raises(ValueError, match=r"'convs.0', of type Conv2d, has trainable parameters: freeze it"):
        layer_factors(LeNet(10), CROSS_ENTROPY, images, images)


def test_a_layer_used_twice_is_refused_and_its_hook_removed():
    model, train, clean = case(Branching(), features=4)
    with pytest.raises(ValueError, match="layer 'shared' is used more than once"):
        layer_factors(model, CROSS_ENTROPY, train, clean)
    assert not any(module._forward_hooks for module in model.modules())


def test_a_layer_on_sequences_is_refused():
    class Mean(nn.Sequential):
        def forward(self, x):
            return super().forward(x).mean(1)

    x = torch.rand(4, 7, 5, dtype=torch.float64)
    y = torch.zeros(4, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"inputs of shape \(4, 7, 5\)"):
        layer_factors(Mean(nn.Linear(5, 3)).double(), CROSS_ENTROPY, (x, y), (x, y))


def test_what_mixes_examples_is_refused():
    torch.manual_seed(0)
    model, train, clean = case(nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4, affine=False), nn.Linear(4, 3)))
    before = model[1].running_mean.clone()
    with pytest.raises(ValueError, match="normalisation over the batch"):
        layer_factors(model, CROSS_ENTROPY, train, clean)
    assert torch.equal(before, model[1].running_mean)


def test_an_embedding_is_refused():
    tokens = torch.randint(11, (4, 6)), torch.randint(11, (4,))
    with pytest.raises(ValueError, match="'embed', of type Embedding"):
        layer_factors(TiedLanguageModel().double(), CROSS_ENTROPY, tokens, tokens)


def test_weights_used_outside_their_layer_are_refused():
    class Penalised(nn.Sequential):
        def forward(self, x):
            return super().forward(x) * self[0].weight.norm()

    model, train, clean = case(Penalised(nn.Linear(5, 3)))
    with pytest.raises(ValueError, match="do not add up"):
        layer_factors(model, CROSS_ENTROPY, train, clean)
