"""Measures the embedded CLAP: ``python -m research.alignment.evaluate --audio-csv ... --captions ... --json FILE``."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from evaluation.intervals import Figure
from models.clap.base import Clap
from models.clap.embedded import EmbeddedClap
from models.clap.minilm import MiniLmTextTower
from models.vectors import FloatArray
from research.alignment.measures import best_rank, bootstrap, bootstrap_mean, ranks, retrieved_similarity
from research.alignment.recordings import ListedClip, read_audio, read_clips, windows
from research.corpora.caption_files import read_captions

_CAPTIONED = "captioned:clotho_v2"


def embed_clips(clap: Clap, clips: list[ListedClip]) -> FloatArray:
    """Embed clips as the service does, from all their windows: float32 [n, d]."""
    heard = [clap.hear(list(windows(read_audio(clip.path), clap.window_seconds))) for clip in clips]
    return clap.embed_frames([np.concatenate(frames) for frames in heard])


def label_accuracy(clap: Clap, clips: list[ListedClip]) -> Figure:
    """Return the share of clips whose own label, as "the sound of LABEL", is the nearest of all their labels."""
    names = sorted({clip.label for clip in clips})
    texts = clap.embed_text([f"the sound of {name}" for name in names])
    found = (embed_clips(clap, clips) @ texts.T).argmax(axis=1)
    right = np.array([names[index] == clip.label for index, clip in zip(found, clips, strict=True)], dtype=np.float64)
    return bootstrap_mean(right)


def retrieval(clap: Clap, clips: list[ListedClip], vectors: FloatArray) -> dict[str, Figure]:
    """Return median rank and recall of captioned clips, from caption to clip and from clip to caption."""
    owner = np.array([index for index, clip in enumerate(clips) for _ in clip.captions], dtype=np.int64)
    texts = clap.embed_text([caption for clip in clips for caption in clip.captions])
    to_clip = ranks(texts @ vectors.T, owner).astype(np.float64)
    to_caption = best_rank(vectors @ texts.T, owner).astype(np.float64)
    each = np.arange(len(clips))
    figures = {"text to audio, median rank": bootstrap(to_clip, owner, _median, seed=0)}
    figures |= {f"text to audio, R@{k}": bootstrap((to_clip <= k) * 1.0, owner, _mean, 0) for k in (1, 5, 10)}
    figures["audio to text, median rank"] = bootstrap(to_caption, each, _median, seed=0)
    figures |= {f"audio to text, R@{k}": bootstrap_mean((to_caption <= k) * 1.0) for k in (1, 5, 10)}
    return figures


def caption_quality(clap: Clap, clips: list[ListedClip], vectors: FloatArray, corpus: list[str]) -> dict[str, Figure]:
    """Return the similarity of captions retrieved from `corpus` to the references, by the plain sentence encoder."""
    sentences = MiniLmTextTower.from_package(torch.device("cpu"), exact=True)
    owner = np.array([index for index, clip in enumerate(clips) for _ in clip.captions], dtype=np.int64)
    references = sentences.embed([caption for clip in clips for caption in clip.captions])
    scores = vectors @ clap.embed_text(corpus).T
    plain = sentences.embed(corpus)
    return {
        f"similarity of the top {top} captions": bootstrap_mean(
            retrieved_similarity(scores, plain, references, owner, top)
        )
        for top in (1, 3, 10)
    }


def main(
    audio_csv: Annotated[Path, typer.Option(help="The list of clips; files are relative to its folder.")],
    captions: Annotated[Path, typer.Option(help="Folder of the caption files.")],
    weights: Annotated[Path, typer.Option(help="clap.safetensors to measure.")] = Path(
        "models/embedded/clap.safetensors"
    ),
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the figures.")] = None,
) -> None:
    """Print accuracy and retrieval of the embedded CLAP on the dev clips, with 95% intervals over clips."""
    clap = EmbeddedClap.load(weights, torch.device("cpu"))
    clips = read_clips(audio_csv)
    captioned = [clip for clip in clips if clip.collection == _CAPTIONED]
    vectors = embed_clips(clap, captioned)
    figures = {
        "ESC-10 fold 5, accuracy": label_accuracy(
            clap, [clip for clip in clips if clip.collection == "esc10" and clip.split == "dev"]
        ),
        "instruments (never trained on), accuracy": label_accuracy(
            clap, [clip for clip in clips if clip.collection == "instruments"]
        ),
        **retrieval(clap, captioned, vectors),
        **caption_quality(clap, captioned, vectors, read_captions(captions / "clotho_train.csv.gz")),
    }
    for name, figure in figures.items():
        typer.echo(f"{name:48} {figure}")
    if json_file:
        table = {
            "fingerprint": clap.fingerprint,
            **{name: asdict(figure) for name, figure in figures.items()},
        }
        json_file.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean())


def _median(values: NDArray[np.float64]) -> float:
    return float(np.median(values))


if __name__ == "__main__":
    typer.run(main)
