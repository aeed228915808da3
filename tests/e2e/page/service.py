"""The service that the page is tried on: fakes that hear a little, and take long enough to be watched."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from datastores.base import DomainStore
from models.decoder import Generated, GenerationOptions, Gone, nobody
from models.prompt import Prompt
from models.vectors import FloatArray
from service.app import create_app
from service.runtime import Loaders
from service.settings import JobsSettings, Settings
from tests.fakes import FakeBundle, FakeClap, FakeDecoder
from tests.memory_store import MemoryStore
from tests.recordings import Samples, encode
from tests.served import served

RATE = 16_000
DOMAINS = {
    "field-notes": (
        "Light rain falls steadily on leaves.",
        "Heavy rain pours onto a tin roof.",
        "A small bell rings twice.",
        "A bell rings in the distance while wind blows.",
        "Rain drips from a gutter into a metal bucket.",
        "An owl calls between the trees.",
    ),
    "storyteller": (
        "Soft rain tells the garden a long and sleepy secret.",
        "All night the rain taps at the window, asking to be let in.",
        "The old bell counts the hours for whoever is awake.",
        "A bell rings, and the whole valley lifts its head.",
        "The wind goes from door to door with nothing to sell.",
    ),
}
LARGE_CORPUS = 2_000
_SECONDS_A_BATCH = 0.05


class HearingClap(FakeClap):
    """Hears rain in what hisses and a bell in what rings, and embeds a long corpus slowly."""

    sound_names = ("rain", "bell")

    def embed_text(self, texts: Sequence[str]) -> FloatArray:
        if len(texts) > 32:
            time.sleep(_SECONDS_A_BATCH)
        return super().embed_text([text.replace(".", "").replace(",", "") for text in texts])

    def embed_audio(self, windows: Sequence[FloatArray]) -> FloatArray:
        return self.embed_text([_heard(samples) for samples in windows])


class SteppedDecoder(FakeDecoder):
    """Writes the batches it is let write, one by one, and counts them."""

    def __init__(self) -> None:
        self.batches = 0
        self._let = threading.Semaphore(0)

    def let(self, batches: int) -> None:
        """Write so many more."""
        for _ in range(batches):
            self._let.release()

    def generate(self, prompts: Sequence[Prompt], options: GenerationOptions, gone: Gone = nobody) -> list[Generated]:
        while not self._let.acquire(timeout=0.02):
            if all(gone(row) for row in range(len(prompts))):
                return [Generated("", 0) for _ in prompts]
        self.batches += 1
        return super().generate(prompts, options, gone)


def _heard(samples: FloatArray) -> str:
    spectrum = np.abs(np.fft.rfft(samples))
    return "rain falls" if spectrum.max() < 300 * spectrum.mean() else "a bell rings"


@contextmanager
def page_service(
    folder: Path, domains: Sequence[str] = tuple(DOMAINS), decoder: FakeDecoder | None = None
) -> Iterator[str]:
    """Serve the product's app over fakes with some of `DOMAINS`, its jobs in `folder`; gives its URL."""
    settings = Settings(jobs=JobsSettings(path=folder))
    clap = HearingClap()

    async def open_store(_: Settings) -> DomainStore:
        store = MemoryStore()
        for name in domains:
            captions = DOMAINS[name]
            await store.put(name, captions, clap.embed_text(captions), clap.fingerprint)
        return store

    bundle = replace(FakeBundle(), clap=clap, decoder=decoder or FakeDecoder())
    app = create_app(settings, Loaders(lambda _: bundle, open_store))
    with served(app) as url:
        yield url


def rain_then_bell(times: int = 1) -> bytes:
    """Eight seconds of WAV, so many times: hiss with drops, then two strokes of a bell."""
    random = np.random.default_rng(7)
    seconds = np.arange(4 * RATE) / RATE
    drops = (random.random(len(seconds)) > 0.9985) * random.random(len(seconds))
    hiss = np.convolve(random.normal(size=len(seconds)), [0.5, 0.3, -0.2], mode="same") * (0.1 + 0.05 * np.sin(seconds))
    rain = hiss + np.convolve(drops, np.exp(-np.arange(400) / 60), mode="same")
    bell = np.zeros(4 * RATE)
    for start in (0.0, 2.0):
        since = seconds - start
        ring = sum(np.sin(2 * np.pi * hertz * since) / n for n, hertz in enumerate((523, 1250, 2093, 3300, 5100), 1))
        bell += np.where(since >= 0, ring * np.exp(-2.2 * np.maximum(since, 0)), 0)
    sound: Samples = np.concatenate([0.4 * rain, 0.35 * bell] * times).astype(np.float32)
    return encode(np.clip(sound, -1, 1).astype(np.float32), RATE)


def large_corpus(captions: int = LARGE_CORPUS) -> bytes:
    """A corpus that takes a while to embed, as text."""
    return "".join(f"A kettle sings for the {n}th time.\n" for n in range(captions)).encode()
