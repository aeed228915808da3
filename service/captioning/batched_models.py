"""The models of a bundle, in batches: the CLAP and the decoder each have a queue and threads."""

import asyncio
import logging
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from models.bundle.loaded import LoadedBundle
from models.clap.base import Clap
from models.decoder import Decoder, Generated, GenerationOptions
from models.prompt import Prompt
from models.vectors import FloatArray
from service.batching.batcher import Batcher
from service.batching.queue import Item, Priority, Result
from service.batching.runner import BatchWork, Gone, Limits, Observer, Unobserved
from service.batching.turns import SharedCores, Turns
from service.settings import BatchingSettings

logger = logging.getLogger(__name__)

CLAP, LLM = "clap", "llm"

# Measured on the embedded bundle: reading one caption takes as long as hearing this many seconds.
_TEXT_SECONDS = 0.3
# Rough token estimates for any LLM: the prompt without its similar captions, characters in a token, and the tokens of
# the longest caption in a batch.
_TEMPLATE_TOKENS = 20
_CHARACTERS_A_TOKEN = 4
_EXPECTED_TOKENS = 16
# For each prompt that a batch of the LLM may hold, it has at most this many tokens, read and expected, and a batch of
# the CLAP at most this many seconds of audio. With the 8 prompts that suit two cores: 2,500 tokens and 20 seconds.
_TOKENS_A_PROMPT = 312.5
_AUDIO_SECONDS_A_PROMPT = 2.5
# Items a call has in the queue at a time, so that a long recording neither fills the queue nor blocks others.
_WINDOWS_AT_ONCE = 16
_TEXTS_AT_ONCE = 64
_ENDING_SECONDS = 20.0


@dataclass(frozen=True)
class _Task:
    """One prompt for the decoder, with its options."""

    prompt: Prompt
    options: GenerationOptions


class BatchedModels:
    """Hears, reads and writes for many requests at a time. Create it in the event loop that uses it."""

    def __init__(
        self,
        bundle: LoadedBundle,
        limits: BatchingSettings,
        calls: int,
        observer: Callable[[str], Observer] = lambda _: Unobserved(),
    ) -> None:
        """
        Args:
            bundle: the bundle with the CLAP and the decoder.
            limits: limits of a batch.
            calls: largest number of admitted requests; the queues have room for all of them.
            observer: returns the observer of the queue with this name, `CLAP` or `LLM`.
        """
        self._prompts_at_once = limits.prompts * len(bundle.decoders)
        turns = None if bundle.turns is None else Turns(bundle.turns)
        texts, seconds = _TEXTS_AT_ONCE, _AUDIO_SECONDS_A_PROMPT * limits.prompts
        self._clap: Batcher[FloatArray | str, FloatArray] = Batcher(
            CLAP,
            _clap_work(bundle.clap, bundle.turns or 1),
            Limits(seconds, max(_WINDOWS_AT_ONCE, texts), calls * texts),
            observer(CLAP),
            # The CLAP goes first, so that prompts gather in the LLM's queue and are written in larger batches.
            cores=None if turns is None else SharedCores(turns, ahead=True),
        )
        self._llm: Batcher[_Task, Generated] = Batcher(
            LLM,
            _writing_work(bundle.decoders),
            Limits(_TOKENS_A_PROMPT * limits.prompts, limits.prompts, calls * self._prompts_at_once),
            observer(LLM),
            cores=None if turns is None else SharedCores(turns),
            source=self._clap,
        )

    async def start(self) -> None:
        """Start to accept work."""
        await self._clap.start()
        await self._llm.start()

    async def close(self, seconds: float = _ENDING_SECONDS) -> None:
        """Refuse new work, fail queued work, and wait for the threads. Each thread ends after its current call.

        The decoder stops at the next token of a caption that nobody waits for; the CLAP finishes its batch. A call
        that has not ended after `seconds` is abandoned.
        """
        batchers = self._clap, self._llm
        await asyncio.gather(*(one.close() for one in batchers))
        if not all(await asyncio.gather(*(one.ended(seconds) for one in batchers))):
            logger.warning("a call of a model has not ended within %g s and is abandoned", seconds)

    async def hear(self, windows: Sequence[FloatArray], deadline: float = math.inf) -> list[FloatArray]:
        """Windows -> the frames of each [frames, features]. `Batcher.run` explains `deadline` and the errors."""
        return await _in_pieces(self._clap, windows, _WINDOWS_AT_ONCE, deadline)

    async def embed_text(
        self, texts: Sequence[str], deadline: float = math.inf, priority: Priority = Priority.INTERACTIVE
    ) -> FloatArray:
        """Captions -> unit vectors [n, d]."""
        vectors = await _in_pieces(self._clap, texts, _TEXTS_AT_ONCE, deadline, priority)
        return np.stack(vectors)

    async def write(
        self, prompts: Sequence[Prompt], options: GenerationOptions, deadline: float = math.inf
    ) -> list[Generated]:
        """Prompts -> one caption each, in order."""
        tasks = [_Task(prompt, options) for prompt in prompts]
        return await _in_pieces(self._llm, tasks, self._prompts_at_once, deadline)

    def stalled(self) -> float:
        """Return seconds since a busy model last made progress, the longer of the two; 0 if both are idle."""
        return max(self._clap.stalled(), self._llm.stalled())


async def _in_pieces(
    batcher: Batcher[Item, Result],
    items: Sequence[Item],
    size: int,
    deadline: float,
    priority: Priority = Priority.INTERACTIVE,
) -> list[Result]:
    results: list[Result] = []
    for start in range(0, len(items), size):
        results += await batcher.run(items[start : start + size], deadline=deadline, priority=priority)
    return results


def _clap_work(clap: Clap, hearers: int) -> BatchWork[FloatArray | str, FloatArray]:
    def run(batch: Sequence[FloatArray | str], _: Gone) -> list[FloatArray]:
        texts = [one for one in batch if isinstance(one, str)]
        if texts:
            return list(clap.embed_text(texts))
        return clap.hear([one for one in batch if not isinstance(one, str)])

    def seconds(item: FloatArray | str) -> float:
        return _TEXT_SECONDS if isinstance(item, str) else len(item) / clap.sample_rate

    def kind(item: FloatArray | str) -> Hashable:
        return isinstance(item, str)

    return BatchWork(run, seconds, key=kind, replicas=[run] * (hearers - 1))


def _writing_work(decoders: Sequence[Decoder]) -> BatchWork[_Task, Generated]:
    def run(decoder: Decoder, batch: Sequence[_Task], gone: Gone) -> list[Generated]:
        return decoder.generate([one.prompt for one in batch], batch[0].options, gone)

    def tokens(task: _Task) -> float:
        captions = sum(map(len, task.prompt.similar_captions)) / _CHARACTERS_A_TOKEN
        return _TEMPLATE_TOKENS + captions + task.options.num_beams * min(task.options.max_new_tokens, _EXPECTED_TOKENS)

    first, *more = (partial(run, decoder) for decoder in decoders)
    return BatchWork(first, tokens, key=lambda task: task.options, replicas=more)
