"""Attention in double precision, for the quantised LLM on CPU.

Padding changes the order in which attention sums, and so the last bits of the result. Quantised layers round
activations to few levels, which sometimes turns such a bit into a visible difference; a caption would then depend on
the other captions of its batch. In double precision the differences vanish when the result is rounded to float32. The
cost is small, because prompts and captions are short.
"""

from typing import Any

import torch
from torch import Tensor

NAME = "drcap_double"


def use_double_attention(model: Any) -> None:
    """Switch a model of transformers to `double_attention`."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, eager_mask

    AttentionInterface.register(NAME, double_attention)
    AttentionMaskInterface.register(NAME, eager_mask)
    model.set_attn_implementation(NAME)


def double_attention(
    module: Any,  # noqa: ARG001 - the signature is transformers'
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Return softmax(scaling Q K^T + mask) V with grouped heads.

    Args:
        module: the calling layer; not used.
        query: [n, heads, length, d].
        key, value: [n, key heads, keys, d].
        attention_mask: added to the scores [n, 1, length, keys].
        scaling: factor of the scores.
        softcap: bound of the scores, approached by tanh, as in Gemma 2.

    Returns:
        [n, length, heads, d] in the query's type, and None in place of the weights.
    """
    count, heads, length, _size = query.shape
    key_heads = key.shape[1]
    # The heads of a group read the same keys. Stacked as more queries, they need no copy of the keys.
    grouped = (query.double() * scaling).reshape(count, key_heads, heads // key_heads * length, -1)
    scores = grouped @ key.double().transpose(2, 3)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if attention_mask is not None:
        scores.view(count, key_heads, heads // key_heads, length, -1).add_(attention_mask.unsqueeze(2))
    out = torch.softmax(scores, dim=-1) @ value.double()
    return out.reshape(count, heads, length, -1).transpose(1, 2).contiguous().to(query.dtype), None
