"""Batches of training examples.

The captions of one example follow each other in one row, behind the prompt that they share. `part` is 0 for the tokens
before the audio tokens, and 1, 2, ... for the audio tokens and text of each caption. A token sees part 0 and its own
part, and the positions of every part continue those of part 0. So each caption is computed as if it were alone, and the
prompt is computed once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.llm.language_model import Llm
from models.prompt import PromptTemplate, encode_prompt
from training.examples import Example, ExampleSource

IGNORED = -100
"""Label of a token that does not count in the loss."""

_POOL = 8


@dataclass(frozen=True)
class Batch:
    """A batch of n rows, padded on the right.

    Attributes:
        ids: token ids [n, length]; 0 for audio tokens.
        part: part of its row that a token belongs to [n, length], -1 for padding.
        positions: distance of a token from the start of the text, as its caption sees it [n, length].
        labels: the token itself for tokens of captions, else `IGNORED` [n, length].
        audio: rows and columns of the audio tokens [targets, tokens, 2].
        vectors: input of the projector for each caption [targets, d].
    """

    ids: Tensor
    part: Tensor
    positions: Tensor
    labels: Tensor
    audio: Tensor
    vectors: Tensor

    def mask(self) -> Tensor:
        """Return which token sees which other: bool [n, 1, length, length]."""
        length = self.ids.shape[1]
        seen = (self.part[:, None, :] == 0) | (self.part[:, None, :] == self.part[:, :, None])
        causal = torch.ones(length, length, dtype=torch.bool, device=self.ids.device).tril()
        return (seen & causal)[:, None]

    def tokens(self) -> int:
        """Return the number of tokens that count in the loss."""
        return int((self.labels != IGNORED).sum())

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on another device."""
        return Batch(**{name: tensor.to(device) for name, tensor in vars(self).items()})


def collate(llm: Llm, template: PromptTemplate, examples: Sequence[Example], tokens: int) -> Batch:
    """Return examples as one batch; `tokens` is the projector's number of audio tokens."""
    rows = [_Tokens(llm, template, example, tokens) for example in examples]
    width = max(len(row.ids) for row in rows)
    audio = torch.tensor([[[index, at] for at in span] for index, row in enumerate(rows) for span in row.audio])
    vectors = np.stack([prompt.vector for example in examples for prompt in example.prompts])
    return Batch(
        ids=_padded([row.ids for row in rows], width, 0),
        part=_padded([row.part for row in rows], width, -1),
        positions=_padded([row.positions for row in rows], width, 0),
        labels=_padded([row.labels for row in rows], width, IGNORED),
        audio=audio,
        vectors=torch.from_numpy(vectors),
    )


class _Tokens:
    """One example as tokens."""

    def __init__(self, llm: Llm, template: PromptTemplate, example: Example, tokens: int) -> None:
        self.ids: list[int] = []
        self.part: list[int] = []
        self.positions: list[int] = []
        self.labels: list[int] = []
        self.audio: list[range] = []
        before, _ = encode_prompt(llm, template, example.prompts[0])
        start = len(before)
        self._add(before, 0, 0)
        for part, (prompt, target) in enumerate(zip(example.prompts, example.captions, strict=True), start=1):
            _, after = encode_prompt(llm, template, prompt)
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


class BatchSource:
    """Batches of examples of similar length; a batch depends only on the seed and its number."""

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
