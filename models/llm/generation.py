"""Decoding: token by token, for a batch of prompts that do not see each other."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from models.decoder import GenerationOptions, Gone, nobody


class StepModel(Protocol):
    """A language model in the middle of a batch; row r continues sequence r, those of a prompt stand together.

    The scores it gives are the caller's to change.
    """

    def start(self) -> Tensor:
        """Read the prompts; log-probabilities of the first token, [n, vocabulary]."""

    def step(self, rows: Tensor, tokens: Tensor) -> Tensor:
        """Continue from the given former rows [m] with tokens [m]; log-probabilities of the next, [m, vocabulary]."""


@dataclass
class _Beam:
    tokens: tuple[int, ...]
    score: float

    def normalised(self) -> float:
        """Mean log-probability a token: longer captions are not worse for being longer."""
        return self.score / max(1, len(self.tokens))


def decode(
    model: StepModel, prompts: int, options: GenerationOptions, end_tokens: frozenset[int], gone: Gone = nobody
) -> list[list[tuple[int, ...]]]:
    """Token ids of the captions found for each prompt, best first, without the end token.

    Greedy, sampled (a generator a prompt, so that batch mates do not change the draw) or by beam search. A prompt
    leaves the batch once its caption has ended or its client is `gone`, which is asked before each token; what is
    answered for one that is gone is cut short, and may be empty.
    """
    if options.num_beams > 1:
        return _beam_search(model, prompts, options, end_tokens, gone)
    return _one_by_one(model, prompts, options, end_tokens, gone)


def _one_by_one(
    model: StepModel, prompts: int, options: GenerationOptions, end_tokens: frozenset[int], gone: Gone
) -> list[list[tuple[int, ...]]]:
    generators = [torch.Generator().manual_seed(options.seed) for _ in range(prompts)]
    captions: list[list[int]] = [[] for _ in range(prompts)]
    live = list(range(prompts))
    scores = model.start()
    for length in range(1, options.max_new_tokens + 1):
        _forbid_repeats(scores, [captions[prompt] for prompt in live], options.no_repeat)
        tokens = [_choose(scores[row], options.temperature, generators[prompt]) for row, prompt in enumerate(live)]
        going = [row for row, token in enumerate(tokens) if token not in end_tokens]
        for row in going:
            captions[live[row]].append(tokens[row])
        going = [row for row in going if not gone(live[row])]
        live = [live[row] for row in going]
        if not live or length == options.max_new_tokens:
            break
        scores = model.step(torch.tensor(going), torch.tensor([tokens[row] for row in going]))
    return [[tuple(caption)] for caption in captions]


def _choose(scores: Tensor, temperature: float, generator: torch.Generator) -> int:
    if temperature == 0:
        return int(scores.argmax())
    chances = torch.softmax(scores.double() / temperature, dim=-1)
    return int(torch.multinomial(chances, 1, generator=generator))


def _beam_search(
    model: StepModel, prompts: int, options: GenerationOptions, end_tokens: frozenset[int], gone: Gone
) -> list[list[tuple[int, ...]]]:
    width = options.num_beams
    beams: list[list[_Beam]] = [[_Beam((), 0.0)] for _ in range(prompts)]
    finished: list[list[_Beam]] = [[] for _ in range(prompts)]
    scores = model.start()
    for length in range(1, options.max_new_tokens + 1):
        _forbid_repeats(scores, [beam.tokens for prompt in beams for beam in prompt], options.no_repeat)
        ahead = _likeliest(scores, 2 * (width + len(end_tokens)))
        rows: list[int] = []
        first = 0
        for prompt in range(prompts):
            parents = beams[prompt]
            candidates = _extend(parents, ahead[first : first + len(parents)])
            beams[prompt] = []
            for parent, token, score in candidates:
                tokens = parents[parent].tokens
                if token in end_tokens:
                    finished[prompt].append(_Beam(tokens, score))
                elif len(beams[prompt]) < width:
                    beams[prompt].append(_Beam((*tokens, token), score))
                    rows.append(first + parent)
            first += len(parents)
            if _settled(beams[prompt], finished[prompt], width) or gone(prompt):
                rows = rows[: len(rows) - len(beams[prompt])]
                beams[prompt] = []
        if not rows or length == options.max_new_tokens:
            break
        last = [beam.tokens[-1] for prompt in beams for beam in prompt]
        scores = model.step(torch.tensor(rows), torch.tensor(last))
    return [
        [beam.tokens for beam in sorted(done or going or [_Beam((), 0.0)], key=_Beam.normalised, reverse=True)[:width]]
        for done, going in zip(finished, beams, strict=True)
    ]


def _forbid_repeats(scores: Tensor, texts: Sequence[Sequence[int]], no_repeat: int) -> None:
    """Take from each row of scores, in place, the tokens that would repeat a run of `no_repeat` tokens of its text."""
    repeats = [(row, token) for row, tokens in enumerate(texts) for token in _repeats(tokens, no_repeat)]
    if repeats:
        scores[tuple(torch.tensor(repeats).T)] = -torch.inf


def _repeats(tokens: Sequence[int], no_repeat: int) -> list[int]:
    if no_repeat == 0 or len(tokens) < no_repeat:
        return []
    last = tuple(tokens[len(tokens) - no_repeat + 1 :])
    return [
        tokens[at + no_repeat - 1]
        for at in range(len(tokens) - no_repeat + 1)
        if tuple(tokens[at : at + no_repeat - 1]) == last
    ]


def _likeliest(scores: Tensor, count: int) -> list[list[tuple[float, int]]]:
    """For each row the so many likeliest tokens as (score, token), all rows at once."""
    best = scores.topk(min(count, scores.shape[1]), dim=1)
    return [list(zip(*row, strict=True)) for row in zip(best.values.tolist(), best.indices.tolist(), strict=True)]


def _extend(parents: Sequence[_Beam], ahead: Sequence[Sequence[tuple[float, int]]]) -> list[tuple[int, int, float]]:
    """The best continuations as (parent, token, score), best first: as many as each parent has ahead."""
    candidates = [
        (number, token, beam.score + score)
        for number, (beam, tokens) in enumerate(zip(parents, ahead, strict=True))
        for score, token in tokens
        if score > -math.inf
    ]
    candidates.sort(key=lambda one: one[2], reverse=True)
    return candidates[: len(ahead[0])] if ahead else []


def _settled(going: Sequence[_Beam], finished: Sequence[_Beam], width: int) -> bool:
    """Enough captions have ended and none under way has a better mean so far."""
    if len(finished) < width:
        return False
    best = max(beam.normalised() for beam in finished)
    return all(beam.normalised() <= best for beam in going)
