"""Measures the cost of int8: the loss of a bundle's decoder on captions, in float32 and in int8.

    python -m research.quantisation_loss CORPUS... --bundle embedded

Use captions that the bundle was not trained on.
"""

import tempfile
from pathlib import Path
from typing import Annotated

import torch
import typer

from models.bundle.config import ADAPTER, PROJECTOR, bundle_folder, read_config
from models.bundle.load import load_clap, load_source, merge_adapter, prompt_template
from models.clap.sounds import Sounds
from models.device.int8 import quantise_linears
from models.llm.cpu.attention import use_double_attention
from models.llm.projector import Projector
from service.jobs.corpus_reading import corpus_limits
from service.settings import CorpusSettings
from training.corpora import embed_corpus, load_corpus
from training.examples import ExampleOptions
from training.loss import CaptionLoss
from training.similarity import choose_range
from training.validation import mean_loss, text_validation


def measure(
    corpora: Annotated[list[Path], typer.Argument(help="Corpus files.", exists=True, dir_okay=False)],
    bundle: Annotated[str, typer.Option(help="Name or folder of a bundle.")] = "embedded",
    seed: int = 0,
) -> None:
    """Print both losses on the same 32 prompts."""
    cpu = torch.device("cpu")
    folder = bundle_folder(bundle)
    config = read_config(folder)
    clap = load_clap(config.clap, folder, cpu)
    llm = load_source(config.llm, folder)
    if config.llm.adapter:
        merge_adapter(llm, folder / ADAPTER)
    projector = Projector.load(folder / PROJECTOR, clap.embedding_dim, llm.hidden_size)
    template = prompt_template(config.prompt, llm)
    loaded = [load_corpus(path, clap, corpus_limits(CorpusSettings())) for path in corpora]
    with tempfile.TemporaryDirectory() as cache:
        embedded = [embed_corpus(corpus, clap, Path(cache), lambda _: None) for corpus in loaded]
    options = ExampleOptions(choose_range([one.vectors for one in embedded], seed), drop=0.0)
    batches = text_validation(llm, template, embedded, Sounds.read_by(clap), options, projector.tokens, seed)
    loss = CaptionLoss(llm.model, projector)
    exact = mean_loss(loss, batches, cpu)
    quantise_linears(llm.model)
    use_double_attention(llm.model)
    rounded = mean_loss(loss, batches, cpu)
    typer.echo(f"loss a token: float32 {exact:.4f}, int8 {rounded:.4f} ({rounded - exact:+.4f})")


if __name__ == "__main__":
    typer.run(measure)
