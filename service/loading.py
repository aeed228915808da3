"""What the shipped service loads: a bundle of `models` and the embedded datastore."""

import os

from datastores.base import DomainStore
from service.bundle import Bundle
from service.runtime import Loaders
from service.settings import Settings

EMBEDDED = "embedded"


def load_bundle(settings: Settings) -> Bundle:
    """Load the bundle the settings name. Blocking, for seconds: call it from a thread."""
    if settings.bundle == EMBEDDED:
        os.environ["HF_HUB_OFFLINE"] = "1"
    # Imported here: torch and transformers take seconds, and read the line above once, when imported.
    import torch

    from models import bundle

    # The CLAP and the decoder have a thread each; together they should take the cores, not twice as many.
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
    return bundle.load_bundle(settings.bundle, device=settings.device, cache=settings.cache)


async def open_store(settings: Settings) -> DomainStore:
    """Open the datastore the settings name. Raises `DatastoreUnavailable`."""
    from datastores.edge import EdgeStore

    return await EdgeStore.open(settings.datastore.path)


DEFAULT_LOADERS = Loaders(load_bundle, open_store)
