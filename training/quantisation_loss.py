"""What int8 costs: loss on held-out captions of the bundle's decoder in float32 and in int8.

python -m training.quantisation_loss --captions FOLDER --text-mean FILE --work runs/decoder
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from models.attention import use_double_attention
from models.bundle import bundle_folder, load_source, merge_adapter, read_config
from models.int8 import quantise_linears
from models.projector import Projector
from training.batches import draw_batches, validation_loss
from training.corpora import training_corpora
from training.decoder import embed_corpora, split_corpora
from training.examples import ExampleOptions, ExampleSource


def measure(
    captions: Annotated[Path, typer.Option(help="Folder of NAME.csv.gz caption files.")],
    text_mean: Annotated[Path, typer.Option(help="The CLAP's text mean, .npy [d].")],
    work: Annotated[Path, typer.Option(help="Folder of the training's caches.")],
    bundle: str = "embedded",
    batch: int = 8,
    seed: int = 1234,
) -> None:
    """Print both losses over eight batches of captions the training never saw."""
    folder = bundle_folder(bundle)
    mean = np.load(text_mean).astype(np.float32)
    llm = load_source(read_config(folder).llm.source)
    merge_adapter(llm, folder / "adapter")
    projector = Projector.load(folder / "projector.safetensors", len(mean), llm.hidden_size)
    _, held_out = split_corpora(training_corpora(captions, seed), seed)
    source = ExampleSource(held_out, embed_corpora(held_out, mean, work), ExampleOptions(pool=8))
    batches = draw_batches(llm, source, batch, projector.tokens, seed=seed + 2, index=0)
    torch.manual_seed(seed)
    exact = validation_loss(llm.model, projector, batches)
    quantise_linears(llm.model)
    use_double_attention(llm.model)
    rounded = validation_loss(llm.model, projector, batches)
    typer.echo(f"loss a token: float32 {exact:.4f}, int8 {rounded:.4f} ({rounded - exact:+.4f})")


if __name__ == "__main__":
    typer.run(measure)
