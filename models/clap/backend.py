"""The record that each CLAP backend exports, and the section of ``bundle.json`` that chooses one.

To add a backend, write a module in this folder that exports ``BACKEND`` and add its name to `BackendName`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict

from models.checkpoints import expect, read_shapes
from models.clap.base import Clap
from models.weights import MissingWeights, Part, find, found_part, hub_part, split_hub

BackendName = Literal["embedded", "huggingface", "laion", "wavcaps"]
CLAP, TOKENIZER = "CLAP", "CLAP tokenizer"


class ClapSection(BaseModel):
    """Which CLAP a bundle has.

    A name is that of a file or folder in the bundle, a path, or a name on the hub.

    Attributes:
        backend: the module in this folder that loads it.
        source: the weights: a folder or ``OWNER/NAME`` for `huggingface`, a file or ``OWNER/NAME/FILE`` for others.
        revision: revision of the hub's repository.
        tokenizer: tokenizer of the text tower; needed only if it is neither beside the weights nor the usual one.
        centring: file of the two means (`models.clap.centring`) if the vectors are centred.
        sounds: file of the kinds of sound (`models.clap.sounds`) if the CLAP scores them by their names.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    backend: BackendName
    source: str
    revision: str
    tokenizer: str | None = None
    centring: str | None = None
    sounds: str | None = None

    def checkpoint(self, folder: Path) -> Path:
        """Return the file of the weights, fetched from the hub if need be. Raises `MissingWeights`."""
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

        place = find(self.source, folder)
        if isinstance(place, Path):
            return place
        repository, file = split_hub(place)
        if not file:
            raise MissingWeights(f"there is no file {place}, and one of the hub is OWNER/NAME/FILE")
        try:
            return Path(hf_hub_download(repository, file, revision=self.revision))
        except (OSError, HfHubHTTPError, LocalEntryNotFoundError) as error:
            raise MissingWeights(f"{place} is not on this machine and cannot be fetched: {error}") from error

    def tokenizer_place(self, folder: Path) -> Path | str | None:
        """Return the path or hub name of the tokenizer; None if the section names none. Raises `MissingWeights`."""
        return None if self.tokenizer is None else find(self.tokenizer, folder)


@dataclass(frozen=True)
class Backend:
    """How a kind of CLAP is loaded, and what its files tell without loading it.

    Attributes:
        load: section, bundle's folder, device -> the CLAP. Raises `MissingWeights` or `WrongWeights`.
        embedding_dim: path of the weights -> length d of the vectors. Raises `MissingWeights` or `WrongWeights`.
        parts: section, bundle's folder -> the files that `load` reads; the one named `CLAP` is the section's source.
        towers: names of the parts beside `CLAP` that hold weights too.
    """

    load: Callable[[ClapSection, Path, torch.device], Clap]
    embedding_dim: Callable[[Path], int]
    parts: Callable[[ClapSection, Path], Iterator[Part]]
    towers: tuple[str, ...] = ()


def checkpoint_backend(load: Callable[[Path, Path | str | None, torch.device], Clap], last: str) -> Backend:
    """Return the backend of a CLAP in one checkpoint file whose text tower usually reads with ``roberta-base``.

    Args:
        load: checkpoint, tokenizer (None for the usual one), device -> the CLAP.
        last: the tensor whose first size is d.
    """

    def load_section(section: ClapSection, folder: Path, device: torch.device) -> Clap:
        return load(section.checkpoint(folder), section.tokenizer_place(folder), device)

    return Backend(load_section, partial(first_size, last), partial(section_parts, usual_tokenizer="roberta-base"))


def first_size(tensor: str, path: Path) -> int:
    """Return the first size of a tensor in a weight file. Raises `MissingWeights` or `WrongWeights`."""
    return int(expect(read_shapes(path), tensor, path).shape[0])


def section_parts(section: ClapSection, folder: Path, usual_tokenizer: str | None = None) -> Iterator[Part]:
    """Yield the source and the tokenizer that a section names, or else the usual tokenizer of the hub."""
    yield found_part(CLAP, section.source, folder, section.revision)
    if section.tokenizer is not None:
        yield found_part(TOKENIZER, section.tokenizer, folder, None)
    elif usual_tokenizer is not None:
        yield hub_part(TOKENIZER, usual_tokenizer, None)
