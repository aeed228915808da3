"""Loads a bundle of `models` and opens a datastore, embedded or on a server, for the shipped service."""

import logging
import os
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from datastores.base import DatastoreUnavailable, DomainStore
from models.bundle.loaded import LoadedBundle
from service.runtime import Loaders
from service.settings import DatastoreSettings, Settings, variable_name

if TYPE_CHECKING:
    from datastores.qdrant.config import QdrantConfig
    from models.device.plan import Wishes

logger = logging.getLogger(__name__)

EMBEDDED = "embedded"


def load_bundle(settings: Settings) -> LoadedBundle:
    """Load the bundle the settings name. Blocking, for seconds: call it from a thread."""
    if settings.bundle == EMBEDDED:
        os.environ["HF_HUB_OFFLINE"] = "1"
    # Imported here: torch and transformers take seconds to import, and read the variable above at import.
    import torch

    from models.bundle.load import load_bundle as load_any_bundle
    from models.bundle.warming import warm
    from models.device.cores import share_cores

    cores = share_cores()
    torch.set_num_threads(cores.threads)
    loaded = load_any_bundle(settings.bundle, cache=settings.cache, wishes=wishes(settings))
    on_cpu = loaded.plan is None or loaded.plan.llm.value[0].type == "cpu"
    if on_cpu:
        shared = loaded.plan is None or loaded.plan.clap.value.type == "cpu"
        loaded = replace(loaded, writers=cores.writers, turns=cores.writers if shared else None)
    logger.info("the models wrote their first caption in %.1f s", warm(loaded))
    return loaded


def wishes(settings: Settings) -> "Wishes":
    """Return the settings of where and how the models run; see `models.device.plan.choose_plan`."""
    from models.device.plan import SettingNames, Wishes

    names = SettingNames(
        clap_device=variable_name("clap", "device"),
        llm_device=variable_name("llm", "device"),
        dtype=variable_name("llm", "dtype"),
        quantisation=variable_name("llm", "quantisation"),
        cache=variable_name("cache"),
    )
    return Wishes(
        settings.device, settings.clap.device, settings.llm.device, settings.llm.dtype, settings.llm.quantisation, names
    )


async def open_store(settings: Settings) -> DomainStore:
    """Open the datastore that the settings choose: a server where there is a URL, else the embedded one.

    Raises:
        DatastoreUnavailable: the folder cannot be used, or a file of keys or certificates cannot be read. A server
            that does not answer raises nothing here: the store raises until the server is back.
    """
    folder = settings.datastore.folder
    if folder is not None:
        from datastores.edge.store import EdgeStore

        return await EdgeStore.open(folder, variable_name("datastore", "path"))
    from datastores.qdrant.store import QdrantStore

    return await QdrantStore.open(qdrant_config(settings.datastore))


def qdrant_config(settings: DatastoreSettings) -> "QdrantConfig":
    """The settings of the Qdrant server, with the keys read from their files. Raises as `open_store`."""
    from datastores.qdrant.config import QdrantConfig

    if settings.url is None:
        raise ValueError("the settings name no server")
    same = {field.name for field in fields(QdrantConfig)} & DatastoreSettings.model_fields.keys()
    values = {name: getattr(settings, name) for name in same} | {
        "read_key": _secret("read_key", settings.read_key, settings.read_key_file),
        "write_key": _secret("write_key", settings.write_key, settings.write_key_file),
        "setting_of": partial(variable_name, "datastore"),
    }
    return QdrantConfig(**values)


def _secret(name: str, value: SecretStr | None, file: Path | None) -> str | None:
    if file is None:
        return None if value is None else value.get_secret_value()
    setting = variable_name("datastore", f"{name}_file")
    try:
        secret = file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise DatastoreUnavailable(f"the key in {file} cannot be read: {error} ({setting})") from error
    if not secret:
        raise DatastoreUnavailable(f"the file {file} holds no key ({setting})")
    return secret


DEFAULT_LOADERS = Loaders(load_bundle, open_store)
