"""The datastore: the embedded one's folder, or the Qdrant server with its version and keys."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from datastores.base import DatastoreUnavailable
from service.diagnosis.check import Finding, failure, ok, warning
from service.diagnosis.ports import service_answers
from service.settings import Settings, variable_name

if TYPE_CHECKING:
    from datastores.qdrant.connection import Connection

NAME = "datastore"
_SECONDS = 2.0
_OLDEST_SERVER = (1, 10)
_NAMED = 3


def look(settings: Settings) -> Iterator[Finding]:
    """The one the settings choose."""
    if settings.datastore.url is not None:
        yield from asyncio.run(_server(settings))
    else:
        yield from _folder(settings)


def _folder(settings: Settings) -> Iterator[Finding]:
    from datastores.edge.catalog import Catalog, read_about

    root, setting = settings.datastore.path, variable_name("datastore", "path")
    # To open it would make it.
    if not root.exists():
        yield ok(NAME, f"{root.absolute()} is made at the first start ({setting})")
        return
    try:
        catalog = Catalog(root)
    except DatastoreUnavailable as error:
        if isinstance(error.__cause__, BlockingIOError) and service_answers(settings.server.host, settings.server.port):
            yield warning(NAME, f"a running service has {root} open", "stop it before another opens the folder")
        else:
            yield failure(NAME, str(error), "stop what has it open, or name another folder that this user may write")
        return
    fingerprints = {}
    try:
        for domain in catalog.domains():
            try:
                version = catalog.version_folder(domain, catalog.pointer(domain).current)
                fingerprints[domain] = read_about(version).fingerprint
            except DatastoreUnavailable as error:
                way = f"register {domain} again, or take it from a copy of the folder"
                yield failure(NAME, f"domain {domain}: {error}", way)
    finally:
        catalog.release()
    yield from _foreign(fingerprints)
    yield ok(NAME, f"{root.absolute()} opens, with {len(fingerprints)} domains")


def _foreign(fingerprints: dict[str, str]) -> Iterator[Finding]:
    """Domains that cannot all be of the CLAP that will ask."""
    kinds = sorted(set(fingerprints.values()))
    if len(kinds) > 1:
        some = ", ".join(kinds[:_NAMED]) + (" and more" if len(kinds) > _NAMED else "")
        said = f"the domains were embedded by {len(kinds)} CLAPs: {some}"
        yield warning(NAME, said, "register those of the other CLAP again; asking for them is answered with 409")


async def _server(settings: Settings) -> list[Finding]:
    from datastores.qdrant.connection import Connection
    from service.loading import qdrant_config

    try:
        config = qdrant_config(settings.datastore)
        config = replace(config, timeout_seconds=_SECONDS, retry_seconds=0.0)
        connection = Connection(replace(config, write_timeout_seconds=_SECONDS, write_retry_seconds=0.0))
    except DatastoreUnavailable as error:
        return [failure(NAME, str(error), "correct the setting that the message names")]
    try:
        return await _answers(connection)
    finally:
        await connection.close()


async def _answers(connection: "Connection") -> list[Finding]:
    """What the server says to each key. Nothing is written: the write key changes no aliases at all."""
    from datastores.qdrant.connection import Forbidden

    try:
        version = (await connection.read("asking for its version", lambda client: client.info())).version
        found = await connection.read("listing the collections", lambda client: client.get_collections())
    except Forbidden as error:
        return [failure(NAME, str(error), f"name a key of the server in {variable_name('datastore', 'read_key_file')}")]
    except DatastoreUnavailable as error:
        return [failure(NAME, str(error), f"start the server, or correct {variable_name('datastore', 'url')}")]
    findings = _version(version)
    try:
        await connection.write("changing no alias", lambda client: client.update_collection_aliases([]))
    except Forbidden as error:
        key = variable_name("datastore", "write_key_file")
        findings.append(failure(NAME, f"{error}; domains cannot be registered", f"name a key that may write in {key}"))
    except DatastoreUnavailable as error:
        findings.append(warning(NAME, f"whether the write key works could not be told: {error}", "register a domain"))
    mine = sum(one.name.startswith(connection.config.prefix) for one in found.collections)
    said = f"Qdrant {version} at {connection.url} answers; {mine} collections of this service"
    return [*findings, ok(NAME, said)]


def _version(version: str) -> list[Finding]:
    numbers = version.split(".")[:2]
    if all(number.isdecimal() for number in numbers) and tuple(map(int, numbers)) < _OLDEST_SERVER:
        wanted = ".".join(map(str, _OLDEST_SERVER))
        return [failure(NAME, f"the server is Qdrant {version}, and {wanted} or newer is needed", "upgrade the server")]
    return []
