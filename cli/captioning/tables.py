"""A table of captions in a file, with a row for each recording, which a later run continues."""

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

from cli.captioning.requests import Outcome
from cli.captioning.rows import ForeignTable, TableFormat, TableRow
from cli.common.errors import CommandError
from cli.common.files import replacing
from cli.common.recordings import RecordingFile


class TableOutput:
    """Appends rows as outcomes become known. A row with an error is dropped, and its recording tried again."""

    lasting = True

    def __init__(
        self, path: Path, rows: TableFormat, recordings: Sequence[RecordingFile], domain: str | None, force: bool
    ) -> None:
        """Open the file, drop the rows to be replaced, and lock it against other commands.

        Args:
            path: of the file, which may be new.
            rows: the format of the table.
            recordings: the recordings of this run; rows of others stay.
            domain: the domain of the captions, if it is named.
            force: start again from an empty table.

        Raises:
            CommandError: the file is not such a table, has captions in another domain, or is locked by another command.
        """
        self._path = path
        self._rows = rows
        self._done: set[str] = set()
        self._file = self._held()
        try:
            if force:
                self._file.truncate(0)
            self._continue(self._staying(recordings, domain))
        except ForeignTable as error:
            self._file.close()
            raise CommandError(
                f"{path} is not a table of captions that can be continued ({error}):"
                " use another --out, or replace it with --force"
            ) from error
        except BaseException:
            self._file.close()
            raise

    def has(self, recording: RecordingFile) -> bool:
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

    def _staying(self, recordings: Sequence[RecordingFile], domain: str | None) -> Callable[[TableRow], bool]:
        asked = {self._rows.key(one.path): one for one in recordings}

        def stays(row: TableRow) -> bool:
            recording = asked.get(row.key)
            if recording is None:
                return True
            if row.failed or recording.is_stdin:
                return False
            if domain is not None and row.domain != domain:
                raise CommandError(
                    f"{self._path} has {recording} in the domain {row.domain!r}, not in {domain!r}:"
                    " use another --out, or start again with --force"
                )
            return True

        return stays

    def _continue(self, stays: Callable[[TableRow], bool]) -> None:
        """Note which recordings are done, and drop other and incomplete rows from the file."""
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
        # The old file stays locked until the new one is, so that no other command gets between.
        with self._file:
            self._file = self._held()

    def _kept(self, stays: Callable[[TableRow], bool]) -> Iterator[bytes]:
        self._done.clear()
        with self._path.open("rb") as file:
            for row in self._rows.read(file):
                if row.key not in self._done and stays(row):
                    self._done.add(row.key)
                    yield row.data

    def _held(self) -> IO[bytes]:
        """Return the file, open for appending and locked."""
        path = self._path
        if path.exists() and not path.is_file():
            raise CommandError(f"{path} is not a file, so it cannot be a table of captions")
        try:
            while True:
                file = path.open("ab")
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    file.close()
                    raise CommandError(f"another drcap is writing to {path}") from None
                except OSError:
                    return file  # the disk has no locks
                if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    return file
                file.close()
        except OSError as error:
            raise CommandError(f"{path} cannot be written: {error.strerror}") from error
