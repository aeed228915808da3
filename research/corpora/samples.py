"""Draws samples of caption files, so that measurements on them take minutes.

python -m research.corpora.samples audiocaps_train.csv.gz musiccaps.csv.gz --out runs/reports/samples
python -m research.corpora.samples runs/corpora/*.txt --mixed trained-on --out runs/reports/samples
"""

import random
from pathlib import Path
from typing import Annotated

import typer

from datastores.corpus.reader import read_corpus
from service.jobs.corpus_reading import corpus_limits
from service.settings import CorpusSettings


def write(
    files: Annotated[list[Path], typer.Argument(help="Corpora in any format of a domain.", exists=True)],
    out: Annotated[Path, typer.Option(help="Folder to write NAME.txt files to.")],
    mixed: Annotated[str | None, typer.Option(help="Draw from all files together into a file of this name.")] = None,
    count: Annotated[int, typer.Option(help="Captions in a sample.", min=1)] = 6000,
    seed: int = 0,
) -> None:
    """Draw captions without replacement, the same for the same seed."""
    limits = corpus_limits(CorpusSettings())
    corpora = {file.name.split(".")[0]: list(read_corpus(file, limits=limits)) for file in files}
    if mixed is not None:
        corpora = {mixed: list(dict.fromkeys(text for texts in corpora.values() for text in texts))}
    out.mkdir(parents=True, exist_ok=True)
    for name, texts in corpora.items():
        drawn = random.Random(seed).sample(texts, min(count, len(texts)))  # noqa: S311
        (out / f"{name}.txt").write_text("\n".join(drawn) + "\n", encoding="utf-8")
        typer.echo(f"{name}: {len(drawn)} of {len(texts)} captions")


if __name__ == "__main__":
    typer.run(write)
