"""Recordings: the files that a command line names, those in its folders, and what comes from stdin."""

import os
import stat
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from cli.common.stdin import STDIN
from service.settings import variable_name

SUFFIXES = frozenset({".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc"})
"""What a file in a folder is known by; a file that is named is taken whatever it is called."""


@dataclass(frozen=True)
class Recording:
    """One recording.

    Attributes:
        path: as the command line has it, or below a folder of it.
        root: the folder that it was found in; None where it was named itself.
        data: its bytes, where they can be read only once.
        problem: why it cannot be captioned, where that is known already.
    """

    path: Path
    root: Path | None = None
    data: bytes | None = field(default=None, repr=False, compare=False)
    problem: str | None = field(default=None, compare=False)

    @property
    def is_stdin(self) -> bool:
        """Whether it comes from stdin: nothing tells it from the one that came the time before."""
        return self.path == STDIN

    @property
    def below(self) -> Path:
        """Its path below the folder that was named."""
        return Path(self.path.name) if self.root is None else self.path.relative_to(self.root)

    def __str__(self) -> str:
        return os.fsencode(self.path).decode(errors="replace")


@dataclass
class Found:
    """What is to be captioned, in order; and what could not be looked into, with the reason."""

    recordings: list[Recording] = field(default_factory=list)
    unreadable: list[tuple[Path, str]] = field(default_factory=list)


def find(arguments: Iterable[Path]) -> Found:
    """Files as they are named, and those of `SUFFIXES` in folders and the folders below, sorted.

    Hidden ones are left out. Links are followed, each folder is entered and each file taken once.
    """
    finder = _Finder()
    for path in arguments:
        if path != STDIN and path.is_dir():
            finder.search(path)
        else:
            finder.take(Recording(path))
    return finder.found


def hold(recording: Recording, largest: int) -> Recording:
    """The recording with its bytes, if it is no file that can be read again. Waits for stdin and pipes.

    Args:
        recording: of the command line.
        largest: how many bytes there may be; more is a problem.
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
        return replace(recording, problem=f"there is more of it than can be kept: {limit}")
    return replace(recording, data=data)


class _Finder:
    def __init__(self) -> None:
        self.found = Found()
        self._entered: set[str] = set()
        self._taken: set[str] = set()

    def take(self, recording: Recording) -> None:
        """Add it, unless it is there under this or another name."""
        real = "-" if recording.is_stdin else os.path.realpath(recording.path)
        if real not in self._taken:
            self._taken.add(real)
            self.found.recordings.append(recording)

    def search(self, root: Path) -> None:
        """Add what is in a folder."""
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
                    self.take(Recording(path, root))

    def _failed(self, error: OSError) -> None:
        self.found.unreadable.append((Path(error.filename), error.strerror or str(error)))


def _readable_again(path: Path) -> bool:
    # A link that leads nowhere is taken, so that it is reported; pipes and devices are not.
    return path.is_file() or not path.exists()
