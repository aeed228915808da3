"""Double-precision attention against the reference formula, and under padding."""

import torch

from models.llm.cpu.attention import double_attention


def _qkv(keys: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(1, 6, 2, 16, generator=generator)
    key = torch.randn(1, 2, keys, 16, generator=generator)
    value = torch.randn(1, 2, keys, 16, generator=generator)
    return query, key, value


def test_it_is_scaled_dot_product_attention_with_grouped_heads() -> None:
    query, key, value = _qkv(5)
    out, weights = double_attention(None, query, key, value, None, scaling=0.25)
    reference = torch.nn.functional.scaled_dot_product_attention(query, key, value, scale=0.25, enable_gqa=True)
    torch.testing.assert_close(out, reference.transpose(1, 2), atol=1e-6, rtol=1e-5)
    assert weights is None


def test_padding_on_the_left_does_not_change_a_bit() -> None:
    query, key, value = _qkv(7)
    alone, _ = double_attention(None, query, key, value, None, scaling=0.25)
    pad = torch.randn(1, 2, 13, 16)
    mask = torch.zeros(1, 1, 2, 20)
    mask[..., :13] = torch.finfo(torch.float32).min
    padded, _ = double_attention(None, query, torch.cat([pad, key], 2), torch.cat([pad, value], 2), mask, scaling=0.25)
    assert torch.equal(alone, padded)
