"""The kinds of sound that a CLAP scores, and the embeddings of their names."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from models.clap.base import Clap
from models.vectors import FloatArray
from models.weights import MissingWeights, WrongWeights

_VECTORS, _NAMES = "vectors", "names"


@dataclass(frozen=True)
class SoundKind:
    """A kind of sound: its name in AudioSet's ontology, and a label in everyday words."""

    name: str
    label: str


@cache
def vocabulary() -> tuple[SoundKind, ...]:
    """Return the 521 kinds of AudioSet that YAMNet tells apart, in its order. Two kinds may share a label."""
    text = Path(__file__).with_name("sounds.json").read_text(encoding="utf-8")
    return tuple(SoundKind(**one) for one in json.loads(text))


@dataclass(frozen=True)
class Sounds:
    """Kinds of sound for one CLAP: n names, and their embeddings float32 [n, d], unit norm."""

    names: tuple[str, ...]
    vectors: FloatArray

    @classmethod
    def read_by(cls, clap: Clap) -> "Sounds":
        """Embed each label of the `vocabulary` once; a second copy would take half of its score."""
        names = tuple(dict.fromkeys(kind.label for kind in vocabulary()))
        return cls(names, clap.embed_text([f"the sound of {name}" for name in names]))

    @classmethod
    def load(cls, path: Path, embedding_dim: int) -> "Sounds":
        """Read a file. Raises `MissingWeights`, or `WrongWeights` unless it holds names, each with a vector of d."""
        if not path.is_file():
            raise MissingWeights(f"there is no file {path}")
        try:
            with safe_open(path, framework="np") as file:
                found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                names = json.loads((file.metadata() or {}).get(_NAMES, "null"))
        except (OSError, ValueError, SafetensorError) as error:
            raise WrongWeights(f"{path} cannot be read: {error}") from error
        if set(found) != {_VECTORS} or not _are_names(names):
            raise WrongWeights(f"{path} holds {sorted(found)}; sounds have {_VECTORS!r}, and names in the metadata")
        vectors = found[_VECTORS]
        if vectors.shape != (len(names), embedding_dim) or not np.isfinite(vectors).all():
            raise WrongWeights(
                f"{path}: {_VECTORS} is {list(vectors.shape)}, for {len(names)} names the CLAP gives {embedding_dim} "
                "numbers each"
            )
        return cls(tuple(names), vectors.astype(np.float32))

    def save(self, path: Path) -> None:
        """Write the file that `load` reads."""
        save_file({_VECTORS: self.vectors}, path, {_NAMES: json.dumps(self.names, ensure_ascii=False)})

    def scores(self, vectors: FloatArray, temperature: float) -> FloatArray:
        """Return the softmax of the cosines to the names: unit vectors [f, d] -> shares [f, n]."""
        logits = vectors.astype(np.float64) @ self.vectors.T.astype(np.float64) / temperature
        shares = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
        return np.asarray(shares / shares.sum(axis=1, keepdims=True), dtype=np.float32)


def _are_names(found: object) -> bool:
    return isinstance(found, Sequence) and len(found) > 0 and all(isinstance(one, str) for one in found)
