"""The method of DRCap (arXiv 2410.09472): retrieve, project, prompt, write, choose.

The service, the evaluation and the benchmarks caption through this one object. It knows neither datastores nor queues:
they are handed in as coroutines.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from models.conditioning.conditioning import Conditioning, Retrieved
from models.conditioning.projection import TextStatistics
from models.conditioning.reranking import Reranker, candidates
from models.decoder import Generated, GenerationOptions
from models.prompt import Prompt, SoundGroups
from models.vectors import FloatArray

Near = Sequence[Sequence[Retrieved]]
"""The neighbours of each query, best first."""


@dataclass(frozen=True)
class Written:
    """A caption.

    Attributes:
        text: the caption.
        tokens: how many tokens it took.
        similar: the similar captions of its prompt, best first.
    """

    text: str
    tokens: int
    similar: tuple[Retrieved, ...]


def untimed(_: str) -> AbstractContextManager[None]:
    """Time no stage."""
    return nullcontext()


@dataclass(frozen=True)
class Method:
    """Writes captions for audio embeddings.

    Attributes:
        conditioning: makes the prompts.
        search: queries [n, d] and a limit -> the neighbours of each query and the statistics of the whole domain.
        write: prompts and options -> a caption for each prompt.
        embed_text: captions -> unit vectors [m, d].
        reranker: chooses among the captions of a beam search; None takes the likeliest.
        stage: is entered with the name of each stage while it runs.
    """

    conditioning: Conditioning
    search: Callable[[FloatArray, int], Awaitable[tuple[Near, TextStatistics]]]
    write: Callable[[Sequence[Prompt], GenerationOptions], Awaitable[Sequence[Generated]]]
    embed_text: Callable[[Sequence[str]], Awaitable[FloatArray]]
    reranker: Reranker | None = field(default_factory=Reranker)
    stage: Callable[[str], AbstractContextManager[None]] = untimed

    async def caption(
        self, queries: FloatArray, similar: int, options: GenerationOptions, sounds: Sequence[SoundGroups] = ()
    ) -> list[Written]:
        """Write a caption for each audio embedding.

        One search brings the neighbours that are both the support of the projection and the similar captions. It uses
        the raw audio embeddings.

        Args:
            queries: unit audio embeddings [n, d].
            similar: similar captions in each prompt; 0 for none.
            options: how the text is written.
            sounds: what the CLAP is sure of in each; empty if it names nothing.

        Raises whatever the coroutines raise.
        """
        with self.stage("search"):
            near, statistics = await self.search(queries, max(self.conditioning.neighbours, similar, 1))
        with self.stage("projection"):
            prompts = await asyncio.to_thread(self.conditioning.prompts, queries, near, statistics, similar, sounds)
        with self.stage("generate"):
            written = await self.write(prompts, options)
        with self.stage("rerank"):
            written = await self._chosen(near, written)
        return [Written(one.text, one.tokens, tuple(found[:similar])) for one, found in zip(written, near, strict=True)]

    async def _chosen(self, near: Near, written: Sequence[Generated]) -> Sequence[Generated]:
        texts = candidates(written)
        if self.reranker is None or not texts:
            return written
        vectors = await self.embed_text(texts)
        return await asyncio.to_thread(self.reranker.choose, near, written, vectors)
