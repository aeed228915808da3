"""A batch of prompts under way in a `PackedLlama`: each keeps the keys and values of its own past.

The beams of a prompt share all it holds. Each step gives every beam one more slot, and a mask tells which slots are
a beam's own past. So nothing is copied when beams are re-ordered, and a prompt is kept and read once, not once a beam.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from models.llm.cpu.packed_llama import PackedLlama

_ROOM = 64


class PackedBatch:
    """Implements `models.llm.generation.StepModel`. A prompt is computed in the same shapes whatever else is there."""

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
        self._pasts = [_Past(len(prompt), model.heads // model.key_heads) for prompt in prompts]
        self._kept = _Kept(model)
        # Of each sequence, the place of its prompt among those under way.
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
        """Let each prompt read what is to come for it, [tokens, hidden]; scores of what follows the rows wanted."""
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
        # The heads of a group read the same keys: stacked as more queries, the keys need no copy a head.
        stacked = query.view(tokens, key_heads, group, size).transpose(0, 1).reshape(1, key_heads, -1, size)
        queries = torch.split_with_sizes(stacked, [group * past.coming for past in self._pasts], dim=2)
        out = torch.cat([past.attend(layer, q) for past, q in zip(self._pasts, queries, strict=True)], dim=2)
        return out.view(key_heads, tokens, -1).transpose(0, 1).reshape(tokens, -1)


class _Past:
    """What one prompt's beams have read, and what the tokens to come may see of it."""

    def __init__(self, length: int, group: int) -> None:
        """Args: length of the prompt, all of which is to come; how many heads read the same keys."""
        self.coming = length
        self.held = 0
        self.positions = torch.arange(length)
        # Of each token to come, the slots it sees.
        self._seen = torch.ones(length, length, dtype=torch.bool).tril()
        self._group = group
        # Of the slots of the batch, those of this prompt.
        self.begin = 0
        self.room = 0

    @property
    def end(self) -> int:
        """How many slots it takes with what is to come."""
        return self.held + self.coming

    def branch(self, parents: Tensor) -> None:
        """One token is to come for each beam; `parents` says which former one it continues."""
        # After the prompt itself, whose last token alone is continued.
        seen = self._seen[-1:] if len(self._seen) == self.held else self._seen
        self.coming = len(parents)
        self.positions = torch.full((self.coming,), int(seen[0].sum()))
        self._seen = torch.cat([seen[parents], torch.eye(self.coming, dtype=torch.bool)], dim=1)

    def look(self, memory: Tensor) -> None:
        """Once for all layers, [layers, slots, 2 x key heads, d]: the slots seen, and what is added to the scores."""
        keys, values = memory[:, None, self.begin : self.begin + self.end].transpose(2, 3).chunk(2, dim=2)
        self._keys, self._values = keys.unbind(), values.unbind()
        mask = torch.zeros(self._seen.shape).masked_fill_(~self._seen, -torch.inf)
        self._mask = mask.repeat_interleave(self._group, dim=0)[None, None]

    def attend(self, layer: int, query: Tensor) -> Tensor:
        """One layer of the m tokens to come, whose keys and values are kept: what they attend to, in the shape of
        `query` [1, key heads, m x group, d]."""
        return functional.scaled_dot_product_attention(
            query, self._keys[layer], self._values[layer], attn_mask=self._mask
        )

    def read(self) -> None:
        """All layers have seen the tokens that were to come."""
        self.held += self.coming


class _Kept:
    """Keys and values of all prompts, side by side: what is new is written at once, and read prompt by prompt."""

    def __init__(self, model: PackedLlama) -> None:
        self._memory = torch.empty(len(model.layers), 0, 2 * model.key_heads, model.size)

    def prepare(self, pasts: Sequence[_Past]) -> None:
        """Once for all layers: where what is to come goes, and what it sees."""
        if any(past.end > past.room for past in pasts):
            self._enlarge(pasts)
        self._new = torch.cat([torch.arange(past.begin + past.held, past.begin + past.end) for past in pasts])
        for past in pasts:
            past.look(self._memory)

    def write(self, layer: int, key_value: Tensor) -> None:
        """Keep what is new in a layer [tokens, 2 x key heads, d], prompt after prompt."""
        self._layers[layer].index_copy_(0, self._new, key_value)

    def _enlarge(self, pasts: Sequence[_Past]) -> None:
        """Give each prompt room for more; those that are not among them any more have none."""
        layers, _, heads, size = self._memory.shape
        larger = self._memory.new_empty(layers, sum(past.end + _ROOM for past in pasts), heads, size)
        begin = 0
        for past in pasts:
            larger[:, begin : begin + past.held] = self._memory[:, past.begin : past.begin + past.held]
            past.begin, past.room = begin, past.end + _ROOM
            begin += past.room
        self._memory, self._layers = larger, larger.unbind()
