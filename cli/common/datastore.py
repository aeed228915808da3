"""Opens the datastore of the settings in the command itself, where a running service may have it open."""

import asyncio
from typing import TYPE_CHECKING

from cli.common.errors import CommandError
from service.settings import Settings, variable_name

if TYPE_CHECKING:
    from datastores.base import DomainStore


async def open_existing(settings: Settings, instead: str) -> "DomainStore":
    """Open the datastore that the settings choose; `instead` tells the user what else to do.

    Raises:
        CommandError: there is none, a running service has it open, or it cannot be used.
    """
    # Imported here: completion and help wait neither for numpy nor for the service.
    from datastores.base import DatastoreError, DatastoreInUse
    from service.loading import open_store

    folder = settings.datastore.folder
    # Opening a folder would make it.
    if folder is not None and not await asyncio.to_thread(folder.is_dir):
        raise CommandError(f"there is no datastore at {folder} ({variable_name('datastore', 'path')}); {instead}")
    try:
        return await open_store(settings)
    except DatastoreInUse as error:
        raise CommandError(f"the datastore {folder} is open in a running service; {instead}") from error
    except DatastoreError as error:
        raise CommandError(str(error)) from error
