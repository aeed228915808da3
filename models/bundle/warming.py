"""The first run of everything, before anybody waits: libraries that load late, kernels that are chosen once."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from models.clap.base import Clap
from models.decoder import Decoder, GenerationOptions
from models.prompt import Prompt

_CAPTION = "A dog barks while rain falls."
_TOKENS = 3
_HERTZ = 440.0


class Warmable(Protocol):
    """`models.bundle.loaded.LoadedBundle`."""

    @property
    def clap(self) -> Clap: ...
    @property
    def decoders(self) -> Sequence[Decoder]: ...
    @property
    def generation(self) -> GenerationOptions: ...


def warm(bundle: Warmable) -> float:
    """Hear a tone, read a caption, and write a few tokens with each copy of the decoder; returns the seconds it took.

    Whatever the models raise is raised: a bundle that cannot do this cannot caption.
    """
    started = time.perf_counter()
    clap = bundle.clap
    seconds = min(1.0, clap.window_seconds)
    times = np.arange(round(seconds * clap.sample_rate), dtype=np.float32) / clap.sample_rate
    tone = (0.1 * np.sin(2 * np.pi * _HERTZ * times)).astype(np.float32)
    heard, read = clap.embed_audio([tone])[0], clap.embed_text([_CAPTION])[0]
    # Of two lengths, so that what is done with a batch is done once.
    prompts = [Prompt(heard), Prompt(read, (_CAPTION,))]
    options = replace(bundle.generation, max_new_tokens=min(_TOKENS, bundle.generation.max_new_tokens))
    for decoder in dict.fromkeys(bundle.decoders):
        decoder.generate(prompts, options)
    return time.perf_counter() - started
