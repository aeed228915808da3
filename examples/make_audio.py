"""Makes the sample recordings: ``python -m examples.make_audio --out examples/audio``."""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import soundfile
import typer

from examples.sounds import SOUNDS
from examples.synthesis import RATE, Signal

SEED = 20_241
"""Another seed makes other drops, steps and gusts."""


def rendered(name: str, seed: int = SEED) -> Signal:
    """Render a sample recording: float64 [samples] in [-1, 1] at `RATE`. Raises KeyError for an unknown name."""
    # Each sound has a seed of its own: a change of one recipe leaves the other recordings unchanged.
    return SOUNDS[name](np.random.default_rng([seed, zlib.crc32(name.encode())]))


def write_all(folder: Path, seed: int = SEED) -> Iterator[Path]:
    """Write each recording into the folder as mono OGG Vorbis, and yield its path."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in SOUNDS:
        path = folder / f"{name}.ogg"
        soundfile.write(path, rendered(name, seed), RATE, format="OGG", subtype="VORBIS", compression_level=0.5)
        yield path


def main(
    out: Annotated[Path, typer.Option(help="Folder to write the recordings to.")],
    seed: Annotated[int, typer.Option(help="Seed of the synthesis.")] = SEED,
) -> None:
    """Synthesise the sample recordings."""
    for path in write_all(out, seed):
        typer.echo(f"{path}  {path.stat().st_size / 1024:.0f} kB")


if __name__ == "__main__":
    typer.run(main)
