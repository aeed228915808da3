"""The folders the service writes to: whether it may, and how much room is left there."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from service.diagnosis.check import Finding, failure, ok, warning
from service.settings import Settings, variable_name

NAME = "disk"
_TOO_LITTLE, _LITTLE = 100 * 10**6, 10**9


def look(settings: Settings) -> Iterator[Finding]:
    """The datastore's folder, that of jobs, and that of converted weights."""
    from models.llm.gguf_conversion import default_cache

    folders = {
        variable_name("jobs", "path"): settings.jobs.path,
        variable_name("cache"): settings.cache or default_cache(),
    }
    if settings.datastore.url is None:
        folders[variable_name("datastore", "path")] = settings.datastore.path
    for setting, folder in folders.items():
        yield _folder(folder.absolute(), setting)


def _folder(folder: Path, setting: str) -> Finding:
    place = next(one for one in (folder, *folder.parents) if one.exists())
    elsewhere = f"name another folder in {setting}"
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        # Converted weights are only kept to start faster.
        kind = warning if setting == variable_name("cache") else failure
        return kind(NAME, f"this user cannot write to {place}", f"let it (chown, chmod), or {elsewhere}")
    free = shutil.disk_usage(place).free
    said = f"{folder} has {free / 1e9:,.1f} GB of room ({setting})"
    if free < _TOO_LITTLE:
        return failure(NAME, said, f"make room, or {elsewhere}")
    return warning(NAME, said, f"make room soon, or {elsewhere}") if free < _LITTLE else ok(NAME, said)
