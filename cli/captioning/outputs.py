"""Where captions go: to stdout or into a file each (`tables` has the third way); and which are there already."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from cli.captioning.recordings import SUFFIXES, Recording
from cli.captioning.requests import Outcome
from cli.captioning.rows import Csv, Ndjson, Rows
from cli.common.errors import CommandError, WrongUsage
from cli.common.files import replacing

Say = Callable[[str], None]
"""Prints a line."""


class Format(StrEnum):
    """How captions are written: as the service answers, or as a table with a row a recording."""

    text = "text"
    json = "json"
    verbose_json = "verbose_json"
    srt = "srt"
    vtt = "vtt"
    ndjson = "ndjson"
    csv = "csv"

    @property
    def rows(self) -> Rows | None:
        """How the rows of a table are written; None for what is no table."""
        if self is Format.ndjson:
            return Ndjson()
        return Csv() if self is Format.csv else None

    @property
    def asked(self) -> str:
        """The `response_format` that the service is asked for."""
        return self.value if self.rows is None else Format.json.value

    @property
    def suffix(self) -> str:
        """Of a file that holds one answer."""
        return {Format.text: ".txt", Format.verbose_json: ".json"}.get(self, f".{self.value}")


class Results(Protocol):
    """Takes what becomes of the recordings."""

    @property
    def lasting(self) -> bool:
        """Whether the same command goes on where it was stopped."""

    def has(self, recording: Recording, /) -> bool:
        """Whether its caption is there from a time before."""

    def take(self, outcome: Outcome) -> None:
        """Write it, at once where it lasts. Raises `CommandError` when it cannot be written."""

    def close(self) -> None:
        """Nothing more comes."""


class Printed:
    """On stdout, in the order of the recordings."""

    lasting = False

    def __init__(self, say: Say, named: bool, rows: Rows | None = None) -> None:
        """
        Args:
            say: to stdout.
            named: whether each answer begins with its recording.
            rows: write a table instead.
        """
        self._say = say
        self._named = named
        self._rows = rows
        self._waiting: dict[int, Outcome] = {}
        self._next = 0
        if rows is not None and rows.header:
            say(_line(rows.header))

    def has(self, _: Recording, /) -> bool:
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


class Beside:
    """A file a recording, whole or not there. What has its file already is done."""

    lasting = True

    def __init__(self, targets: Mapping[Recording, Path], force: bool) -> None:
        """
        Args:
            targets: the file of each recording.
            force: replace files that are there.
        """
        self._targets = targets
        self._force = force

    def has(self, recording: Recording) -> bool:
        return not self._force and self._targets[recording].exists()

    def take(self, outcome: Outcome) -> None:
        if outcome.error is not None:
            return
        target = self._targets[outcome.recording]
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CommandError(f"{target.parent} cannot be made: {error.strerror}") from error
        with replacing(target, over=self._force) as file:
            file.write(outcome.body)

    def close(self) -> None:
        pass


def targets(recordings: Sequence[Recording], suffix: str, folder: Path | None) -> dict[Recording, Path]:
    """The file of each recording: of its name with another suffix, beside it or below `folder` as it lies itself.

    Recordings that lie together and differ in the suffix alone keep it: ``a.wav.vtt`` and ``a.flac.vtt``. That goes by
    what the folder holds, so it is the same whichever of them is asked for.

    Raises `WrongUsage` where two recordings would have one file.
    """
    stems: dict[Path, Counter[str]] = {}
    places = {one: one.path.parent if folder is None else folder / one.below.parent for one in recordings}
    asked = Counter((places[one], one.path.stem) for one in recordings)
    found: dict[Recording, Path] = {}
    taken: dict[Path, Recording] = {}
    for one in recordings:
        around = one.path.parent
        if around not in stems:
            stems[around] = _stems(around)
        shared = stems[around][one.path.stem] - (one.path.suffix.lower() in SUFFIXES)
        whole = shared or asked[places[one], one.path.stem] > 1 or one.path.suffix == suffix
        target = places[one] / f"{one.path.name if whole else one.path.stem}{suffix}"
        if target in taken:
            raise WrongUsage(f"{taken[target]} and {one} would both be written to {target}; give each another --out")
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
