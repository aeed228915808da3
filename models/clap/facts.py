"""What the files of a CLAP say of it, without loading it: the length of its vectors, and its parameters."""

from pathlib import Path
from typing import Any

from models.checkpoints import Weights, expect, read_shapes
from models.clap.loading import Backend
from models.weights import MissingWeights, WrongWeights

# The tensor whose first size is d.
_LAST: dict[Backend, str] = {
    "embedded": "text_mean",
    "laion": "audio_projection.2.weight",
    "wavcaps": "audio_proj.2.weight",
}
_STORED = ("*.safetensors", "*.bin")


def embedding_dim(backend: Backend, path: Path) -> int:
    """Length d of the vectors of the CLAP at `path`, a folder for `huggingface` and a file for the others.

    Raises `MissingWeights` or `WrongWeights`.
    """
    if backend == "huggingface":
        shapes(path)
        return _projection_dim(path)
    return int(expect(read_shapes(path), _LAST[backend], path).shape[0])


def parameters(path: Path) -> int:
    """Numbers in a file of weights, or in those of a folder of transformers. Raises as `embedding_dim` does."""
    return sum(value.numel() for value in shapes(path).values())


def shapes(path: Path) -> Weights:
    """Tensors, on the meta device, of a file of weights or of a folder. Raises as `embedding_dim` does."""
    if path.is_file():
        return read_shapes(path)
    for stored in _STORED:
        files = sorted(path.glob(stored))
        if files:
            return {name: value for file in files for name, value in read_shapes(file).items()}
    raise MissingWeights(f"{path} has no weights ({', '.join(_STORED)})")


def _projection_dim(path: Path) -> int:
    from transformers import ClapConfig

    try:
        config: Any = ClapConfig.from_pretrained(str(path), local_files_only=True)
    except OSError as error:
        raise MissingWeights(f"no CLAP of transformers at {path}: {error}") from error
    except (ValueError, TypeError) as error:
        raise WrongWeights(f"{path} describes no CLAP of transformers: {error}") from error
    return int(config.projection_dim)
