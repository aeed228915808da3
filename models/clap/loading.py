"""Loads a bundle's CLAP with its backend, centres its vectors and gives it kinds of sound where the bundle says so."""

from importlib import import_module
from pathlib import Path

import torch

from models.clap.backend import Backend, BackendName, ClapSection
from models.clap.base import Clap
from models.clap.centring import CentredClap, Centring
from models.clap.sounds import Sounds
from models.clap.zero_shot import ZeroShotClap


def find_backend(name: BackendName) -> Backend:
    """Return the record that the module of this name exports. Only this backend is imported."""
    backend: Backend = import_module(f"models.clap.{name}").BACKEND
    return backend


def load_backend(section: ClapSection, folder: Path, device: torch.device) -> Clap:
    """Load the CLAP of a bundle in `folder`. The hub is asked only for files that are not on this machine.

    Raises:
        MissingWeights: a file or package is missing, or the hub cannot be reached.
        WrongWeights: a file does not hold what it should.
    """
    clap = find_backend(section.backend).load(section, folder, device)
    if section.centring is not None:
        clap = CentredClap(clap, Centring.load(folder / section.centring, clap.embedding_dim))
    if section.sounds is not None:
        clap = ZeroShotClap(clap, Sounds.load(folder / section.sounds, clap.embedding_dim))
    return clap
