"""int8 layers: near the float ones, and blind to the rest of the batch."""

from typing import Any

import pytest
import torch
from torch import nn

from models.device.int8 import Int8Linear, int8_supported, quantise_linears, quantise_smoothed

pytestmark = [
    pytest.mark.kernels,
    pytest.mark.skipif(not int8_supported(), reason="this torch has no int8 kernel"),
]


def _weight() -> torch.Tensor:
    return torch.randn(96, 64, generator=torch.Generator().manual_seed(0))


def test_the_answer_is_within_three_percent_of_float() -> None:
    x = torch.randn(32, 64, generator=torch.Generator().manual_seed(1))
    exact = x @ _weight().T
    assert (Int8Linear(_weight())(x) - exact).norm() / exact.norm() < 0.03


def test_a_row_beside_a_huge_row_is_what_it_is_alone() -> None:
    layer = Int8Linear(_weight())
    x = torch.randn(8, 64, generator=torch.Generator().manual_seed(2))
    x[3] *= 1000
    together = layer(x)
    for row in range(len(x)):
        assert torch.equal(layer(x[row : row + 1])[0], together[row])


def test_extreme_activations_do_not_saturate() -> None:
    layer = Int8Linear(torch.ones(4, 64))
    torch.testing.assert_close(layer(torch.ones(1, 64)), torch.full((1, 4), 64.0))
    torch.testing.assert_close(layer(-torch.ones(1, 64)), torch.full((1, 4), -64.0))


def test_zeros_give_zeros() -> None:
    assert Int8Linear(_weight())(torch.zeros(2, 3, 64)).abs().max() == 0


def test_every_linear_is_replaced_with_its_bias() -> None:
    biased = nn.Linear(8, 8)
    model = nn.Sequential(nn.Linear(8, 8, bias=False), nn.Sequential(biased, nn.ReLU()), nn.Linear(8, 4, bias=False))
    assert quantise_linears(model) == 3
    assert [type(module) for module in model] == [Int8Linear, nn.Sequential, Int8Linear]
    inner: Any = model[1]
    assert torch.equal(inner[0].bias, biased.bias)
    assert type(inner[1]) is nn.ReLU


def test_smoothing_brings_a_layer_with_a_few_huge_columns_nearer_to_float() -> None:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(256, 64, generator=generator)
    x[:, :2] *= 40
    plain, smoothed = nn.Sequential(nn.Linear(64, 96)), nn.Sequential(nn.Linear(64, 96))
    layer = smoothed[0]
    assert isinstance(layer, nn.Linear)
    with torch.no_grad():
        layer.weight.copy_(_weight())
        layer.bias.normal_(generator=generator)
        plain.load_state_dict(smoothed.state_dict())
        exact = plain(x)
        unsmoothed = Int8Linear(_weight())(x) + layer.bias
    quantise_smoothed(smoothed, lambda: smoothed(x[:32]))
    assert isinstance(smoothed[0], Int8Linear)
    assert (smoothed(x) - exact).norm() < 0.6 * (unsmoothed - exact).norm()


def test_a_smoothed_layer_does_not_saturate() -> None:
    layer = Int8Linear(torch.ones(4, 64), torch.ones(4), torch.ones(64))
    torch.testing.assert_close(layer(torch.ones(1, 64)), torch.full((1, 4), 65.0))
    torch.testing.assert_close(layer(-torch.ones(1, 64)), torch.full((1, 4), -63.0))


def test_a_layer_that_is_never_reached_cannot_be_smoothed() -> None:
    model = nn.Sequential(nn.Linear(8, 8))
    with pytest.raises(ValueError, match="not reached"):
        quantise_smoothed(model, lambda: None)
    assert isinstance(model[0], nn.Linear)
