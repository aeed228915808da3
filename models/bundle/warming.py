"""Runs a bundle's models once before the first request: some libraries load late, some kernels are chosen once."""

import time
from dataclasses import replace

import numpy as np

from models.bundle.loaded import LoadedBundle
from models.prompt import Prompt

_CAPTION = "A dog barks while rain falls."
_TOKENS = 3
_HERTZ = 440.0


def warm(bundle: LoadedBundle) -> float:
    """Hear a tone, read a caption, and write a few tokens with each copy of the decoder. Return the seconds it took.

    Errors of the models pass through: a bundle that cannot do this cannot caption.
    """
    started = time.perf_counter()
    clap, generation = bundle.clap, bundle.generation
    seconds = min(1.0, clap.window_seconds)
    times = np.arange(round(seconds * clap.sample_rate), dtype=np.float32) / clap.sample_rate
    tone = (0.1 * np.sin(2 * np.pi * _HERTZ * times)).astype(np.float32)
    heard, read = clap.embed_audio([tone])[0], clap.embed_text([_CAPTION])[0]
    # The prompts differ in length, so that padding runs once too.
    prompts = [Prompt(heard), Prompt(read, (_CAPTION,))]
    options = replace(generation, max_new_tokens=min(_TOKENS, generation.max_new_tokens))
    for decoder in dict.fromkeys(bundle.decoders):
        decoder.generate(prompts, options)
    return time.perf_counter() - started
