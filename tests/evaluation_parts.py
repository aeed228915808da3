"""Fakes and small domains that the tests of evaluation share."""

from collections.abc import Sequence

from rich.progress import Progress

from evaluation.domains import Domain, open_domain
from evaluation.pipeline import EvaluatedSounds
from evaluation.reconstruction import HeldOut, hold_out
from models.bundle.config import RetrievalSection
from models.conditioning.projection import Projection
from models.decoder import Generated, GenerationOptions, Gone, nobody
from models.prompt import Prompt
from models.vectors import FloatArray
from tests.fakes import FakeBundle, FakeClap, FakeDecoder
from tests.memory_store import MemoryStore

CLAP = FakeClap()
BUNDLE = FakeBundle(
    clap=CLAP,
    projection=Projection(0.1),
    retrieval=RetrievalSection(k=2, neighbours=8),
    generation=GenerationOptions(num_beams=2),
)
CITY = [f"tone {number} in the city" for number in range(40)]
FOREST = [f"tone {number} deep between old trees" for number in range(40)]


async def domain_of(captions: Sequence[str], name: str) -> Domain:
    store = MemoryStore()
    await store.put(name, captions, CLAP.embed_text(captions), CLAP.fingerprint)
    return await open_domain(store, name, CLAP)


def sounds(texts: Sequence[str]) -> EvaluatedSounds:
    return EvaluatedSounds(tuple(texts), tuple((text,) for text in texts), CLAP.embed_text(texts))


def quiet() -> Progress:
    return Progress(disable=True)


async def held_out(captions: Sequence[str], count: int, **options: float) -> HeldOut:
    return await hold_out(await domain_of(captions, "whole"), MemoryStore(), CLAP, count, **options)  # type: ignore[arg-type]


WORDS = ("tone", "bell", "rain", "wind", "dog", "tram", "owl", "sea", "fire", "clock")


CAPTIONS = [f"{one} and {other} {number}" for number in range(8) for one in WORDS for other in WORDS if one < other]


QUERIES = CLAP.embed_text(["a dog in the rain", "sea and wind", "fire"])


class ReadingDecoder(FakeDecoder):
    """Remembers prompts and options."""

    def __init__(self) -> None:
        self.prompts: list[Prompt] = []
        self.options: list[GenerationOptions] = []

    def generate(self, prompts: Sequence[Prompt], options: GenerationOptions, gone: Gone = nobody) -> list[Generated]:
        self.prompts += prompts
        self.options += [options] * len(prompts)
        return super().generate(prompts, options, gone)


class SearchedStore(MemoryStore):
    """Remembers the limit of each search."""

    def __init__(self) -> None:
        super().__init__()
        self.limits: list[int] = []

    async def search(self, version, vectors, limit):  # type: ignore[no-untyped-def]
        self.limits.append(limit)
        return await super().search(version, vectors, limit)


def queries(vectors: FloatArray = QUERIES) -> EvaluatedSounds:
    names = tuple(f"{number}.wav" for number in range(len(vectors)))
    return EvaluatedSounds(names, tuple((f"a dog {number}", "the rain") for number in range(len(vectors))), vectors)
