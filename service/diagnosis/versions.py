"""Versions: of Python, of the packages drcap asks for, and of the library that reads audio."""

import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from service.diagnosis.check import Finding, failure, ok, warning
from service.version import drcap_version

NAME = "versions"
_SHOWN = ("torch", "transformers", "peft", "safetensors", "numpy", "qdrant-client", "qdrant-edge-py", "soundfile")
_OLDEST_PYTHON = (3, 11)
# From here on libsndfile reads MP3.
_OLDEST_SNDFILE = (1, 1)
_INSTALL = "make install, or pip install -c constraints.txt -e ."


def look() -> Iterator[Finding]:
    """Each version that is not as drcap needs it, or all in one line."""
    faults = [*_python(sys.version_info[:2]), *_packages(_requirements()), *_sndfile()]
    yield from faults
    if not faults:
        said = ", ".join(f"{name} {version(name)}" for name in _SHOWN)
        yield ok(NAME, f"drcap {drcap_version()}, Python {platform.python_version()}, {said}, libsndfile {_read_by()}")


def _python(found: tuple[int, ...]) -> Iterator[Finding]:
    if found < _OLDEST_PYTHON:
        here, wanted = (".".join(map(str, one)) for one in (found, _OLDEST_PYTHON))
        yield failure(NAME, f"this is Python {here}", f"set drcap up again with Python {wanted} or newer")


def _requirements() -> list[str]:
    try:
        return requires("drcap") or []
    except PackageNotFoundError:  # run from a checkout that was not installed
        return []


def _packages(wanted: list[str]) -> Iterator[Finding]:
    from packaging.requirements import Requirement

    if not wanted:
        yield warning(NAME, "drcap is not installed, so what it needs is not known", _INSTALL)
    for requirement in map(Requirement, wanted):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            yield failure(NAME, f"{requirement.name} is not installed", _INSTALL)
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            said = f"{requirement.name} is {found}, and drcap needs {requirement.specifier}"
            yield failure(NAME, said, _INSTALL)


def _sndfile() -> Iterator[Finding]:
    try:
        found = _read_by()
    except (ImportError, OSError) as error:
        yield failure(NAME, f"audio cannot be read: {error}", "pip install --force-reinstall soundfile")
        return
    if tuple(int(part) for part in found.split(".")[:2]) < _OLDEST_SNDFILE:
        yield failure(NAME, f"libsndfile {found} does not read MP3", "pip install --upgrade soundfile")


def _read_by() -> str:
    """The version of libsndfile."""
    import soundfile

    return str(soundfile.__libsndfile_version__)
