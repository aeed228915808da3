"""Recordings of a command line: files, the files in folders, and stdin."""

import os
import stat
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from cli.common.stdin import STDIN
from service.audio.formats import SUFFIXES
from service.settings import variable_name


@dataclass(frozen=True)
class RecordingFile:
    """A recording that is named on the command line, or lies in a folder that is.

    Attributes:
        path: as on the command line, or below a folder of it.
        root: the folder that it was found in; None if it was named itself.
        data: its bytes, if they can be read only once.
        problem: why it cannot be captioned, if that is already known.
    """

    path: Path
    root: Path | None = None
    data: bytes | None = field(default=None, repr=False, compare=False)
    problem: str | None = field(default=None, compare=False)

    @property
    def is_stdin(self) -> bool:
        """Whether it comes from stdin. Two recordings from stdin cannot be told apart."""
        return self.path == STDIN

    @property
    def below(self) -> Path:
        """Its path below `root`."""
        return Path(self.path.name) if self.root is None else self.path.relative_to(self.root)

    def __str__(self) -> str:
        return os.fsencode(self.path).decode(errors="replace")


@dataclass
class FoundRecordings:
    """The recordings in order, and the folders that could not be read, each with the reason."""

    recordings: list[RecordingFile] = field(default_factory=list)
    unreadable: list[tuple[Path, str]] = field(default_factory=list)


def find(arguments: Iterable[Path]) -> FoundRecordings:
    """Return the named files, and the files with `SUFFIXES` in the named folders and below, sorted.

    A named file may have any suffix. Hidden files and folders inside a folder are skipped. Links are followed; each
    folder is entered once and each file is taken once.
    """
    finder = _Finder()
    for path in arguments:
        if path != STDIN and path.is_dir():
            finder.search(path)
        else:
            finder.take(RecordingFile(path))
    return finder.found


def hold(recording: RecordingFile, largest: int) -> RecordingFile:
    """Return the recording, with its bytes unless it is a regular file. Waits for stdin and pipes.

    Args:
        recording: of the command line.
        largest: limit of bytes; a longer recording gets a `problem`.
    """
    try:
        if recording.is_stdin:
            data = sys.stdin.buffer.read(largest + 1)
        elif stat.S_ISREG(recording.path.stat().st_mode):
            return recording
        else:
            with recording.path.open("rb") as source:
                data = source.read(largest + 1)
    except OSError as error:
        return replace(recording, problem=f"cannot be read: {error.strerror}")
    if len(data) > largest:
        limit = f"{largest:,} bytes are allowed ({variable_name('audio', 'max_bytes')})"
        return replace(recording, problem=f"it is too large: {limit}")
    return replace(recording, data=data)


class _Finder:
    def __init__(self) -> None:
        self.found = FoundRecordings()
        self._entered: set[str] = set()
        self._taken: set[str] = set()

    def take(self, recording: RecordingFile) -> None:
        """Add a recording, unless it was added before under this or another name."""
        real = "-" if recording.is_stdin else os.path.realpath(recording.path)
        if real not in self._taken:
            self._taken.add(real)
            self.found.recordings.append(recording)

    def search(self, root: Path) -> None:
        """Add the recordings of a folder."""
        for name, folders, files in os.walk(root, followlinks=True, onerror=self._failed):
            real = os.path.realpath(name)
            if real in self._entered:
                folders.clear()
                continue
            self._entered.add(real)
            folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
            for file in sorted(files):
                path = Path(name, file)
                if not file.startswith(".") and path.suffix.lower() in SUFFIXES and _readable_again(path):
                    self.take(RecordingFile(path, root))

    def _failed(self, error: OSError) -> None:
        self.found.unreadable.append((Path(error.filename), error.strerror or str(error)))


def _readable_again(path: Path) -> bool:
    # A broken link is taken, so that it is reported; pipes and devices are skipped.
    return path.is_file() or not path.exists()
