"""Checks the datastore: the folder of the embedded one, or the Qdrant server with its version and keys."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from datastores.base import DatastoreInUse, DatastoreUnavailable
from service.diagnosis.finding import Finding, failure, ok, warning
from service.diagnosis.ports import service_answers
from service.settings import Settings, variable_name

if TYPE_CHECKING:
    from datastores.qdrant.connection import QdrantConnection

_SECONDS = 2.0
_OLDEST_SERVER = (1, 10)
_NAMED = 3


def look(settings: Settings) -> Iterator[Finding]:
    """Check the datastore that the settings choose."""
    folder = settings.datastore.folder
    if folder is None:
        yield from asyncio.run(_server(settings))
    else:
        yield from _folder(settings, folder)


def _folder(settings: Settings, root: Path) -> Iterator[Finding]:
    from datastores.edge.catalog import Catalog, read_about

    setting = variable_name("datastore", "path")
    # Opening the folder would create it.
    if not root.exists():
        yield ok(f"{root.absolute()} will be created at the first start ({setting})")
        return
    try:
        catalog = Catalog(root, setting)
    except DatastoreUnavailable as error:
        if isinstance(error, DatastoreInUse) and service_answers(settings.server.host, settings.server.port):
            yield warning(f"a running service has {root} open", "stop it before another process opens the folder")
        else:
            yield failure(str(error), "stop what has it open, or name another folder that this user may write")
        return
    fingerprints = {}
    try:
        for domain in catalog.domains():
            try:
                version = catalog.version_folder(domain, catalog.pointer(domain).current)
                fingerprints[domain] = read_about(version).fingerprint
            except DatastoreUnavailable as error:
                way = f"register {domain} again, or restore it from a copy of the folder"
                yield failure(f"domain {domain}: {error}", way)
    finally:
        catalog.release()
    yield from _foreign(fingerprints)
    yield ok(f"{root.absolute()} opens, with {len(fingerprints)} domains")


def _foreign(fingerprints: dict[str, str]) -> Iterator[Finding]:
    """Warn about domains of several CLAPs, since the service runs only one."""
    kinds = sorted(set(fingerprints.values()))
    if len(kinds) > 1:
        some = ", ".join(kinds[:_NAMED]) + (" and more" if len(kinds) > _NAMED else "")
        said = f"the domains were embedded by {len(kinds)} CLAPs: {some}"
        yield warning(said, "register those of the other CLAP again; requests for them are answered with 409")


async def _server(settings: Settings) -> list[Finding]:
    from datastores.qdrant.connection import QdrantConnection
    from service.loading import qdrant_config

    try:
        config = qdrant_config(settings.datastore)
        config = replace(config, timeout_seconds=_SECONDS, retry_seconds=0.0)
        connection = QdrantConnection(replace(config, write_timeout_seconds=_SECONDS, write_retry_seconds=0.0))
    except DatastoreUnavailable as error:
        return [failure(str(error), "correct the setting that the message names")]
    try:
        return await _answers(connection)
    finally:
        await connection.close()


async def _answers(connection: "QdrantConnection") -> list[Finding]:
    """Report what the server answers to each key. Nothing is written: the write key sends an empty list of changes."""
    from datastores.qdrant.connection import KeyRefused

    try:
        version = (await connection.read("asking for its version", lambda client: client.info())).version
        found = await connection.read("listing the collections", lambda client: client.get_collections())
    except KeyRefused as error:
        return [failure(str(error), f"name a key of the server in {variable_name('datastore', 'read_key_file')}")]
    except DatastoreUnavailable as error:
        return [failure(str(error), f"start the server, or correct {variable_name('datastore', 'url')}")]
    findings = _version(version)
    try:
        await connection.write("changing no alias", lambda client: client.update_collection_aliases([]))
    except KeyRefused as error:
        key = variable_name("datastore", "write_key_file")
        findings.append(failure(f"{error}; domains cannot be registered", f"name a key that may write in {key}"))
    except DatastoreUnavailable as error:
        findings.append(warning(f"the write key could not be checked: {error}", "register a domain"))
    mine = sum(one.name.startswith(connection.config.prefix) for one in found.collections)
    said = f"Qdrant {version} at {connection.url} answers; {mine} collections of this service"
    return [*findings, ok(said)]


def _version(version: str) -> list[Finding]:
    numbers = version.split(".")[:2]
    if all(number.isdecimal() for number in numbers) and tuple(map(int, numbers)) < _OLDEST_SERVER:
        wanted = ".".join(map(str, _OLDEST_SERVER))
        return [failure(f"the server is Qdrant {version}, and {wanted} or newer is needed", "upgrade the server")]
    return []
