"""Checks files of secrets: whether they can be read, who else may read them, and whether the service needs keys."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from service.auth.guard import check_exposure, load_keyring
from service.diagnosis.finding import Finding, failure, ok, warning
from service.settings import Settings, SettingsError, variable_name


def look(settings: Settings) -> Iterator[Finding]:
    """Check the keys of the service, and the key files of the datastore."""
    try:
        check_exposure(settings)
    except SettingsError as error:
        yield failure(str(error), "run `drcap keys new NAME --scope caption --file FILE`")
    else:
        yield from _keyring(settings)
    for name in ("read_key_file", "write_key_file", "ca_file"):
        path = getattr(settings.datastore, name)
        if path is not None:
            yield from _secret_file(path, variable_name("datastore", name), secret=name != "ca_file")


def _keyring(settings: Settings) -> Iterator[Finding]:
    file = settings.auth.keys_file
    setting = variable_name("auth", "keys" if file is None else "keys_file")
    try:
        keyring = load_keyring(settings.auth)
    except SettingsError as error:
        yield failure(str(error), f"correct {setting}; `drcap keys new NAME --file FILE` makes a file of keys")
        return
    if keyring is None:
        yield ok(f"none: everyone who reaches {settings.server.host} may use the service")
        return
    if file is not None:
        yield from _shared(file, "it holds digests, not keys")
    yield ok(f"{len(keyring.keys)} in {file or setting}")


def _secret_file(path: Path, setting: str, *, secret: bool) -> Iterator[Finding]:
    try:
        content = path.read_bytes()
    except OSError as error:
        yield failure(f"{path} cannot be read: {error.strerror}", f"let this user read it, or change {setting}")
        return
    if not content.strip():
        yield failure(f"{path} is empty", f"fill it, or change {setting}")
    elif secret:
        yield from _shared(path, "it holds a secret")


def _shared(path: Path, holds: str) -> Iterator[Finding]:
    """Report a file that others than its owner may write or read."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        yield failure(f"others than its owner can write {path} (mode {mode:04o})", f"run `chmod go-w {path}`")
    elif mode & (stat.S_IRGRP | stat.S_IROTH) and not _closed(path.parent):
        said = f"others than its owner can read {path} (mode {mode:04o}); {holds}"
        yield warning(said, f"run `chmod 600 {path}`, unless a container reads it as another user")


def _closed(folder: Path) -> bool:
    """Whether only its owner can enter the folder; then the modes of its files do not matter."""
    return os.name == "posix" and not stat.S_IMODE(folder.stat().st_mode) & (stat.S_IXGRP | stat.S_IXOTH)
