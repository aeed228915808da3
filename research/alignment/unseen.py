"""Measures kinds of sound never trained on: ``python -m research.alignment.unseen --audio-csv ... --captions ...``.

The embedded CLAP is fitted four times, each time without a quarter of the kinds of sound, and measured on the clips of
that quarter. Ranks are among all kinds, so an unseen kind competes with those trained on.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor

from evaluation.intervals import Figure
from models.clap.alignment import AlignmentHead
from models.clap.embedded import WINDOW_SECONDS, Ears
from models.clap.minilm import MiniLmTextTower
from research.alignment.fit import Recipe, fit_kernel, mean_vector
from research.alignment.measures import bootstrap_mean, ranks
from research.alignment.recordings import ListedClip, read_audio, shippable_clips, windows
from research.alignment.sentences import read_labels
from research.alignment.text_mean import text_mean_of
from research.alignment.train import CACHE, centred, prepare

_FOLDS = 4

HeardWindows = list[tuple[Tensor, Tensor, Tensor, Tensor]]
"""The result of `Ears.hear` for each window of a clip."""


@torch.inference_mode()
def unseen(
    heads: Sequence[tuple[AlignmentHead, frozenset[str]]],
    clips: Sequence[tuple[str, HeardWindows]],
    kinds: dict[str, Tensor],
) -> Figure:
    """Return the mean reciprocal rank of the clips' own kinds, with its interval over kinds.

    Args:
        heads: each with the kinds it was fitted without; one head is without each kind.
        clips: kind and heard windows of each.
        kinds: the vector of each kind [d].
    """
    names, vectors = list(kinds), torch.stack(list(kinds.values()))
    by_kind: dict[str, list[float]] = {}
    for head, left_out in heads:
        chosen = [(kind, heard) for kind, heard in clips if kind in left_out]
        embedded = [head(torch.cat([head.frames(*window) for window in heard])) for _, heard in chosen]
        own = np.array([names.index(kind) for kind, _ in chosen])
        found = ranks((torch.stack(embedded) @ vectors.T).numpy(), own)
        for (kind, _), rank in zip(chosen, found, strict=True):
            by_kind.setdefault(kind, []).append(1.0 / float(rank))
    each = np.array([np.mean(values) for values in by_kind.values()])
    return bootstrap_mean(each)


def main(
    audio_csv: Annotated[Path, typer.Option(help="The list of clips; files are relative to its folder.")],
    captions: Annotated[Path, typer.Option(help="Folder of the caption files.")],
    seed: Annotated[int, typer.Option(help="Of every random choice.")] = 0,
    cache: Annotated[Path, typer.Option(help="Folder that keeps features between runs.")] = CACHE,
) -> None:
    """Print the mean reciprocal rank of kinds of sound never trained on, with its 95% interval over kinds."""
    text = MiniLmTextTower.from_package(torch.device("cpu"), exact=True)
    recipe, mean = Recipe(), torch.from_numpy(text_mean_of(captions, text))
    head, examples = prepare(audio_csv, captions, mean, text, seed=seed, cache=cache, recipe=recipe)
    labels, ears, embed = read_labels(), Ears.from_packages(torch.device("cpu")), centred(text, mean)
    known = shippable_clips(audio_csv, labels)
    clips = [(labels[one.label].group, _heard(one, ears)) for one in known]
    said = {
        kind: list(dict.fromkeys(text for one in labels.values() if one.group == kind for text in one.captions))
        for kind in sorted({kind for kind, _ in clips})
    }
    order = np.random.default_rng(seed).permutation(list(said)).tolist()
    folds = [frozenset(order[fold::_FOLDS]) for fold in range(_FOLDS)]
    fitted = [(fit_kernel(head, examples.without(fold, [], labels), recipe), fold) for fold in folds]
    figure = unseen(fitted, clips, {kind: mean_vector(texts, embed) for kind, texts in said.items()})
    typer.echo(f"kinds never trained on, mean reciprocal rank among {len(said)}: {figure}")


def _heard(clip: ListedClip, ears: Ears) -> HeardWindows:
    return [ears.hear(torch.from_numpy(samples)) for samples in windows(read_audio(clip.path), WINDOW_SECONDS)]


if __name__ == "__main__":
    typer.run(main)
