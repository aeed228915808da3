"""Outputs of captions: stdout, or a file for each recording. `tables` has the third one."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from cli.captioning.requests import Outcome
from cli.captioning.rows import Csv, Ndjson, TableFormat
from cli.common.errors import CommandError, WrongUsage
from cli.common.files import replacing
from cli.common.recordings import RecordingFile
from service.audio.formats import SUFFIXES

Say = Callable[[str], None]
"""Prints a line."""


class OutputFormat(StrEnum):
    """The format of captions: that of the service's answers, or a table with a row for each recording."""

    text = "text"
    json = "json"
    verbose_json = "verbose_json"
    srt = "srt"
    vtt = "vtt"
    ndjson = "ndjson"
    csv = "csv"

    @property
    def rows(self) -> TableFormat | None:
        """The format of the table; None for other formats."""
        if self is OutputFormat.ndjson:
            return Ndjson()
        return Csv() if self is OutputFormat.csv else None

    @property
    def asked(self) -> str:
        """The `response_format` of the requests."""
        return self.value if self.rows is None else OutputFormat.json.value

    @property
    def suffix(self) -> str:
        """Suffix of a file with one answer."""
        return {OutputFormat.text: ".txt", OutputFormat.verbose_json: ".json"}.get(self, f".{self.value}")


class CaptionOutput(Protocol):
    """Takes the outcomes of the recordings."""

    @property
    def lasting(self) -> bool:
        """Whether the same command continues a run that was stopped."""

    def has(self, recording: RecordingFile, /) -> bool:
        """Whether an earlier run wrote its caption."""

    def take(self, outcome: Outcome) -> None:
        """Write the outcome; a lasting output writes it at once. Raises `CommandError` if it cannot be written."""

    def close(self) -> None:
        """End the output."""


class PrintedOutput:
    """Prints captions on stdout, in the order of the recordings."""

    lasting = False

    def __init__(self, say: Say, named: bool, rows: TableFormat | None = None) -> None:
        """
        Args:
            say: prints a line on stdout.
            named: whether the name of the recording precedes each answer.
            rows: print a table of this format instead.
        """
        self._say = say
        self._named = named
        self._rows = rows
        self._waiting: dict[int, Outcome] = {}
        self._next = 0
        if rows is not None and rows.header:
            say(_line(rows.header))

    def has(self, _: RecordingFile, /) -> bool:
        return False

    def take(self, outcome: Outcome) -> None:
        self._waiting[outcome.at] = outcome
        while (ready := self._waiting.pop(self._next, None)) is not None:
            self._next += 1
            self._print(ready)

    def close(self) -> None:
        pass

    def _print(self, outcome: Outcome) -> None:
        if self._rows is not None:
            self._say(_line(self._rows.encode(outcome)))
        elif outcome.error is None:
            said = outcome.body.decode(errors="replace").rstrip()
            self._say(f"{outcome.recording}: {said}" if self._named else said)


class FileOutput:
    """Writes a file for each recording. A recording whose file exists is done."""

    lasting = True

    def __init__(self, targets: Mapping[RecordingFile, Path], force: bool) -> None:
        """
        Args:
            targets: the file of each recording.
            force: replace existing files.
        """
        self._targets = targets
        self._force = force

    def has(self, recording: RecordingFile) -> bool:
        return not self._force and self._targets[recording].exists()

    def take(self, outcome: Outcome) -> None:
        if outcome.error is not None:
            return
        target = self._targets[outcome.recording]
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CommandError(f"{target.parent} cannot be created: {error.strerror}") from error
        with replacing(target, over=self._force) as file:
            file.write(outcome.body)

    def close(self) -> None:
        pass


def targets(recordings: Sequence[RecordingFile], suffix: str, folder: Path | None) -> dict[RecordingFile, Path]:
    """Return the file of each recording: its name with another suffix, beside it or in the same place below `folder`.

    Recordings in one folder that differ only in the suffix keep it: ``a.wav.vtt`` and ``a.flac.vtt``. This depends on
    the content of the folder, not on which of them are captioned.

    Raises `WrongUsage` if two recordings would share a file.
    """
    stems: dict[Path, Counter[str]] = {}
    places = {one: one.path.parent if folder is None else folder / one.below.parent for one in recordings}
    asked = Counter((places[one], one.path.stem) for one in recordings)
    found: dict[RecordingFile, Path] = {}
    taken: dict[Path, RecordingFile] = {}
    for one in recordings:
        around = one.path.parent
        if around not in stems:
            stems[around] = _stems(around)
        shared = stems[around][one.path.stem] - (one.path.suffix.lower() in SUFFIXES)
        whole = shared or asked[places[one], one.path.stem] > 1 or one.path.suffix == suffix
        target = places[one] / f"{one.path.name if whole else one.path.stem}{suffix}"
        if target in taken:
            raise WrongUsage(f"{taken[target]} and {one} would both be written to {target}; use another --out for each")
        taken[target] = one
        found[one] = target
    return found


def _stems(folder: Path) -> Counter[str]:
    try:
        return Counter(name.stem for name in folder.iterdir() if name.suffix.lower() in SUFFIXES)
    except OSError:
        return Counter()


def _line(data: bytes) -> str:
    return data.decode(errors="replace").removesuffix("\n")
