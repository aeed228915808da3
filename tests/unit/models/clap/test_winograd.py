"""The fast convolutions give what plain ones give."""

from typing import Any

import pytest
import torch
from torch.nn import functional

from models.clap.aisfx import BANDS, BLOCK, AisfxTower, FastNet
from models.clap.winograd import WinogradConv


@pytest.mark.parametrize("pool", [1, 2, 4])
@pytest.mark.parametrize(("batch", "height", "width"), [(1, 1, 1), (2, 5, 6), (3, 12, 12), (1, 25, 24), (1, 100, 96)])
def test_a_fast_convolution_is_a_plain_one_with_bias_relu_and_pooling(
    batch: int, height: int, width: int, pool: int
) -> None:
    torch.manual_seed(height)
    weight, bias = torch.randn(8, 5, 3, 3), torch.randn(8)
    x = torch.randn(batch, 5, height, width)
    plain = functional.relu(functional.conv2d(x, weight, bias, padding=1))
    if pool > min(height, width):
        expected = plain[:, :, : height // pool, : width // pool]
    else:
        expected = functional.max_pool2d(plain, pool)
    got = WinogradConv(weight, bias)(x.permute(0, 2, 3, 1).contiguous(), pool).permute(0, 3, 1, 2)
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)


def test_an_image_is_convolved_alike_whatever_is_beside_it() -> None:
    torch.manual_seed(0)
    conv = WinogradConv(torch.randn(4, 4, 3, 3), torch.randn(4))
    x = torch.randn(3, 40, 40, 4)
    torch.testing.assert_close(conv(x)[1:2], conv(x[1:2]), atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_the_fast_network_of_the_audio_tower_gives_the_features_of_the_plain_one() -> None:
    torch.manual_seed(0)
    net: Any = AisfxTower().eval().embedding_net
    for name, buffer in net.named_buffers():
        if "running_mean" in name:
            buffer.normal_(std=0.1)
        if "running_var" in name:
            buffer.uniform_(0.1, 0.3)
    blocks = torch.rand(3, BLOCK, BANDS)
    expected = net(blocks)
    assert expected.std() > 1e-3
    torch.testing.assert_close(FastNet(net)(blocks), expected, atol=2e-5 * float(expected.abs().max()), rtol=1e-4)
