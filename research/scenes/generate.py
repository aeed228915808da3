"""Generates a test set of scenes: ``python -m research.scenes.generate --audio-csv FILE --out FOLDER``."""

import csv
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import soundfile
import typer
from numpy.typing import NDArray

from research.scenes.arrangement import Arrangement, allows, mixed, ordered
from research.scenes.references import references
from research.scenes.sounds import (
    RATE,
    RENDERED,
    Samples,
    SceneError,
    Source,
    held_out_sources,
    rendered_sources,
)

SEED = 5
COLUMNS = ("file", "captions_json", "sounds", "duration")

# Half the number of recordings of a class: recordings should prevail.
_VARIANTS = 4
_SHARES = {
    Arrangement.ALONE: 0.35,
    Arrangement.TOGETHER: 0.15,
    Arrangement.BACKGROUND: 0.15,
    Arrangement.SEQUENCE: 0.15,
    Arrangement.SEQUENCE_OF_THREE: 0.07,
    Arrangement.SEQUENCE_OVER: 0.07,
    Arrangement.TOGETHER_THEN: 0.06,
}


@dataclass(frozen=True)
class Scene:
    """One scene: its sources in the order of the arrangement, and its references."""

    arrangement: Arrangement
    sources: tuple[Source, ...]
    references: tuple[str, ...]
    seed: tuple[int, int]

    @property
    def sounds(self) -> tuple[str, ...]:
        """The sound classes, in the order of the arrangement."""
        return tuple(source.sound for source in self.sources)

    def samples(self) -> Samples:
        """Return the mixture, the same on every call: float64 [samples] at `RATE`."""
        return mixed(self.arrangement, self.sources, np.random.default_rng(self.seed))


def planned(sources: Sequence[Source], count: int, seed: int) -> Iterator[Scene]:
    """Yield `count` scenes that use every source about equally often; the same seed gives the same scenes.

    Raises:
        SceneError: the sources have too few sounds for an arrangement.
    """
    rng = np.random.default_rng(seed)
    uses = np.zeros(len(sources), dtype=np.int64)
    for number, arrangement in enumerate(_arrangements(count, rng)):
        chosen = _least_used(sources, uses, arrangement, rng)
        uses[chosen] += 1
        in_order = tuple(ordered(arrangement, [sources[index] for index in chosen], rng))
        # A random generator of its own: other templates leave the audio unchanged.
        words = np.random.default_rng((seed, number, 1))
        texts = references(arrangement, [source.sound for source in in_order], words)
        yield Scene(arrangement, in_order, texts, (seed, number))


def write_scenes(scenes: Sequence[Scene], out: Path) -> None:
    """Write ``scenes.csv`` and ``audio/scene-0001.flac`` and so on (44.1 kHz, mono, 16 bit) into the folder.

    The list is written last: a folder with a list has all its audio. In the column `sounds`, `>` means "then", `+`
    "together with" and `/` "in front of".
    """
    (out / "audio").mkdir(parents=True, exist_ok=True)
    rows = []
    for number, scene in enumerate(scenes, start=1):
        name = f"audio/scene-{number:04}.flac"
        whole = np.round(scene.samples() * 32_767).astype(np.int16)
        soundfile.write(out / name, whole, RATE, format="FLAC", subtype="PCM_16")
        sounds = scene.arrangement.written(scene.sounds)
        rows.append((name, json.dumps(scene.references), sounds, f"{len(whole) / RATE:.3f}"))
    with (out / "scenes.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([COLUMNS, *rows])


def _arrangements(count: int, rng: np.random.Generator) -> list[Arrangement]:
    """Return each arrangement according to its share, in a random order."""
    kinds = list(_SHARES)
    ends = np.round(np.cumsum(list(_SHARES.values())) * count).astype(int)
    each = np.repeat(np.arange(len(kinds)), np.diff(ends, prepend=0))
    return [kinds[index] for index in rng.permutation(each)]


def _least_used(
    sources: Sequence[Source],
    uses: NDArray[np.int64],
    arrangement: Arrangement,
    rng: np.random.Generator,
) -> list[int]:
    chosen: list[int] = []
    for index in np.lexsort((rng.random(len(sources)), uses)):
        sounds = [sources[other].sound for other in (*chosen, index)]
        if allows(arrangement, sounds):
            chosen.append(int(index))
            if len(chosen) == arrangement.sounds:
                return chosen
    known = ", ".join(sorted({source.sound for source in sources}))
    raise SceneError(f"no scene {arrangement.value!r} can be made of the sounds {known}")


def main(
    audio_csv: Annotated[Path, typer.Option(help="The list of clips; files are relative to its folder.")],
    out: Annotated[Path, typer.Option(help="Folder to write scenes.csv and audio/ to.")],
    count: Annotated[int, typer.Option(min=1, help="Number of scenes.")] = 320,
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives other scenes.")] = SEED,
) -> None:
    """Mix held-out recordings and freshly rendered sounds into scenes with five references each."""
    try:
        sources = [*held_out_sources(audio_csv), *rendered_sources(_VARIANTS, RENDERED)]
        scenes = list(planned(sources, count, seed))
    except SceneError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    write_scenes(scenes, out)
    uses = Counter(source.name for scene in scenes for source in scene.sources)
    for arrangement, number in Counter(scene.arrangement for scene in scenes).most_common():
        typer.echo(f"{number:4}  {arrangement.value}")
    typer.echo(f"{len(sources)} clips, used {min(uses.values())} to {max(uses.values())} times: {out / 'scenes.csv'}")


if __name__ == "__main__":
    typer.run(main)
