"""Checks the folders that the service writes to: permissions and free space."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from service.diagnosis.finding import Finding, failure, ok, warning
from service.settings import Settings, variable_name

_TOO_LITTLE, _LITTLE = 100 * 10**6, 10**9


def look(settings: Settings) -> Iterator[Finding]:
    """Check the folders of jobs, of converted weights, and of the embedded datastore if it is used."""
    from models.llm.gguf_conversion import default_cache

    folders = {
        variable_name("jobs", "path"): settings.jobs.path,
        variable_name("cache"): settings.cache or default_cache(),
    }
    if settings.datastore.folder is not None:
        folders[variable_name("datastore", "path")] = settings.datastore.folder
    for setting, folder in folders.items():
        yield _folder(folder.absolute(), setting)


def _folder(folder: Path, setting: str) -> Finding:
    place = next(one for one in (folder, *folder.parents) if one.exists())
    elsewhere = f"name another folder in {setting}"
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        # Without a cache of converted weights the service only starts more slowly.
        kind = warning if setting == variable_name("cache") else failure
        return kind(f"this user cannot write to {place}", f"allow it (chown, chmod), or {elsewhere}")
    free = shutil.disk_usage(place).free
    said = f"{folder} has {free / 1e9:,.1f} GB of free space ({setting})"
    if free < _TOO_LITTLE:
        return failure(said, f"make room, or {elsewhere}")
    return warning(said, f"make room soon, or {elsewhere}") if free < _LITTLE else ok(said)
