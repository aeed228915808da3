"""The parts of a bundle and where each lies, found without loading any of them."""

from collections.abc import Iterator
from pathlib import Path

from models.bundle.config import ADAPTER, PROJECTOR, BundleConfig
from models.clap.loading import find_backend
from models.weights import Part, bundle_part, found_part, package_part, split_package

LLM, CENTRING, SOUNDS = "LLM", "centring", "sounds"


def parts_of(config: BundleConfig, folder: Path) -> list[Part]:
    """Return every part that loading the bundle in `folder` reads."""
    clap = find_backend(config.clap.backend).parts(config.clap, folder)
    return [*clap, *_own_parts(config, folder), _llm_part(config, folder)]


def _own_parts(config: BundleConfig, folder: Path) -> Iterator[Part]:
    if config.clap.centring is not None:
        yield bundle_part(CENTRING, config.clap.centring, folder)
    if config.clap.sounds is not None:
        yield bundle_part(SOUNDS, config.clap.sounds, folder)
    yield bundle_part("projector", PROJECTOR, folder)
    if config.llm.adapter:
        yield bundle_part("adapter", f"{ADAPTER}/adapter_model.safetensors", folder)
        yield bundle_part("adapter settings", f"{ADAPTER}/adapter_config.json", folder)


def _llm_part(config: BundleConfig, folder: Path) -> Part:
    packaged = split_package(config.llm.source)
    if packaged is not None:
        return package_part(LLM, *packaged)
    return found_part(LLM, config.llm.source, folder, config.llm.revision)
