"""The bundle: its files, their checksums, whether they fit each other, and the licence of every weight."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from service.diagnosis.check import Finding, failure, ok, warning
from service.settings import Settings, variable_name

if TYPE_CHECKING:
    from models.bundle.check import Checked

NAME, SUMS_NAME, LICENCES = "bundle", "checksums", "licences"
_SUMS_SECONDS = 3.0


def look_at_bundle(settings: Settings) -> "Checked":
    """The quick look at the bundle that the settings name, which several checks share."""
    from models.bundle.check import look_at
    from models.bundle.config import bundle_folder

    return look_at(bundle_folder(settings.bundle), variable_name("llm", "quantisation"))


def look(settings: Settings) -> Iterator[Finding]:
    """Whether every part is there and fits."""
    checked = look_at_bundle(settings)
    for problem in checked.problems:
        if problem.part != LICENCES:
            kind = failure if problem.severe else warning
            yield kind(NAME, f"{problem.part}: {' '.join(problem.said.split())}", problem.remedy)
    if checked.config is None or not checked.good:
        return
    size = sum(part.size for part in checked.parts) / 1e6
    where = f"{checked.folder} ({variable_name('bundle')})"
    yield ok(NAME, f"{checked.config.name} in {where}: {len(checked.parts)} parts of {size:,.0f} MB fit each other")


def look_at_sums(settings: Settings) -> Iterator[Finding]:
    """Whether the files are those that were sealed or installed, as far as a few seconds reach."""
    from models.bundle.checksums import SUMS, ChecksumsError, verify_bundle

    checked = look_at_bundle(settings)
    seal = f"drcap bundle seal {settings.bundle}"
    if not (checked.folder / SUMS).is_file():
        yield warning(SUMS_NAME, f"{checked.folder} has no {SUMS}", f"{seal}, if it is whole")
    try:
        found = verify_bundle(checked.folder, checked.parts, _SUMS_SECONDS)
    except ChecksumsError as error:
        yield failure(SUMS_NAME, str(error), seal)
        return
    for name in found.changed:
        said = f"{name} is not the file that was sealed or installed"
        yield failure(SUMS_NAME, said, f"copy or install it again, or `{seal}` if it was changed on purpose")
    for name in found.missing:
        yield failure(SUMS_NAME, f"{name} is missing", "copy or install it again")
    unread = f"; for {len(found.unread)} more {_SUMS_SECONDS:g} s were too short" if found.unread else ""
    if found.unread:
        unread += f": `drcap bundle check {settings.bundle}` takes its time"
    yield ok(SUMS_NAME, f"{len(found.intact)} files are as they were sealed or installed{unread}")


def look_at_licences(settings: Settings) -> Iterator[Finding]:
    """That of every weight, as the bundle states it."""
    checked = look_at_bundle(settings)
    for problem in checked.problems:
        if problem.part == LICENCES:
            yield warning(LICENCES, problem.said, problem.remedy)
    if checked.config is None:
        yield failure(LICENCES, "the bundle cannot be read", "mend the bundle")
    elif checked.config.licences:
        yield ok(LICENCES, "; ".join(f"{part}: {licence}" for part, licence in checked.config.licences.items()))
