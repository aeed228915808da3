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
        out = torch.empty(len(query), self._model.heads * self._model.size)
        at = 0
        for past in self._pasts:
            rows = slice(at, at + past.coming)
            out[rows] = past.attend(layer, query[rows], key[rows], value[rows])
            at = rows.stop
        return out

    def _scores(self, logits: Tensor) -> Tensor:
        logits[:, self._forbidden] = -torch.inf
        return torch.log_softmax(logits, dim=-1)


class _Past:
    """What one prompt's beams have read, and what the tokens to come may see of it."""

    def __init__(self, model: PackedLlama, length: int) -> None:
        self.coming = length
        self.positions = torch.arange(length)
        self._model = model
        self._held = 0
        self._buffer = torch.empty(len(model.layers), 2, model.key_heads, length + _ROOM, model.size)
        # Of each token to come, the slots it sees.
        self._seen = torch.ones(length, length, dtype=torch.bool).tril()
        self._mask = self._additive()

    def branch(self, parents: Tensor) -> None:
        """One token is to come for each beam; `parents` says which former one it continues."""
        # After the prompt itself, whose last token alone is continued.
        seen = self._seen[-1:] if len(self._seen) == self._held else self._seen
        self.coming = len(parents)
        self.positions = torch.full((self.coming,), int(seen[0].sum()))
        self._seen = torch.cat([seen[parents], torch.eye(self.coming, dtype=torch.bool)], dim=1)
        self._mask = self._additive()
        slots = self._held + self.coming
        if slots > self._buffer.shape[3]:
            larger = self._buffer.new_empty(*self._buffer.shape[:3], slots + _ROOM, self._buffer.shape[4])
            larger[:, :, :, : self._held] = self._buffer[:, :, :, : self._held]
            self._buffer = larger

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Queries [m, heads, d], keys and values [m, key heads, d] of the tokens to come -> [m, heads x d]."""
        end = self._held + self.coming
        keys, values = self._buffer[layer]
        keys[:, self._held : end] = key.transpose(0, 1)
        values[:, self._held : end] = value.transpose(0, 1)
        # The heads of a group read the same keys: stacked as more queries, the keys need no copy a head.
        size, group = self._model.size, self._model.heads // self._model.key_heads
        stacked = query.view(self.coming, -1, group, size).permute(1, 2, 0, 3).reshape(1, -1, group * self.coming, size)
        out = functional.scaled_dot_product_attention(
            stacked, keys[None, :, :end], values[None, :, :end], attn_mask=self._mask
        )
        return out.view(-1, group, self.coming, size).permute(2, 0, 1, 3).reshape(self.coming, -1)

    def read(self) -> None:
        """All layers have seen the tokens that were to come."""
        self._held += self.coming

    def _additive(self) -> Tensor:
        """What is added to the scores [1, 1, group x tokens to come, slots]."""
        mask = torch.zeros(self._seen.shape).masked_fill_(~self._seen, -torch.inf)
        return mask.repeat(self._model.heads // self._model.key_heads, 1)[None, None]
