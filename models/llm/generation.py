"""Decodes captions token by token, for a batch of prompts that do not affect each other."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from models.decoder import GenerationOptions, Gone, nobody
from models.llm.guidance import Guidance, guided

# A token is unlikely if another one is e^2.3, ten times, as likely. A caption ends neither by an unlikely token
# nor after one, such as a full stop in mid-sentence: the reranker, which reads words, cannot tell a sentence cut short.
_UNLIKELY = 2.3


class StepModel(Protocol):
    """A language model in the middle of a batch. Row r continues sequence r; rows of one prompt stand together.

    The caller may change the scores that it gets.
    """

    def start(self) -> Tensor:
        """Read the prompts. Return log-probabilities of the first token [n, vocabulary]."""

    def step(self, rows: Tensor, tokens: Tensor) -> Tensor:
        """Continue former rows [m] with tokens [m]. Return log-probabilities of the next token [m, vocabulary]."""


@dataclass
class _Beam:
    tokens: tuple[int, ...]
    score: float
    likely: bool = True

    def normalised(self) -> float:
        """Return the mean log-probability a token, so that long captions are not at a disadvantage."""
        return self.score / max(1, len(self.tokens))


def decode(
    model: StepModel,
    prompts: int,
    options: GenerationOptions,
    end_tokens: frozenset[int],
    gone: Gone = nobody,
    guides: Sequence[Guidance] = (),
) -> list[list[tuple[int, ...]]]:
    """Return the token ids of the captions found for each prompt, best first, without the end token.

    `GenerationOptions.guidance` needs a guide for each prompt.


    Decoding is greedy, by beam search, or sampled with a generator for each prompt, so that the batch does not change
    the draw. A prompt leaves the batch when its caption has ended or its client is `gone`, which is asked before each
    token. The caption of a prompt that is gone is cut short and may be empty.
    """
    if options.num_beams > 1:
        return _beam_search(model, prompts, options, end_tokens, gone, guides)
    return _one_by_one(model, prompts, options, end_tokens, gone, guides)


def _one_by_one(
    model: StepModel,
    prompts: int,
    options: GenerationOptions,
    end_tokens: frozenset[int],
    gone: Gone,
    guides: Sequence[Guidance],
) -> list[list[tuple[int, ...]]]:
    generators = [torch.Generator().manual_seed(options.seed) for _ in range(prompts)]
    captions: list[list[int]] = [[] for _ in range(prompts)]
    live = list(range(prompts))
    scores = model.start()
    for length in range(1, options.max_new_tokens + 1):
        texts = [captions[prompt] for prompt in live]
        scores = _steered(scores, texts, [guides[prompt] for prompt in live] if guides else (), options)
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
    model: StepModel,
    prompts: int,
    options: GenerationOptions,
    end_tokens: frozenset[int],
    gone: Gone,
    guides: Sequence[Guidance],
) -> list[list[tuple[int, ...]]]:
    width = options.num_beams
    beams: list[list[_Beam]] = [[_Beam((), 0.0)] for _ in range(prompts)]
    finished: list[list[_Beam]] = [[] for _ in range(prompts)]
    scores = model.start()
    for length in range(1, options.max_new_tokens + 1):
        texts = [beam.tokens for prompt in beams for beam in prompt]
        asked = [guide for guide, prompt in zip(guides, beams, strict=False) for _ in prompt]
        scores = _steered(scores, texts, asked, options)
        ahead = _likeliest(scores, 2 * (width + len(end_tokens)))
        rows: list[int] = []
        first = 0
        for prompt in range(prompts):
            parents = beams[prompt]
            candidates = _extend(parents, ahead[first : first + len(parents)])
            beams[prompt] = []
            for parent, token, score in candidates:
                tokens = parents[parent].tokens
                likely = score - parents[parent].score >= ahead[first + parent][0][0] - _UNLIKELY
                if token in end_tokens:
                    if likely and parents[parent].likely:
                        finished[prompt].append(_Beam(tokens, score))
                elif len(beams[prompt]) < width:
                    beams[prompt].append(_Beam((*tokens, token), score, likely))
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
        # All that have ended, which may be more than `width`: the reranker takes the best of many.
        [beam.tokens for beam in sorted(done or going or [_Beam((), 0.0)], key=_Beam.normalised, reverse=True)]
        for done, going in zip(finished, beams, strict=True)
    ]


def _steered(
    scores: Tensor, texts: Sequence[Sequence[int]], guides: Sequence[Guidance], options: GenerationOptions
) -> Tensor:
    """Return the scores with guidance and without repeats; each row has its text so far, and a guide if asked for."""
    if options.guidance:
        scores = guided(scores, texts, guides, options.guidance)
    _forbid_repeats(scores, texts, options.no_repeat)
    return scores


def _forbid_repeats(scores: Tensor, texts: Sequence[Sequence[int]], no_repeat: int) -> None:
    """Exclude, in place, the tokens that would repeat a run of `no_repeat` tokens of the row's text."""
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
    """Return the `count` likeliest tokens of each row as (score, token)."""
    best = scores.topk(min(count, scores.shape[1]), dim=1)
    return [list(zip(*row, strict=True)) for row in zip(best.values.tolist(), best.indices.tolist(), strict=True)]


def _extend(parents: Sequence[_Beam], ahead: Sequence[Sequence[tuple[float, int]]]) -> list[tuple[int, int, float]]:
    """Return the best continuations as (parent, token, score), best first, as many as each parent has `ahead`."""
    candidates = [
        (number, token, beam.score + score)
        for number, (beam, tokens) in enumerate(zip(parents, ahead, strict=True))
        for score, token in tokens
        if score > -math.inf
    ]
    candidates.sort(key=lambda one: one[2], reverse=True)
    return candidates[: len(ahead[0])] if ahead else []


def _settled(going: Sequence[_Beam], finished: Sequence[_Beam], width: int) -> bool:
    """Return whether enough captions have ended and no unfinished one has a better mean so far."""
    if len(finished) < width:
        return False
    best = max(beam.normalised() for beam in finished)
    return all(beam.normalised() <= best for beam in going)
