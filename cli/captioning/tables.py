"""Tables that are continued: a file with a row a recording, which knows what is in it from a time before."""

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

from cli.captioning.recordings import Recording
from cli.captioning.requests import Outcome
from cli.captioning.rows import Foreign, Row, Rows
from cli.common.errors import CommandError
from cli.common.files import replacing


class Table:
    """Rows in the order in which they are known. A row with an error gives way to another try."""

    lasting = True

    def __init__(
        self, path: Path, rows: Rows, recordings: Sequence[Recording], domain: str | None, force: bool
    ) -> None:
        """Open the file, keep what stays of it, and hold it against other commands.

        Args:
            path: of the file, made where it is not there.
            rows: how they are written.
            recordings: that are asked for; rows of others stay.
            domain: that the captions are to be in, where it is named.
            force: begin anew.

        Raises:
            CommandError: the file holds something else, or captions in another domain, or another command has it.
        """
        self._path = path
        self._rows = rows
        self._done: set[str] = set()
        self._file = self._held()
        try:
            if force:
                self._file.truncate(0)
            self._continue(self._staying(recordings, domain))
        except Foreign as error:
            self._file.close()
            raise CommandError(
                f"{path} is no table of captions that can be continued ({error}):"
                " name another --out, or replace it with --force"
            ) from error
        except BaseException:
            self._file.close()
            raise

    def has(self, recording: Recording) -> bool:
        return self._rows.key(recording.path) in self._done

    def take(self, outcome: Outcome) -> None:
        data = self._rows.encode(outcome)
        try:
            if not os.fstat(self._file.fileno()).st_size:
                data = self._rows.header + data
            self._file.write(data)
            self._file.flush()
        except OSError as error:
            raise CommandError(f"{self._path} cannot be written: {error.strerror}") from error

    def close(self) -> None:
        if not os.fstat(self._file.fileno()).st_size:
            self._path.unlink(missing_ok=True)
        self._file.close()

    def _staying(self, recordings: Sequence[Recording], domain: str | None) -> Callable[[Row], bool]:
        asked = {self._rows.key(one.path): one for one in recordings}

        def stays(row: Row) -> bool:
            recording = asked.get(row.key)
            if recording is None:
                return True
            if row.failed or recording.is_stdin:
                return False
            if domain is not None and row.domain != domain:
                raise CommandError(
                    f"{self._path} has {recording} in the domain {row.domain!r}, not in {domain!r}:"
                    " name another --out, or begin anew with --force"
                )
            return True

        return stays

    def _continue(self, stays: Callable[[Row], bool]) -> None:
        """Note what is done, and leave out of the file what does not stay or was not written to its end."""
        size = os.fstat(self._file.fileno()).st_size
        header = self._rows.header
        try:
            if not size or len(header) + sum(map(len, self._kept(stays))) == size:
                return
            with replacing(self._path) as new:
                new.write(header)
                new.writelines(self._kept(stays))
        except OSError as error:
            raise CommandError(f"{self._path} cannot be read: {error.strerror}") from error
        # Held until the new file is, so that no other command comes between.
        with self._file:
            self._file = self._held()

    def _kept(self, stays: Callable[[Row], bool]) -> Iterator[bytes]:
        self._done.clear()
        with self._path.open("rb") as file:
            for row in self._rows.read(file):
                if row.key not in self._done and stays(row):
                    self._done.add(row.key)
                    yield row.data

    def _held(self) -> IO[bytes]:
        """The file, open at its end and locked."""
        path = self._path
        if path.exists() and not path.is_file():
            raise CommandError(f"{path} is no file; a table of captions is one")
        try:
            while True:
                file = path.open("ab")
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    file.close()
                    raise CommandError(f"another drcap writes to {path}") from None
                except OSError:
                    return file  # on a disk without locks
                if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    return file
                file.close()
        except OSError as error:
            raise CommandError(f"{path} cannot be written: {error.strerror}") from error
