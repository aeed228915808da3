"""A table of first values guards every backend's preprocessing against silent drift."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models.bundle.config import bundle_folder, read_config
from models.bundle.load import load_clap
from models.clap.base import Clap
from tests.clap_backends import CAPTIONS, WRITERS, sounds

Rows = list[list[float]]

# The first three numbers of each vector of `sounds` and `CAPTIONS` with the random weights of `tests.clap_checkpoints`.
# They come from the networks of laion-clap 1.1.7 and of SLAM-LLM's ASE themselves, not from this project.
_LAION: tuple[Rows, Rows] = (
    [[-0.31824, 0.08799, -0.25619], [-0.44964, -0.04223, -0.35755], [-0.46975, -0.21361, -0.24394]],
    [[-0.40609, 0.55311, 0.18545], [-0.25803, 0.57737, 0.20199], [-0.24481, 0.56668, 0.14756]],
)
_FUSED: tuple[Rows, Rows] = (
    [[-0.44177, 0.0737, -0.06105], [-0.36243, 0.08225, 0.0093], [-0.19824, 0.02084, -0.13996]],
    [[0.13851, 0.16149, 0.00284], [0.00205, 0.23205, 0.16861], [0.07703, 0.18615, 0.15138]],
)
_CANONICAL: dict[str, tuple[Rows, Rows]] = {
    "huggingface": _LAION,
    "huggingface-fused": _FUSED,
    "laion": _LAION,
    "laion-fused": _FUSED,
    "wavcaps": (
        [[-0.32034, 0.10165, -0.25209], [-0.43573, -0.09885, -0.36415], [-0.43279, -0.07532, -0.34263]],
        [[-0.32783, 0.09643, -0.36148], [0.13331, 0.06102, -0.16793], [-0.08919, 0.03707, -0.35377]],
    ),
    "wavcaps-bert": (
        [[-0.32034, 0.10165, -0.25209], [-0.44724, -0.07159, -0.36717], [-0.44238, -0.09946, -0.34627]],
        [[-0.5311, 0.11634, 0.33107], [-0.47782, 0.16014, 0.31678], [-0.42396, 0.15367, 0.3232]],
    ),
}
# Of the embedded bundle.
_EMBEDDED: tuple[Rows, Rows] = (
    [[0.04604, -0.00106, -0.02202], [-0.02518, -0.02604, -0.03509], [-0.00358, -0.00533, -0.03344]],
    [[0.05709, -0.01573, 0.02428], [0.0626, 0.00993, 0.08237], [-0.01582, 0.12707, -0.04956]],
)


@pytest.mark.parametrize("backend", WRITERS)
def test_the_first_values_are_those_of_the_authors_own_networks(tmp_path: Path, backend: str) -> None:
    _compare(load_clap(WRITERS[backend](tmp_path), tmp_path, torch.device("cpu")), *_CANONICAL[backend])


@pytest.mark.embedded
def test_the_first_values_of_the_embedded_bundle_stay() -> None:
    folder = bundle_folder("embedded")
    # Its text tower is int8 where the processor has the kernel, and float32 elsewhere.
    _compare(load_clap(read_config(folder).clap, folder, torch.device("cpu")), *_EMBEDDED, text=0.02)


def _compare(clap: Clap, heard: Rows, read: Rows, text: float = 1e-4) -> None:
    np.testing.assert_allclose(clap.embed_audio(sounds(clap.sample_rate))[:, :3], heard, atol=1e-4)
    np.testing.assert_allclose(clap.embed_text(CAPTIONS)[:, :3], read, atol=text)
