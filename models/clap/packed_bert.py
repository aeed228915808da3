"""A BERT encoder over packed texts: the tokens of many texts end to end, without padding.

Linear layers, norms and activations take all tokens as rows. Attention runs over the texts of one length at a time. So
no time goes into padding, and the result for a text does not depend on the other texts.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.device.int8 import join_linears


class PackedBert(nn.Module):
    """The layers of a `BertModel` of transformers. It shares the model's weights."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        embeddings = model.embeddings
        self.words: Any = embeddings.word_embeddings
        # Every token is in the first segment, so the segment's embedding is added to the positions once.
        positions = embeddings.position_embeddings.weight + embeddings.token_type_embeddings.weight[0]
        self.positions = nn.Parameter(positions.detach(), requires_grad=False)
        self.norm: nn.LayerNorm = embeddings.LayerNorm
        heads = int(model.config.num_attention_heads)
        self.layers = nn.ModuleList(_Layer(layer, heads) for layer in model.encoder.layer)

    def forward(self, tokens: Tensor, texts: Sequence[tuple[int, int]]) -> Tensor:
        """Encode packed texts.

        Args:
            tokens: ids of all texts end to end [t]; texts of one length stand together.
            texts: (count, length) for each run of texts of one length; the products sum to t.

        Returns:
            The mean of each text's last hidden states, float32 [n, hidden].
        """
        places = [torch.arange(length, device=tokens.device).repeat(count) for count, length in texts]
        x = self.norm(self.words(tokens) + self.positions[torch.cat(places)])
        for layer in self.layers:
            x = layer(x, texts)
        runs = zip(_runs(x, texts), texts, strict=True)
        return torch.cat([run.view(count, length, -1).mean(dim=1) for run, (count, length) in runs])


class _Layer(nn.Module):
    def __init__(self, layer: Any, heads: int) -> None:
        super().__init__()
        self._heads = heads
        attention = layer.attention.self
        self.qkv = join_linears(False, attention.query, attention.key, attention.value)
        self.attended: nn.Linear = layer.attention.output.dense
        self.attended_norm: nn.LayerNorm = layer.attention.output.LayerNorm
        self.inner: nn.Linear = layer.intermediate.dense
        self.outer: nn.Linear = layer.output.dense
        self.norm: nn.LayerNorm = layer.output.LayerNorm

    def forward(self, x: Tensor, texts: Sequence[tuple[int, int]]) -> Tensor:
        x = self.attended_norm(x + self.attended(self._attend(self.qkv(x), texts)))
        out: Tensor = self.norm(x + self.outer(functional.gelu(self.inner(x))))
        return out

    def _attend(self, qkv: Tensor, texts: Sequence[tuple[int, int]]) -> Tensor:
        attended = []
        for run, (count, length) in zip(_runs(qkv, texts), texts, strict=True):
            query, key, value = run.view(count, length, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
            out = functional.scaled_dot_product_attention(query, key, value)
            attended.append(out.transpose(1, 2).reshape(count * length, -1))
        return torch.cat(attended)


def _runs(rows: Tensor, texts: Sequence[tuple[int, int]]) -> tuple[Tensor, ...]:
    return torch.split_with_sizes(rows, [count * length for count, length in texts])
