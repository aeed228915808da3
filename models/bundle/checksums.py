"""Checksums of a bundle: the SHA-256 of its files in the format of sha256sum, and whether the files are still those.

They tell a damaged or half-copied file from a whole one. Whoever can change a file can change its sum as well.
"""

import base64
import hashlib
import math
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

SUMS = "SHA256SUMS"
# What people edit by hand; everything else only changes by accident.
_EDITED = frozenset({"bundle.json", "README.md", SUMS})
_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
_BLOCK = 1 << 20


class ChecksumsError(ValueError):
    """A list of checksums that cannot be used; the message names the line."""


@dataclass
class Verified:
    """What became of each file of a list, by its name in the list."""

    intact: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


def seal(folder: Path) -> int:
    """Write ``SHA256SUMS`` into a bundle's folder, over all it has but bundle.json and its card; returns how many."""
    lines = [f"{file_digest(path)}  {path.relative_to(folder).as_posix()}\n" for path in sealed_files(folder)]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")
    return len(lines)


def sealed_files(folder: Path) -> Iterator[Path]:
    """The files of a bundle that its sums are over, by name."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        hidden = any(part.startswith(".") or part == "__pycache__" for part in parts)
        if path.is_file() and not hidden and path.suffix != ".py" and parts[-1] not in _EDITED:
            yield path


def read_sums(folder: Path) -> dict[str, str] | None:
    """File name -> sum from a folder's ``SHA256SUMS``; None where it has none. Raises `ChecksumsError`."""
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
    """Compare a folder's files with their sums, smallest first; what `seconds` are too short for stays unread.

    Raises OSError for a file that is there and cannot be read.
    """
    due = math.inf if seconds is None else time.monotonic() + seconds
    found = Verified()
    for name in sorted(sums, key=lambda one: (_size(folder / one), one)):
        path = folder / name
        if not path.is_file():
            found.missing.append(name)
            continue
        digest = digest_until(path, due)
        if digest is None:
            found.unread.append(name)
        else:
            (found.intact if digest == sums[name] else found.changed).append(name)
    return found


def file_digest(path: Path) -> str:
    """SHA-256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_until(path: Path, due: float) -> str | None:
    """SHA-256 of a file in hex; None if it is not done by `due`, of the monotonic clock."""
    made = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            if time.monotonic() > due:
                return None
            made.update(block)
    return made.hexdigest()


def packaged_sums(package: str) -> dict[str, str]:
    """File name within an installed package -> the sum, in hex, that its own record has for it."""
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
