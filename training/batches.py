"""Batches of training examples, and the loss on their captions' tokens.

The captions of one example follow each other in one row behind the prompt they share: `part` is 0 for what stands
before the audio tokens and 1, 2, ... for audio tokens and caption, a token sees the shared part and its own, and
positions go on from the shared part in each. So every caption is computed as if it stood there alone, and the
prompt once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.llm.language_model import Llm
from models.llm.projector import Projector
from models.prompt import Prompt, PromptTemplate, encode_prompt
from training.examples import Example, ExampleSource

IGNORED = -100
"""Label of a token that is not asked for."""

_POOL = 8


@dataclass(frozen=True)
class Batch:
    """Token ids [n, length], padded on the right, and what each token is.

    Attributes:
        part: which part of its row a token belongs to, -1 for padding.
        positions: a token's distance from the start of the text as its target sees it.
        labels: the token itself where a caption's token is to be written, else `IGNORED`.
        audio: rows and columns of the audio tokens [targets, tokens, 2]; zeros stand in `ids` there.
        vectors: what the projector makes them from [targets, d].
    """

    ids: Tensor
    part: Tensor
    positions: Tensor
    labels: Tensor
    audio: Tensor
    vectors: Tensor

    def mask(self) -> Tensor:
        """Which token sees which: bool [n, 1, length, length]."""
        length = self.ids.shape[1]
        seen = (self.part[:, None, :] == 0) | (self.part[:, None, :] == self.part[:, :, None])
        causal = torch.ones(length, length, dtype=torch.bool, device=self.ids.device).tril()
        return (seen & causal)[:, None]

    def tokens(self) -> int:
        """How many tokens are to be written."""
        return int((self.labels != IGNORED).sum())

    def to(self, device: torch.device) -> "Batch":
        """The batch on another device."""
        return Batch(**{name: tensor.to(device) for name, tensor in vars(self).items()})


def collate(llm: Llm, template: PromptTemplate, examples: Sequence[Example], tokens: int) -> Batch:
    """Examples to one batch; `tokens` is the projector's number of audio tokens."""
    rows = [_Row(llm, template, example, tokens) for example in examples]
    width = max(len(row.ids) for row in rows)
    audio = torch.tensor([[[index, at] for at in span] for index, row in enumerate(rows) for span in row.audio])
    vectors = np.stack([example.vector for example in examples for _ in example.captions])
    return Batch(
        ids=_padded([row.ids for row in rows], width, 0),
        part=_padded([row.part for row in rows], width, -1),
        positions=_padded([row.positions for row in rows], width, 0),
        labels=_padded([row.labels for row in rows], width, IGNORED),
        audio=audio,
        vectors=torch.from_numpy(vectors),
    )


class _Row:
    """One example written out."""

    def __init__(self, llm: Llm, template: PromptTemplate, example: Example, tokens: int) -> None:
        self.ids: list[int] = []
        self.part: list[int] = []
        self.positions: list[int] = []
        self.labels: list[int] = []
        self.audio: list[range] = []
        before, after = encode_prompt(llm, template, Prompt(example.vector, example.similar_captions))
        start = len(before)
        self._add(before, 0, 0)
        for part, target in enumerate(example.captions, start=1):
            self.audio.append(range(len(self.ids), len(self.ids) + tokens))
            caption = [*llm.tokenize(" " + target), llm.end_token]
            self._add([0] * tokens + after, part, start)
            self._add(caption, part, start + tokens + len(after), labelled=True)

    def _add(self, ids: list[int], part: int, start: int, labelled: bool = False) -> None:
        self.ids += ids
        self.part += [part] * len(ids)
        self.positions += range(start, start + len(ids))
        self.labels += ids if labelled else [IGNORED] * len(ids)


def _padded(rows: Sequence[list[int]], width: int, fill: int) -> Tensor:
    return torch.tensor([row + [fill] * (width - len(row)) for row in rows])


class CaptionLoss(nn.Module):
    """Mean cross-entropy over the captions' tokens, as one module for accelerate to wrap."""

    def __init__(self, llm: Any, projector: Projector) -> None:
        """Args: a causal model, with or without PEFT's adapter."""
        super().__init__()
        self.llm = llm
        self.projector = projector

    def forward(self, batch: Batch) -> Tensor:
        """Loss, float32 []. Logits exist only where there is a label: the vocabulary is the largest layer."""
        base = self.llm.get_base_model() if hasattr(self.llm, "get_base_model") else self.llm
        embeds = base.get_input_embeddings()(batch.ids).clone()
        embeds[batch.audio[..., 0], batch.audio[..., 1]] = self.projector(batch.vectors).to(embeds.dtype)
        hidden = base.model(
            inputs_embeds=embeds, attention_mask=batch.mask(), position_ids=batch.positions, use_cache=False
        ).last_hidden_state
        wanted = batch.labels[:, 1:] != IGNORED
        logits = base.lm_head(hidden[:, :-1][wanted])
        return nn.functional.cross_entropy(logits.float(), batch.labels[:, 1:][wanted])


class BatchSource:
    """Batches of about equal length inside, each a function of the seed and its number alone."""

    def __init__(
        self, llm: Llm, template: PromptTemplate, examples: ExampleSource, size: int, tokens: int, seed: int
    ) -> None:
        self._llm = llm
        self._template = template
        self._examples = examples
        self._size = size
        self._tokens = tokens
        self._seed = seed
        self._pool: tuple[int, list[Batch]] = (-1, [])

    def __getitem__(self, number: int) -> Batch:
        index, place = divmod(number, _POOL)
        if self._pool[0] != index:
            self._pool = (index, self._draw(index))
        return self._pool[1][place]

    def _draw(self, index: int) -> list[Batch]:
        rng = np.random.default_rng([self._seed, index])
        examples = sorted((self._examples.draw(rng) for _ in range(_POOL * self._size)), key=len)
        order = rng.permutation(_POOL)
        return [
            collate(self._llm, self._template, examples[i * self._size : (i + 1) * self._size], self._tokens)
            for i in order
        ]
