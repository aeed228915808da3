"""Which backend a CLAP is loaded by, and where its files are."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

import torch

from models.clap.base import Clap
from models.clap.centring import CentredClap, Centring
from models.clap.naming import NamingClap
from models.clap.sounds import Sounds
from models.weights import MissingWeights, find

Backend = Literal["embedded", "huggingface", "laion", "wavcaps"]


class ClapSource(Protocol):
    """Where a CLAP comes from. A name is that of a file or folder in the bundle, a path, or a name of the hub."""

    @property
    def backend(self) -> Backend:
        """A key of the table of backends."""

    @property
    def source(self) -> str:
        """The weights: a folder or ``OWNER/NAME`` for `huggingface`, a file or ``OWNER/NAME/FILE`` for others."""

    @property
    def revision(self) -> str:
        """Of the hub's repository."""

    @property
    def tokenizer(self) -> str | None:
        """The text tower's tokenizer, unless it lies beside the weights or is the usual one of the hub."""

    @property
    def centring(self) -> str | None:
        """A file of two means (`models.clap.centring`), if the vectors are centred."""

    @property
    def sounds(self) -> str | None:
        """A file of kinds of sound (`models.clap.sounds`) as this CLAP reads them, if it is to score those."""


def load_backend(wanted: ClapSource, folder: Path, device: torch.device) -> Clap:
    """The CLAP of a bundle in `folder`. What is found on this machine is not asked of the hub.

    Raises:
        MissingWeights: a file or package is missing, or the hub cannot be reached.
        WrongWeights: a file does not hold what it should.
    """
    clap = _BACKENDS[wanted.backend](wanted, folder, device)
    if wanted.centring is not None:
        clap = CentredClap(clap, Centring.load(folder / wanted.centring, clap.embedding_dim))
    if wanted.sounds is not None:
        clap = NamingClap(clap, Sounds.load(folder / wanted.sounds, clap.embedding_dim))
    return clap


def _embedded(wanted: ClapSource, folder: Path, device: torch.device) -> Clap:
    from models.clap.embedded import EmbeddedClap

    return EmbeddedClap.load(folder / wanted.source, device)


def _huggingface(wanted: ClapSource, folder: Path, device: torch.device) -> Clap:
    from models.clap.huggingface import load_huggingface

    source = find(wanted.source, folder)
    return load_huggingface(source, _tokenizer(wanted, folder), _revision(wanted, source), device)


def _laion(wanted: ClapSource, folder: Path, device: torch.device) -> Clap:
    from models.clap.laion import load_laion

    return load_laion(_file(wanted, folder), _tokenizer(wanted, folder), device)


def _wavcaps(wanted: ClapSource, folder: Path, device: torch.device) -> Clap:
    from models.clap.wavcaps import load_wavcaps

    return load_wavcaps(_file(wanted, folder), _tokenizer(wanted, folder), device)


_BACKENDS: dict[Backend, Callable[[ClapSource, Path, torch.device], Clap]] = {
    "embedded": _embedded,
    "huggingface": _huggingface,
    "laion": _laion,
    "wavcaps": _wavcaps,
}


def _tokenizer(wanted: ClapSource, folder: Path) -> Path | str | None:
    return None if wanted.tokenizer is None else find(wanted.tokenizer, folder)


def _revision(wanted: ClapSource, source: Path | str) -> str | None:
    return None if isinstance(source, Path) else wanted.revision


def _file(wanted: ClapSource, folder: Path) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    source = find(wanted.source, folder)
    if isinstance(source, Path):
        return source
    owner, _, rest = source.partition("/")
    repository, _, file = rest.partition("/")
    if not file:
        raise MissingWeights(f"there is no file {source}, and one of the hub is OWNER/NAME/FILE")
    try:
        return Path(hf_hub_download(f"{owner}/{repository}", file, revision=_revision(wanted, source)))
    except (OSError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise MissingWeights(f"{source} is not on this machine and cannot be fetched: {error}") from error
