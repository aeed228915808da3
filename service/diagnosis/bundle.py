"""Checks the bundle: its files, their checksums, whether the parts fit, and the licence of every weight."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from service.diagnosis.finding import Finding, failure, ok, warning
from service.settings import Settings, variable_name

if TYPE_CHECKING:
    from models.bundle.check import Checked

_LICENCES = "licences"
_SUMS_SECONDS = 3.0


def look_at_bundle(settings: Settings) -> "Checked":
    """Return a quick look at the bundle of the settings, which several checks share."""
    from models.bundle.check import look_at
    from models.bundle.config import bundle_folder

    return look_at(bundle_folder(settings.bundle), variable_name("llm", "quantisation"))


def look(settings: Settings) -> Iterator[Finding]:
    """Check that every part is present and fits the others."""
    checked = look_at_bundle(settings)
    for problem in checked.problems:
        if problem.part != _LICENCES:
            kind = failure if problem.severe else warning
            yield kind(f"{problem.part}: {' '.join(problem.said.split())}", problem.remedy)
    if checked.config is None or not checked.good:
        return
    size = sum(part.size for part in checked.parts) / 1e6
    where = f"{checked.folder} ({variable_name('bundle')})"
    yield ok(f"{checked.config.name} in {where}: {len(checked.parts)} parts of {size:,.0f} MB fit each other")


def look_at_sums(settings: Settings) -> Iterator[Finding]:
    """Compare files with the checksums of their seal or installation, for a few seconds."""
    from models.bundle.checksums import SUMS, ChecksumsError, verify_bundle

    checked = look_at_bundle(settings)
    seal = f"drcap bundle seal {settings.bundle}"
    if not (checked.folder / SUMS).is_file():
        yield warning(f"{checked.folder} has no {SUMS}", f"run `{seal}` if the bundle is complete")
    try:
        found = verify_bundle(checked.folder, checked.parts, _SUMS_SECONDS)
    except ChecksumsError as error:
        yield failure(str(error), f"run `{seal}`")
        return
    for name in found.changed:
        said = f"{name} differs from the file that was sealed or installed"
        yield failure(said, f"copy or install it again, or run `{seal}` if the change is intended")
    for name in found.missing:
        yield failure(f"{name} is missing", "copy or install it again")
    unread = ""
    if found.unread:
        unread = f"; {len(found.unread)} more were not read within {_SUMS_SECONDS:g} s:"
        unread += f" `drcap bundle check {settings.bundle}` reads them all"
    yield ok(f"{len(found.intact)} files are as they were sealed or installed{unread}")


def look_at_licences(settings: Settings) -> Iterator[Finding]:
    """List the licence of every weight, as the bundle states it."""
    checked = look_at_bundle(settings)
    for problem in checked.problems:
        if problem.part == _LICENCES:
            yield warning(problem.said, problem.remedy)
    if checked.config is None:
        yield failure("the bundle cannot be read", "fix the bundle")
    elif checked.config.licences:
        yield ok("; ".join(f"{part}: {licence}" for part, licence in checked.config.licences.items()))
