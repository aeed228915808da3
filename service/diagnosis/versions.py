"""Checks the versions of Python, of the packages that drcap needs, and of the library that reads audio."""

import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from service.diagnosis.finding import Finding, failure, ok, warning
from service.version import drcap_version

_SHOWN = ("torch", "transformers", "peft", "safetensors", "numpy", "qdrant-client", "qdrant-edge-py", "soundfile")
_OLDEST_PYTHON = (3, 11)
# The first version of libsndfile that reads MP3.
_OLDEST_SNDFILE = (1, 1)
_INSTALL = "run `make install`, or `pip install -c constraints.txt -e .`"


def look() -> Iterator[Finding]:
    """Report each version that drcap cannot use, or list all versions in one line."""
    faults = [*_python(sys.version_info[:2]), *_packages(_requirements()), *_sndfile()]
    yield from faults
    if not faults:
        said = ", ".join(f"{name} {version(name)}" for name in _SHOWN)
        yield ok(f"drcap {drcap_version()}, Python {platform.python_version()}, {said}, libsndfile {_read_by()}")


def _python(found: tuple[int, ...]) -> Iterator[Finding]:
    if found < _OLDEST_PYTHON:
        here, wanted = (".".join(map(str, one)) for one in (found, _OLDEST_PYTHON))
        yield failure(f"this is Python {here}", f"set drcap up again with Python {wanted} or newer")


def _requirements() -> list[str]:
    try:
        return requires("drcap") or []
    except PackageNotFoundError:  # drcap runs from a checkout that is not installed
        return []


def _packages(wanted: list[str]) -> Iterator[Finding]:
    from packaging.requirements import Requirement

    if not wanted:
        yield warning("drcap is not installed, so its requirements are not known", _INSTALL)
    for requirement in map(Requirement, wanted):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            yield failure(f"{requirement.name} is not installed", _INSTALL)
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            said = f"{requirement.name} is {found}, and drcap needs {requirement.specifier}"
            yield failure(said, _INSTALL)


def _sndfile() -> Iterator[Finding]:
    try:
        found = _read_by()
    except (ImportError, OSError) as error:
        yield failure(f"audio cannot be read: {error}", "run `pip install --force-reinstall soundfile`")
        return
    if tuple(int(part) for part in found.split(".")[:2]) < _OLDEST_SNDFILE:
        yield failure(f"libsndfile {found} does not read MP3", "run `pip install --upgrade soundfile`")


def _read_by() -> str:
    """Return the version of libsndfile."""
    import soundfile

    return str(soundfile.__libsndfile_version__)
