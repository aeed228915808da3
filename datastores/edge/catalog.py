"""The files of the embedded datastore: version folders, the pointers that name them, and the lock.

    ROOT/lock                                  held by the one process that has the store open
    ROOT/building/<uuid>/                      versions under construction
    ROOT/trash/<uuid>/                         folders about to be removed
    ROOT/domains/<name>/current                pointer: {"current": id, "previous": id or null}
    ROOT/domains/<name>/versions/<id>/         version.json, statistics.npz, vectors.f32,
                                               captions.idx, shard/

A folder moves by rename and a pointer is replaced by rename, so a kill at any time leaves each domain at one
complete version. The next start removes every folder that no pointer names.
"""

import contextlib
import fcntl
import json
import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from datastores.base import DatastoreInUse, DatastoreUnavailable, DomainVersion, Statistics

_FORMAT = 1

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pointer:
    """The ids of the serving version and of the version that a rollback returns to."""

    current: str
    previous: str | None = None


class Catalog:
    """The files below one root folder, held by one process. Every method blocks; none is thread-safe."""

    def __init__(self, root: Path, setting: str | None = None) -> None:
        """Create the folders where missing and take the lock.

        Args:
            root: the folder.
            setting: the name of the setting that chose the folder, for error messages.

        Raises:
            DatastoreInUse: another process has the folder open.
            DatastoreUnavailable: the folder cannot be made or written.
        """
        self.root = root.absolute()
        self.hint = "" if setting is None else f" ({setting})"
        self._domains, self._building, self._trash = (self.root / part for part in ("domains", "building", "trash"))
        try:
            for folder in (self._domains, self._building, self._trash):
                folder.mkdir(parents=True, exist_ok=True)
            # "a", so that a second process cannot empty the file while it waits to be refused.
            self._lock = (self.root / "lock").open("a")
        except OSError as error:
            raise DatastoreUnavailable(
                f"the datastore folder {self.root} cannot be used: {error.strerror}{self.hint}"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise DatastoreInUse(
                f"the datastore folder {self.root} is in use by another process; "
                f"stop it or give this one a folder of its own{self.hint}"
            ) from error

    def release(self) -> None:
        """Let another process open the folder."""
        self._lock.close()

    def collect(self) -> None:
        """Remove the leftovers of a kill. Call it only at start, when nothing is open."""
        for folder in (self._building, self._trash):
            for debris in folder.iterdir():
                self.remove(debris)
        for domain in [path for path in self._domains.iterdir() if path.is_dir()]:
            if not (domain / "current").exists():
                self.discard(domain)
                continue
            try:
                pointer = self.pointer(domain.name)
            except DatastoreUnavailable as error:
                # The file is damaged, not absent: a person may still repair it.
                logger.error("%s; its files are left as they are", error)
                continue
            for temporary in domain.glob("current.*"):
                self.remove(temporary)
            for version in list(domain.glob("versions/*")):
                if version.name not in (pointer.current, pointer.previous):
                    self.discard(version)

    def domains(self) -> list[str]:
        """The names that have a pointer."""
        return sorted(path.parent.name for path in self._domains.glob("*/current"))

    def pointer(self, domain: str) -> Pointer:
        """Read the pointer of a domain. Raises `DatastoreUnavailable` when it cannot be read."""
        path = self._domains / domain / "current"
        try:
            return Pointer(**json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError) as error:
            raise DatastoreUnavailable(f"the pointer {path} cannot be read: {error}") from error

    def point(self, domain: str, pointer: Pointer) -> None:
        """Switch a domain, durably and at once."""
        folder = self._domains / domain
        temporary = folder / f"current.{secrets.token_hex(4)}"
        with temporary.open("wb") as file:
            file.write(json.dumps(vars(pointer)).encode())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(folder / "current")
        # The domain has switched now, so a failure from here on must not undo the rest.
        try:
            _sync(folder)
        except OSError as error:
            logger.warning("the switch of %s may not survive a power cut: %s", domain, error)

    def start(self) -> Path:
        """A new empty folder under construction."""
        folder = self._building / secrets.token_hex(16)
        folder.mkdir()
        return folder

    def place(self, folder: Path, about: DomainVersion) -> Path:
        """Move a complete version to where its domain's pointer can name it. Nothing serves from it yet."""
        for directory, _, files in os.walk(folder):
            for name in files:
                _sync(Path(directory) / name)
            _sync(Path(directory))
        target = self.version_folder(about.domain, about.version)
        target.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(target)
        for parent in (target.parent, target.parent.parent, self._domains):
            _sync(parent)
        return target

    def version_folder(self, domain: str, version: str) -> Path:
        return self._domains / domain / "versions" / version

    def domain_folder(self, domain: str) -> Path:
        return self._domains / domain

    def drop_empty(self, domain: str) -> None:
        """Remove the folder of a domain that never got a pointer."""
        if not (self.domain_folder(domain) / "current").exists():
            self.discard(self.domain_folder(domain))

    def discard(self, folder: Path) -> None:
        """Remove a whole folder. After a kill it is complete in its place or in the trash."""
        if folder.exists():
            self.remove(self.bury(folder))

    def bury(self, folder: Path) -> Path:
        """Move a folder to the trash; the next start removes it from there."""
        doomed = self._trash / secrets.token_hex(16)
        folder.rename(doomed)
        _sync(folder.parent)
        return doomed

    def remove(self, path: Path) -> None:
        """Delete a folder or a file of the trash, or one under construction."""
        # A failure must not stop this start; the next one tries again.
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, onerror=lambda _, name, info: logger.warning("%s stays: %s", name, info[1]))
        else:
            with contextlib.suppress(OSError):
                path.unlink()


def write_about(folder: Path, about: DomainVersion, statistics: Statistics) -> None:
    """Write ``version.json`` and ``statistics.npz``."""
    document = {"format": _FORMAT, **vars(about), "created": about.created.isoformat()}
    (folder / "version.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
    np.savez(
        folder / "statistics.npz",
        count=np.int64(statistics.count),
        mean=np.asarray(statistics.mean, np.float64),
        covariance=np.asarray(statistics.covariance, np.float64),
    )


def read_about(folder: Path) -> DomainVersion:
    """Read ``version.json``. Raises `DatastoreUnavailable`."""
    with _reading(folder / "version.json") as path:
        document = json.loads(path.read_bytes())
        if document.pop("format") != _FORMAT:
            raise ValueError(f"its format is not {_FORMAT}")
        return DomainVersion(**{**document, "created": datetime.fromisoformat(document["created"])})


def read_statistics(folder: Path) -> Statistics:
    """Read ``statistics.npz``. Raises `DatastoreUnavailable`."""
    with _reading(folder / "statistics.npz") as path, np.load(path, allow_pickle=False) as arrays:
        return Statistics(int(arrays["count"]), arrays["mean"], arrays["covariance"])


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[Path]:
    try:
        yield path
    except (OSError, ValueError, TypeError, KeyError, EOFError) as error:
        raise DatastoreUnavailable(f"{path} cannot be read: {error}") from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
