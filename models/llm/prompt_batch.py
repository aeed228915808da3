"""A batch of prompts in an LLM of transformers: one row of the cache a prompt, with its beams side by side.

The beams of a prompt share its row. Each step gives every beam one more slot of the row, and a mask tells which slots
are a beam's own past. So nothing is copied when beams are re-ordered, and a prompt is kept and read once, not once a
beam.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from models.llm.cpu.attention import NAME as DOUBLE_ATTENTION
from models.llm.key_values import growing_cache


class PromptBatch:
    """Implements `models.llm.generation.StepModel` with a causal model of transformers.

    Prompts are padded on the left and positions count from each prompt's own start, so the caption of a prompt does
    not depend on the other prompts.
    """

    def __init__(self, model: Any, prompts: Sequence[Tensor], forbidden: Tensor) -> None:
        """
        Args:
            model: a causal model of transformers, in evaluation mode.
            prompts: input embeddings of each prompt [length, hidden].
            forbidden: tokens that are never written.
        """
        embeds, mask = _padded(prompts)
        self._model = model
        self._embeds = embeds
        self._mask = mask
        self._forbidden = forbidden
        self._device = mask.device
        double = model.config._attn_implementation == DOUBLE_ATTENTION
        self._cache = growing_cache(torch.float64 if double else None)
        self._prompts = len(mask)
        # For each sequence: the row of its prompt, the slots of its past, and its next position.
        self._owners = torch.arange(len(mask), device=self._device)
        self._seen = mask.bool()
        self._positions = mask.sum(dim=1)

    def start(self) -> Tensor:
        positions = (self._mask.cumsum(dim=1) - 1).clamp(min=0)
        logits = self._forward(positions, self._mask, inputs_embeds=self._embeds, logits_to_keep=1)
        return self._scores(logits[:, -1])

    def step(self, rows: Tensor, tokens: Tensor) -> Tensor:
        rows, tokens = rows.to(self._device), tokens.to(self._device)
        prompts, self._owners = torch.unique_consecutive(self._owners[rows], return_inverse=True)
        if len(prompts) < self._prompts:
            self._cache.batch_select_indices(prompts)
            self._prompts = len(prompts)
        beams = torch.bincount(self._owners)
        first = beams.cumsum(dim=0) - beams
        at = self._owners, torch.arange(len(rows), device=self._device) - first[self._owners]
        width = int(beams.max())
        self._seen = torch.cat([self._seen[rows], torch.nn.functional.one_hot(at[1], width).bool()], dim=1)
        self._positions = self._positions[rows]
        # A prompt with fewer beams than another has spare places. They repeat its first beam.
        places = first[:, None].repeat(1, width)
        places[at] = torch.arange(len(rows), device=self._device)
        logits = self._forward(
            self._positions[places], self._additive(self._seen[places]), input_ids=tokens[places], logits_to_keep=0
        )
        self._positions = self._positions + 1
        return self._scores(logits[at])

    def _additive(self, seen: Tensor) -> Tensor:
        """Turn the slots seen [prompts, beams, slots] into a mask to add to scores [prompts, 1, beams, slots]."""
        zeros = torch.zeros(seen.shape, dtype=self._embeds.dtype, device=self._device)
        return zeros.masked_fill(~seen, torch.finfo(zeros.dtype).min).unsqueeze(1)

    def _forward(self, positions: Tensor, mask: Tensor, **inputs: Any) -> Tensor:
        out = self._model(
            **inputs, attention_mask=mask, position_ids=positions, past_key_values=self._cache, use_cache=True
        )
        logits: Tensor = out.logits
        return logits

    def _scores(self, logits: Tensor) -> Tensor:
        """Turn logits [m, vocabulary] into log-probabilities on the CPU."""
        logits = logits.float().cpu()
        logits[:, self._forbidden] = -torch.inf
        return torch.log_softmax(logits, dim=-1)


def _padded(prompts: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return left-padded input embeddings [n, length, hidden] and the attention mask [n, length]."""
    length = max(len(prompt) for prompt in prompts)
    embeds = prompts[0].new_zeros(len(prompts), length, prompts[0].shape[1])
    mask = torch.zeros(len(prompts), length, dtype=torch.long, device=embeds.device)
    for row, prompt in enumerate(prompts):
        embeds[row, length - len(prompt) :] = prompt
        mask[row, length - len(prompt) :] = 1
    return embeds, mask
