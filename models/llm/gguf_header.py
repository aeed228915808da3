"""Reads the header of a GGUF file: its facts and the shapes of its tensors, without the weights.

The reader of the gguf package takes seconds for a vocabulary of 50,000 tokens. This one skips lists.
Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _LIST = 8, 9
# Bounds on what a header may state. Real files stay far below.
_MOST_ENTRIES, _LONGEST_STRING = 1 << 24, 1 << 26

Scalar = int | float | bool | str


class NoGguf(ValueError):
    """The file is not GGUF, or its header is cut short."""


@dataclass(frozen=True)
class GgufHeader:
    """Facts by key, such as ``llama.embedding_length``, and shapes of the tensors by name, innermost size first."""

    facts: dict[str, Scalar]
    shapes: dict[str, tuple[int, ...]]

    @property
    def parameters(self) -> int:
        """How many numbers all tensors hold."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    def of_the_model(self, name: str) -> Scalar | None:
        """Return a fact of the architecture, such as ``embedding_length``."""
        return self.facts.get(f"{self.facts.get('general.architecture')}.{name}")


def read_header(path: Path) -> GgufHeader:
    """Read the header of a file. Raises `NoGguf`, or OSError if the file cannot be read."""
    with path.open("rb") as file:
        if file.read(4) != _MAGIC:
            raise NoGguf(f"{path} is not a GGUF file")
        try:
            return _read(file)
        except (struct.error, UnicodeDecodeError, ValueError) as error:
            raise NoGguf(f"the header of {path} cannot be read: {error}") from error


def _read(file: BinaryIO) -> GgufHeader:
    version = _number(file, "<I")
    if version not in _VERSIONS:
        raise ValueError(f"version {version} is not known")
    tensors, entries = _count(file), _count(file)
    facts = {}
    for _ in range(entries):
        key = _string(file)
        value = _value(file, _number(file, "<I"))
        if value is not None:
            facts[key] = value
    shapes = {}
    for _ in range(tensors):
        name = _string(file)
        shapes[name] = tuple(_number(file, "<Q") for _ in range(_number(file, "<I")))
        file.seek(12, 1)  # its type and its offset
    return GgufHeader(facts, shapes)


def _value(file: BinaryIO, kind: int) -> Scalar | None:
    if kind == _STRING:
        return _string(file)
    if kind == _LIST:
        _skip_list(file)
        return None
    return _scalar(file, kind)


def _skip_list(file: BinaryIO) -> None:
    kind, count = _number(file, "<I"), _count(file)
    if kind in _SCALARS:
        file.seek(count * struct.calcsize(_SCALARS[kind]), 1)
    elif kind == _STRING:
        for _ in range(count):
            file.seek(_length(file), 1)
    else:
        raise ValueError(f"a list of values of the kind {kind} is not known")


def _string(file: BinaryIO) -> str:
    length = _length(file)
    data = file.read(length)
    if len(data) < length:
        raise ValueError("the file is cut short")
    return data.decode()


def _length(file: BinaryIO) -> int:
    length = _number(file, "<Q")
    if length > _LONGEST_STRING:
        raise ValueError(f"a text of {length:,} bytes")
    return length


def _count(file: BinaryIO) -> int:
    count = _number(file, "<Q")
    if count > _MOST_ENTRIES:
        raise ValueError(f"a list of {count:,} entries")
    return count


def _number(file: BinaryIO, form: str) -> int:
    return int(_unpacked(file, form))


def _scalar(file: BinaryIO, kind: int) -> Scalar:
    if kind not in _SCALARS:
        raise ValueError(f"a value of the kind {kind} is not known")
    return _unpacked(file, _SCALARS[kind])


def _unpacked(file: BinaryIO, form: str) -> int | float | bool:
    value: int | float | bool = struct.unpack(form, file.read(struct.calcsize(form)))[0]
    return value
