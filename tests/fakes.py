"""A CLAP and a decoder of a few lines, so that units are tested in milliseconds."""

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from models.bundle.config import RetrievalSection, SegmentsSection
from models.bundle.loaded import LoadedBundle
from models.clap.base import Clap
from models.clap.whole_windows import WholeWindows
from models.conditioning.projection import Projection, TextStatistics
from models.decoder import Decoder, Generated, GenerationOptions, Gone, nobody
from models.prompt import Prompt
from models.vectors import FloatArray


class FakeClap(WholeWindows):
    """Bag of hashed words for text; a clip is heard as the caption ``tone N`` of its loudest frequency in 100 Hz.

    A sound's score is the cosine to the sound's name.
    """

    sample_rate = 16_000
    window_seconds = 2.0
    embedding_dim = 64
    temperature = 0.05
    fingerprint = "fake-1"
    sound_names: Sequence[str] = ("tone 4", "tone 10")

    def embed_text(self, texts: Sequence[str]) -> FloatArray:
        vectors = np.zeros((len(texts), self.embedding_dim), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().split():
                digest = hashlib.sha256(word.encode()).digest()
                vectors[row] += np.random.default_rng(int.from_bytes(digest[:8], "big")).normal(size=self.embedding_dim)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(norms, 1e-9), dtype=np.float32)

    def reads_whole(self, texts: Sequence[str]) -> list[bool]:
        return [len(text.split()) <= 40 for text in texts]

    def embed_audio(self, windows: Sequence[FloatArray]) -> FloatArray:
        return self.embed_text([f"tone {self._loudest(samples)}" for samples in windows])

    def score_sounds(self, frames: FloatArray) -> FloatArray:
        return np.clip(frames @ self.embed_text(self.sound_names).T, 0, 1)

    def _loudest(self, samples: FloatArray) -> int:
        spectrum = np.abs(np.fft.rfft(samples, n=self.sample_rate))
        return round(int(spectrum.argmax()) / 100)


class SteppingClap(FakeClap):
    """Hears in steps of a quarter of a second: a frame is the vector of its own step. Counts the samples it heard."""

    frame_seconds = 0.25

    def __init__(self) -> None:
        self.samples = 0

    def hear(self, windows: Sequence[FloatArray]) -> list[FloatArray]:
        self.samples += sum(map(len, windows))
        steps = [np.array_split(one, -(-len(one) // round(self.frame_seconds * self.sample_rate))) for one in windows]
        return [FakeClap.embed_audio(self, own) for own in steps]

    def embed_audio(self, windows: Sequence[FloatArray]) -> FloatArray:
        return self.embed_frames(self.hear(windows))


class FakeDecoder:
    """Repeats the most similar caption, so a test sees which one arrived."""

    model_name = "fake"

    def generate(self, prompts: Sequence[Prompt], options: GenerationOptions, gone: Gone = nobody) -> list[Generated]:
        return [
            Generated(text=f"Heard: {p.similar_captions[0]}" if p.similar_captions else "Heard", tokens=4)
            for p in prompts
        ]


@dataclass(frozen=True)
class FakeProjection(Projection):
    """Leaves the vector as it was heard."""

    temperature: float = 0.05

    def project(
        self, query: FloatArray, vectors: FloatArray, scores: FloatArray, moments: TextStatistics
    ) -> FloatArray:
        return query


class GatedClap(FakeClap):
    """Hears nothing before its gate opens; counts the calls and the windows it then heard."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.calls = self.heard = 0

    def embed_audio(self, windows: Sequence[FloatArray]) -> FloatArray:
        self.entered.set()
        self.gate.wait(10)
        self.calls += 1
        self.heard += len(windows)
        return super().embed_audio(windows)


@dataclass(frozen=True)
class FakeBundle(LoadedBundle):
    """A bundle of fakes; any part can be exchanged."""

    name: str = "fake"
    clap: Clap = field(default_factory=FakeClap)
    decoder: Decoder = field(default_factory=FakeDecoder)
    projection: Projection = field(default_factory=FakeProjection)
    retrieval: RetrievalSection = field(default_factory=lambda: RetrievalSection(k=3, neighbours=8))
    generation: GenerationOptions = field(default_factory=GenerationOptions)
    segments: SegmentsSection = field(default_factory=SegmentsSection)
