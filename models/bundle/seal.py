"""Whether all files of a bundle are what they were: those sealed, in its folder or others, and those of packages."""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from models.bundle.checksums import Verified, packaged_sums, read_sums, verify
from models.weights import Part

Place = tuple[Path, dict[str, str]]


def verify_bundle(folder: Path, parts: Iterable[Part], seconds: float | None = None) -> Verified:
    """Compare every file that has a sum with it; names in the answer are whole paths.

    Args:
        seconds: for all of it; what they are too short for stays unread.

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


def _places(folder: Path, parts: Iterable[Part]) -> Iterator[Place]:
    """Folders with the sums of their files."""
    yield folder, read_sums(folder) or {}
    for part in parts:
        if part.path is None:
            continue
        if part.kind == "path" and part.path.is_dir():
            yield part.path, read_sums(part.path) or {}
        if part.kind == "package":
            package, _, relative = part.source.removeprefix("package:").partition("/")
            # What the installer of the package wrote down of it.
            sums = packaged_sums(package).items()
            here = {name: digest for name, digest in sums if name == relative or name.startswith(f"{relative}/")}
            yield part.path.parents[len(Path(relative).parts) - 1], here
