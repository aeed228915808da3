"""Reads weight files of others without running code in them, and loads them strictly, with no tensor left over."""

import hashlib
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from models.weights import MissingWeights, WrongWeights

Weights = dict[str, Tensor]

_WRAPPERS = ("state_dict", "model")
_PARALLEL = "module."
_STORED = ("*.safetensors", "*.bin")
_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


def read_weights(path: Path) -> Weights:
    """Read tensors by name from a ``.safetensors`` file or a torch checkpoint, without unpickling code.

    A checkpoint is the state dict, or holds it under ``state_dict`` or ``model``. The prefix ``module.`` of
    data-parallel training is removed.

    Raises:
        MissingWeights: there is no such file.
        WrongWeights: the file is unreadable, holds more than weights, or no weights at all.
    """
    return _read(path, "cpu")


def read_shapes(path: Path) -> Weights:
    """Read shapes and types as `read_weights` does, as tensors on torch's meta device. No numbers are read."""
    return _read(path, "meta")


def stored_shapes(path: Path) -> Weights:
    """Return the tensors, on the meta device, of a weight file or of a folder's ``.safetensors`` or ``.bin`` files.

    Raises `MissingWeights` or `WrongWeights`.
    """
    if path.is_file():
        return read_shapes(path)
    for stored in _STORED:
        files = sorted(path.glob(stored))
        if files:
            return {name: value for file in files for name, value in read_shapes(file).items()}
    raise MissingWeights(f"{path} has no weights ({', '.join(_STORED)})")


def count_parameters(path: Path) -> int:
    """Return how many numbers the tensors of `stored_shapes` hold; raises as that does."""
    return sum(value.numel() for value in stored_shapes(path).values())


def _read(path: Path, device: Literal["cpu", "meta"]) -> Weights:
    if not path.is_file():
        raise MissingWeights(f"there is no file {path}")
    read = _read_safetensors if path.suffix == ".safetensors" else read_pickle
    loaded: Any = read(path, device)
    for wrapper in _WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
    if not isinstance(loaded, Mapping) or not loaded:
        raise WrongWeights(f"{path} holds no state dict")
    odd = next((name for name, value in loaded.items() if not isinstance(value, Tensor)), None)
    if odd is not None:
        raise WrongWeights(f"{path} holds no state dict: {odd!r} is not a tensor")
    if all(name.startswith(_PARALLEL) for name in loaded):
        return {name.removeprefix(_PARALLEL): value for name, value in loaded.items()}
    return dict(loaded)


def _read_safetensors(path: Path, device: str) -> Weights:
    try:
        if device == "cpu":
            return load_file(path)
        with safe_open(path, "pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - it is not a mapping
            return {
                name: torch.empty(one.get_shape(), dtype=_DTYPES.get(one.get_dtype(), torch.uint8), device="meta")
                for name, one in slices.items()
            }
    except (OSError, SafetensorError) as error:
        raise WrongWeights(f"{path} cannot be read: {error}") from error


def read_pickle(path: Path, device: str = "cpu") -> object:
    """Load the content of a torch checkpoint. It may hold tensors, plain containers and numpy scalars, and no code.

    Raises:
        WrongWeights: the file is unreadable or holds anything else, which is not unpickled.
    """
    # Training loops store losses and scores beside the weights as numpy scalars. Their constructor moved between
    # numpy 1 and 2, so it is taken from a scalar.
    rebuild: Any = np.float64(0.0).__reduce__()[0]
    numbers: list[Any] = [
        *((rebuild, f"numpy.{home}.multiarray.scalar") for home in ("core", "_core")),
        np.dtype,
        *(np.dtypes.Int64DType, np.dtypes.Float64DType, np.dtypes.Float32DType),
    ]
    try:
        with torch.serialization.safe_globals(numbers):
            return torch.load(path, map_location=device, weights_only=True)
    except pickle.UnpicklingError as error:
        raise WrongWeights(f"{path} holds more than weights and was not unpickled: {_first_line(error)}") from error
    except (OSError, RuntimeError, EOFError, KeyError, ValueError) as error:
        raise WrongWeights(f"{path} is not a checkpoint of torch: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def weights_under(prefix: str, weights: Weights) -> Weights:
    """Return the tensors whose names begin with `prefix`, without the prefix."""
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def expect(weights: Weights, name: str, path: Path) -> Tensor:
    """Return a tensor by its name. Raises `WrongWeights` if it is missing."""
    if name not in weights:
        raise WrongWeights(f"{path} has no {name}")
    return weights[name]


def load_strictly(module: nn.Module, weights: Weights, path: Path) -> None:
    """Load float32 weights into `module`. Raises `WrongWeights` and names a missing, unknown or misshapen tensor."""
    wanted = module.state_dict()
    check_names(weights, wanted, path)
    for name, value in weights.items():
        if value.shape != wanted[name].shape:
            raise WrongWeights(f"{path}: {name} is {list(value.shape)}, it should be {list(wanted[name].shape)}")
    floats = {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}
    module.load_state_dict(floats, strict=True)


def check_names(found: Iterable[str], wanted: Iterable[str], path: Path) -> None:
    """Raise `WrongWeights` unless the names are the same."""
    missing, unknown = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    if missing or unknown:
        said = [f"lacks {_some(missing)}"] * bool(missing) + [f"holds unknown {_some(unknown)}"] * bool(unknown)
        raise WrongWeights(f"{path} {' and '.join(said)}")


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def digest(backend: str, weights: Mapping[str, Tensor], *facts: object) -> str:
    """Return ``BACKEND-`` and 8 hex digits of the SHA-256 over `facts` and all weights in the order of their names."""
    made = hashlib.sha256(repr(facts).encode())
    for name, value in sorted(weights.items()):
        made.update(f"{name} {list(value.shape)}".encode())
        made.update(value.detach().float().cpu().contiguous().numpy().tobytes())
    return f"{backend}-{made.hexdigest()[:8]}"
