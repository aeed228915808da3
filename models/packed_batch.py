"""A batch of prompts under way in a `PackedLlama`: each keeps the keys and values of its own past.

The beams of a prompt share all it holds. Each step gives every beam one more slot, and a mask tells which slots are
a beam's own past. So nothing is copied when beams are re-ordered, and a prompt is kept and read once, not once a beam.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from models.packed_llama import PackedLlama

_ROOM = 64


class PackedBatch:
    """Implements `models.generation.StepModel`. A prompt is computed in the same shapes whatever else is there."""

    def __init__(self, model: PackedLlama, prompts: Sequence[Tensor], forbidden: Tensor) -> None:
        """
        Args:
            model: on the CPU.
            prompts: input embeddings of each [length, hidden].
            forbidden: tokens that are never written.
        """
        self._model = model
        self._prompts = prompts
        self._forbidden = forbidden
        self._pasts = [_Past(model, len(prompt)) for prompt in prompts]
        # Of each sequence, the place of its prompt among those under way.
        self._owners = torch.arange(len(prompts))

    def start(self) -> Tensor:
        lengths = torch.tensor([len(prompt) for prompt in self._prompts])
        positions = torch.cat([torch.arange(len(prompt)) for prompt in self._prompts])
        logits = self._model(torch.cat(list(self._prompts)), positions, self._attend, lengths.cumsum(dim=0) - 1)
        for past in self._pasts:
            past.read()
        return self._scores(logits)

    def step(self, rows: Tensor, tokens: Tensor) -> Tensor:
        former = torch.bincount(self._owners, minlength=len(self._pasts))
        first = former.cumsum(dim=0) - former
        kept, self._owners = torch.unique_consecutive(self._owners[rows], return_inverse=True)
        beams = torch.bincount(self._owners).tolist()
        self._pasts = [self._pasts[prompt] for prompt in kept.tolist()]
        own = torch.split_with_sizes(rows - first[kept][self._owners], beams)
        for past, parents in zip(self._pasts, own, strict=True):
            past.branch(parents)
        positions = torch.cat([past.positions for past in self._pasts])
        logits = self._model(self._model.embedding(tokens), positions, self._attend)
        for past in self._pasts:
            past.read()
        return self._scores(logits)

    def _attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        tokens, key_heads, size = key.shape
        group = self._model.heads // key_heads
        coming = [past.coming for past in self._pasts]
        # The heads of a group read the same keys: stacked as more queries, the keys need no copy a head.
        stacked = query.view(tokens, key_heads, group, size).transpose(0, 1).reshape(1, key_heads, -1, size)
        queries = torch.split_with_sizes(stacked, [group * count for count in coming], dim=2)
        keys = torch.split_with_sizes(key.transpose(0, 1), coming, dim=1)
        values = torch.split_with_sizes(value.transpose(0, 1), coming, dim=1)
        own = zip(self._pasts, queries, keys, values, strict=True)
        out = torch.cat([past.attend(layer, q, k, v) for past, q, k, v in own], dim=2)
        return out.view(key_heads, tokens, -1).transpose(0, 1).reshape(tokens, -1)

    def _scores(self, logits: Tensor) -> Tensor:
        logits[:, self._forbidden] = -torch.inf
        return torch.log_softmax(logits, dim=-1)


class _Past:
    """What one prompt's beams have read, and what the tokens to come may see of it."""

    def __init__(self, model: PackedLlama, length: int) -> None:
        self.coming = length
        self.positions = torch.arange(length)
        self._group = model.heads // model.key_heads
        self._held = 0
        # Keys, then values, of each layer in turn.
        self._buffer = torch.empty(2 * len(model.layers), model.key_heads, length + _ROOM, model.size)
        # Of each token to come, the slots it sees.
        self._seen = torch.ones(length, length, dtype=torch.bool).tril()
        self._prepare()

    def branch(self, parents: Tensor) -> None:
        """One token is to come for each beam; `parents` says which former one it continues."""
        # After the prompt itself, whose last token alone is continued.
        seen = self._seen[-1:] if len(self._seen) == self._held else self._seen
        self.coming = len(parents)
        self.positions = torch.full((self.coming,), int(seen[0].sum()))
        self._seen = torch.cat([seen[parents], torch.eye(self.coming, dtype=torch.bool)], dim=1)
        slots = self._held + self.coming
        if slots > self._buffer.shape[2]:
            layers, heads, _, size = self._buffer.shape
            larger = self._buffer.new_empty(layers, heads, slots + _ROOM, size)
            larger[:, :, : self._held] = self._buffer[:, :, : self._held]
            self._buffer = larger
        self._prepare()

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """One layer of the m tokens to come.

        Args:
            layer: its number.
            query: [1, key heads, m x group, d].
            key: [key heads, m, d].
            value: [key heads, m, d].

        Returns:
            what is attended to, in the shape of `query`.
        """
        place = 2 * layer
        self._new[place].copy_(key)
        self._new[place + 1].copy_(value)
        return functional.scaled_dot_product_attention(
            query, self._all[place], self._all[place + 1], attn_mask=self._mask
        )

    def read(self) -> None:
        """All layers have seen the tokens that were to come."""
        self._held += self.coming

    def _prepare(self) -> None:
        """Once for all layers: their slots, those to be filled and all seen, and what is added to the scores."""
        end = self._held + self.coming
        self._new = self._buffer[:, :, self._held : end].unbind()
        self._all = self._buffer[:, None, :, :end].unbind()
        mask = torch.zeros(self._seen.shape).masked_fill_(~self._seen, -torch.inf)
        self._mask = mask.repeat_interleave(self._group, dim=0)[None, None]
