"""Seals a bundle with SHA-256 sums in the format of sha256sum, and verifies its files against them.

The sums tell a damaged or half-copied file from a whole one. They do not protect against an attacker, who can change
the sums as well.
"""

import base64
import hashlib
import math
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

from models.weights import Part, split_package

SUMS = "SHA256SUMS"
# People edit these by hand. All other files only change by accident.
_EDITED = frozenset({"bundle.json", "README.md", SUMS})
_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
_BLOCK = 1 << 20


class ChecksumsError(ValueError):
    """A list of checksums cannot be used; the message names the line."""


@dataclass
class Verified:
    """The names of the listed files, by the result of the comparison."""

    intact: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


def seal(folder: Path) -> int:
    """Write ``SHA256SUMS`` over all files of a bundle but bundle.json and its card. Return how many files it lists."""
    lines = [f"{file_digest(path)}  {path.relative_to(folder).as_posix()}\n" for path in sealed_files(folder)]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")
    return len(lines)


def sealed_files(folder: Path) -> Iterator[Path]:
    """Yield the files of a bundle that its sums cover, by name."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        hidden = any(part.startswith(".") or part == "__pycache__" for part in parts)
        if path.is_file() and not hidden and path.suffix != ".py" and parts[-1] not in _EDITED:
            yield path


def read_sums(folder: Path) -> dict[str, str] | None:
    """Read file name -> sum from a folder's ``SHA256SUMS``; None if there is none. Raises `ChecksumsError`."""
    path = folder / SUMS
    if not path.is_file():
        return None
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ChecksumsError(f"{path} cannot be read: {error}") from error
    sums = {}
    for number, line in enumerate(lines, 1):
        found = _LINE.fullmatch(line)
        if found is None:
            raise ChecksumsError(f"{path}, line {number}: not a sum and a name, as sha256sum writes them")
        digest, name = found.groups()
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ChecksumsError(f"{path}, line {number}: {name} is outside the folder")
        sums[name] = digest
    return sums


def verify(folder: Path, sums: dict[str, str], seconds: float | None = None) -> Verified:
    """Compare a folder's files with their sums, smallest first. Files that take longer than `seconds` stay unread.

    Raises OSError if an existing file cannot be read.
    """
    due = math.inf if seconds is None else time.monotonic() + seconds
    found = Verified()
    for name in sorted(sums, key=lambda one: (_size(folder / one), one)):
        path = folder / name
        if not path.is_file():
            found.missing.append(name)
            continue
        digest = _digest_until(path, due)
        if digest is None:
            found.unread.append(name)
        else:
            (found.intact if digest == sums[name] else found.changed).append(name)
    return found


def verify_bundle(folder: Path, parts: Iterable[Part], seconds: float | None = None) -> Verified:
    """Compare all files of a bundle that have sums: sealed files and files of packages. The result has whole paths.

    Args:
        folder: the bundle's.
        parts: the bundle's.
        seconds: time for everything; files that take longer stay unread.

    Raises:
        ChecksumsError: a list of sums cannot be used.
        OSError: a file cannot be read.
    """
    due = None if seconds is None else time.monotonic() + seconds
    found = Verified()
    for root, sums in _places(folder, parts):
        one = verify(root, sums, None if due is None else due - time.monotonic())
        for kind in ("intact", "changed", "missing", "unread"):
            getattr(found, kind).extend(str(root / name) for name in getattr(one, kind))
    return found


def _places(folder: Path, parts: Iterable[Part]) -> Iterator[tuple[Path, dict[str, str]]]:
    """Yield folders with the sums of their files."""
    yield folder, read_sums(folder) or {}
    for part in parts:
        if part.path is None:
            continue
        if part.kind == "path" and part.path.is_dir():
            yield part.path, read_sums(part.path) or {}
        named = split_package(part.source)
        if part.kind == "package" and named is not None:
            package, relative = named
            # The package's installer recorded these sums.
            sums = packaged_sums(package).items()
            here = {name: digest for name, digest in sums if name == relative or name.startswith(f"{relative}/")}
            yield part.path.parents[len(Path(relative).parts) - 1], here


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest_until(path: Path, due: float) -> str | None:
    """Return the SHA-256 of a file in hex; None if it takes longer than until `due` on the monotonic clock."""
    made = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            if time.monotonic() > due:
                return None
            made.update(block)
    return made.hexdigest()


def packaged_sums(package: str) -> dict[str, str]:
    """Return file name -> sum in hex, as the record of an installed package states them."""
    sums = {}
    for name in packages_distributions().get(package, ()):
        try:
            files = distribution(name).files or ()
        except PackageNotFoundError:
            continue
        for file in files:
            root, _, relative = file.as_posix().partition("/")
            if root == package and file.hash is not None and file.hash.mode == "sha256":
                padded = file.hash.value + "=" * (-len(file.hash.value) % 4)
                sums[relative] = base64.urlsafe_b64decode(padded).hex()
    return sums


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
