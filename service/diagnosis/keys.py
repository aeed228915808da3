"""Files of secrets: whether they can be read, by whom else, and whether the service may listen where it should."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from service.auth.guard import check_exposure, load_keyring
from service.auth.keys import Keyring, KeysError
from service.diagnosis.check import Finding, failure, ok, warning
from service.settings import Settings, SettingsError, variable_name

NAME = "keys"


def look(settings: Settings) -> Iterator[Finding]:
    """The keys of the service and of the datastore, as far as they are in files."""
    auth, datastore = settings.auth, settings.datastore
    if auth.keys_file is not None:
        yield from _keys_file(auth.keys_file)
    elif auth.keys is not None:
        yield from _keys_variable(settings)
    try:
        check_exposure(settings)
    except SettingsError as error:
        yield failure(NAME, str(error), "drcap keys new NAME --scope caption --file FILE")
    else:
        if auth.keys_file is None and auth.keys is None:
            yield ok(NAME, f"none: whoever reaches {settings.server.host} may use the service")
    for name in ("read_key_file", "write_key_file", "ca_file"):
        path = getattr(datastore, name)
        if path is not None:
            yield from _secret_file(path, variable_name("datastore", name), secret=name != "ca_file")


def _keys_file(path: Path) -> Iterator[Finding]:
    setting = variable_name("auth", "keys_file")
    try:
        keyring = Keyring.from_file(path)
    except KeysError as error:
        yield failure(NAME, str(error), f"make one with `drcap keys new NAME --file FILE`, and name it in {setting}")
        return
    yield from _shared(path, "it holds digests, no keys")
    yield ok(NAME, f"{len(keyring.keys)} in {path}")


def _keys_variable(settings: Settings) -> Iterator[Finding]:
    try:
        keyring = load_keyring(settings.auth)
    except SettingsError as error:
        yield failure(NAME, str(error), f"correct the JSON in {variable_name('auth', 'keys')}")
        return
    yield ok(NAME, f"{len(keyring.keys) if keyring else 0} in {variable_name('auth', 'keys')}")


def _secret_file(path: Path, setting: str, *, secret: bool) -> Iterator[Finding]:
    try:
        content = path.read_bytes()
    except OSError as error:
        yield failure(NAME, f"{path} cannot be read: {error.strerror}", f"let this user read it, or change {setting}")
        return
    if not content.strip():
        yield failure(NAME, f"{path} is empty", f"write it, or change {setting}")
        return
    if secret:
        yield from _shared(path, "it holds a secret")


def _shared(path: Path, holds: str) -> Iterator[Finding]:
    """Whether others than its owner may write or read a file."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        yield failure(NAME, f"{path} can be written by others than its owner (mode {mode:04o})", f"chmod go-w {path}")
    elif mode & (stat.S_IRGRP | stat.S_IROTH) and not _closed(path.parent):
        said = f"{path} can be read by others than its owner (mode {mode:04o}); {holds}"
        yield warning(NAME, said, f"chmod 600 {path}, unless a container reads it as another user")


def _closed(folder: Path) -> bool:
    """Whether only its owner gets into the folder, so that it does not matter what is open in it."""
    return os.name == "posix" and not stat.S_IMODE(folder.stat().st_mode) & (stat.S_IXGRP | stat.S_IXOTH)
