"""Sounds: the kinds of sound that a CLAP can be asked for, and where its text side has them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from models.clap.base import Clap, FloatArray
from models.weights import MissingWeights, WrongWeights

_VECTORS, _NAMES = "vectors", "names"


@dataclass(frozen=True)
class Kind:
    """A kind of sound: its name in AudioSet's ontology, and the few everyday words that people are shown."""

    name: str
    label: str


@cache
def vocabulary() -> tuple[Kind, ...]:
    """The 521 kinds of AudioSet that YAMNet tells apart, in its order. Two of them may have one label."""
    text = Path(__file__).with_name("sounds.json").read_text(encoding="utf-8")
    return tuple(Kind(**one) for one in json.loads(text))


@dataclass(frozen=True)
class Sounds:
    """Kinds of sound as one CLAP reads them: n names, and vectors float32 [n, d] of unit norm."""

    names: tuple[str, ...]
    vectors: FloatArray

    @classmethod
    def read_by(cls, clap: Clap) -> "Sounds":
        """Those of the `vocabulary`, each label once: a second one would take half of its score."""
        names = tuple(dict.fromkeys(kind.label for kind in vocabulary()))
        return cls(names, clap.embed_text([f"the sound of {name}" for name in names]))

    @classmethod
    def load(cls, path: Path, embedding_dim: int) -> "Sounds":
        """Raises `MissingWeights` for no file, `WrongWeights` unless it holds names, each with such a vector."""
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
        """Shares of the names in what is heard: unit vectors [f, d] -> [f, n], the softmax of the cosines."""
        logits = vectors.astype(np.float64) @ self.vectors.T.astype(np.float64) / temperature
        shares = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
        return np.asarray(shares / shares.sum(axis=1, keepdims=True), dtype=np.float32)


def _are_names(found: object) -> bool:
    return isinstance(found, Sequence) and len(found) > 0 and all(isinstance(one, str) for one in found)
