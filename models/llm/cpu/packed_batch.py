"""A batch of prompts in a `PackedLlama`, each with the keys and values of its own past.

The beams of a prompt share its keys and values. Each step gives every beam one more slot, and a mask tells which slots
are a beam's own past. So nothing is copied when beams are re-ordered, and a prompt is kept and read once, not once a
beam.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from models.llm.cpu.packed_llama import PackedLlama

_ROOM = 64


class PackedBatch:
    """Implements `models.llm.generation.StepModel`. The shapes of a prompt do not depend on the other prompts."""

    def __init__(self, model: PackedLlama, prompts: Sequence[Tensor], forbidden: Tensor) -> None:
        """
        Args:
            model: a model on the CPU.
            prompts: input embeddings of each prompt [length, hidden].
            forbidden: tokens that are never written.
        """
        self._model = model
        self._prompts = prompts
        self._forbidden = forbidden
        self._pasts = [_Past(len(prompt), model.heads // model.key_heads) for prompt in prompts]
        self._kept = _Kept(model)
        # For each sequence, the index of its prompt among those in progress.
        self._owners = torch.arange(len(prompts))

    def start(self) -> Tensor:
        lengths = torch.tensor([len(prompt) for prompt in self._prompts])
        return self._read(torch.cat(list(self._prompts)), lengths.cumsum(dim=0) - 1)

    def step(self, rows: Tensor, tokens: Tensor) -> Tensor:
        former = torch.bincount(self._owners, minlength=len(self._pasts))
        first = former.cumsum(dim=0) - former
        kept, self._owners = torch.unique_consecutive(self._owners[rows], return_inverse=True)
        beams = torch.bincount(self._owners).tolist()
        self._pasts = [self._pasts[prompt] for prompt in kept.tolist()]
        own = torch.split_with_sizes(rows - first[kept][self._owners], beams)
        for past, parents in zip(self._pasts, own, strict=True):
            past.branch(parents)
        return self._read(self._model.embedding(tokens), None)

    def _read(self, x: Tensor, last: Tensor | None) -> Tensor:
        """Run the new tokens of all prompts [tokens, hidden]. Return scores after the rows in `last`, or after all."""
        self._kept.prepare(self._pasts)
        positions = torch.cat([past.positions for past in self._pasts])
        logits = self._model(x, positions, self._attend, last)
        for past in self._pasts:
            past.read()
        logits[:, self._forbidden] = -torch.inf
        return torch.log_softmax(logits, dim=-1)

    def _attend(self, layer: int, query: Tensor, key_value: Tensor) -> Tensor:
        self._kept.write(layer, key_value)
        tokens, heads, size = query.shape
        key_heads = self._model.key_heads
        group = heads // key_heads
        # The heads of a group read the same keys. Stacked as more queries, they need no copy of the keys.
        stacked = query.view(tokens, key_heads, group, size).transpose(0, 1).reshape(1, key_heads, -1, size)
        queries = torch.split_with_sizes(stacked, [group * past.new for past in self._pasts], dim=2)
        out = torch.cat([past.attend(layer, q) for past, q in zip(self._pasts, queries, strict=True)], dim=2)
        return out.view(key_heads, tokens, -1).transpose(0, 1).reshape(tokens, -1)


class _Past:
    """The past of one prompt's beams, and what its new tokens may see of it."""

    def __init__(self, length: int, group: int) -> None:
        """Args: length: of the prompt, whose tokens are all new. group: how many heads read the same keys."""
        self.new = length
        self.held = 0
        self.positions = torch.arange(length)
        # For each new token, the slots that it sees.
        self._seen = torch.ones(length, length, dtype=torch.bool).tril()
        self._group = group
        # This prompt's first slot in the batch, and how many slots it may use.
        self.begin = 0
        self.room = 0

    @property
    def end(self) -> int:
        """How many slots the prompt takes, with its new tokens."""
        return self.held + self.new

    def branch(self, parents: Tensor) -> None:
        """Announce one new token for each beam; `parents` are the former beams that they continue."""
        # After the prompt itself, only its last token is continued.
        seen = self._seen[-1:] if len(self._seen) == self.held else self._seen
        self.new = len(parents)
        self.positions = torch.full((self.new,), int(seen[0].sum()))
        self._seen = torch.cat([seen[parents], torch.eye(self.new, dtype=torch.bool)], dim=1)

    def look(self, memory: Tensor) -> None:
        """Prepare keys, values and mask once for all layers from `memory` [layers, slots, 2 x key heads, d]."""
        keys, values = memory[:, None, self.begin : self.begin + self.end].transpose(2, 3).chunk(2, dim=2)
        self._keys, self._values = keys.unbind(), values.unbind()
        mask = torch.zeros(self._seen.shape).masked_fill_(~self._seen, -torch.inf)
        self._mask = mask.repeat_interleave(self._group, dim=0)[None, None]

    def attend(self, layer: int, query: Tensor) -> Tensor:
        """Attend in one layer, from the m new tokens to all they see, after their keys and values are written.

        `query` and the result are [1, key heads, m x group, d].
        """
        return functional.scaled_dot_product_attention(
            query, self._keys[layer], self._values[layer], attn_mask=self._mask
        )

    def read(self) -> None:
        """Count the new tokens as past, after all layers have run."""
        self.held += self.new


class _Kept:
    """Keys and values of all prompts, side by side. New ones are written together, and read prompt by prompt."""

    def __init__(self, model: PackedLlama) -> None:
        self._memory = torch.empty(len(model.layers), 0, 2 * model.key_heads, model.size)

    def prepare(self, pasts: Sequence[_Past]) -> None:
        """Find the slots of the new tokens, once for all layers."""
        if any(past.end > past.room for past in pasts):
            self._enlarge(pasts)
        self._new_slots = torch.cat([torch.arange(past.begin + past.held, past.begin + past.end) for past in pasts])
        for past in pasts:
            past.look(self._memory)

    def write(self, layer: int, key_value: Tensor) -> None:
        """Keep a layer's new keys and values [tokens, 2 x key heads, d], prompt after prompt."""
        self._layers[layer].index_copy_(0, self._new_slots, key_value)

    def _enlarge(self, pasts: Sequence[_Past]) -> None:
        """Give each prompt more room, and drop prompts that have left."""
        layers, _, heads, size = self._memory.shape
        larger = self._memory.new_empty(layers, sum(past.end + _ROOM for past in pasts), heads, size)
        begin = 0
        for past in pasts:
            larger[:, begin : begin + past.held] = self._memory[:, past.begin : past.begin + past.held]
            past.begin, past.room = begin, past.end + _ROOM
            begin += past.room
        self._memory, self._layers = larger, larger.unbind()
