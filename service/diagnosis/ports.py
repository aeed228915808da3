"""Checks the service's ports: whether they are free, and otherwise who listens there."""

import errno
import os
import socket
from collections.abc import Iterator

from service.diagnosis.finding import Finding, failure, ok, warning
from service.settings import ServerSettings, variable_name

_PROBE_SECONDS = 1.0
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - addresses to replace, not to listen on


def url_of(host: str, port: int) -> str:
    """Return the URL at which this machine reaches a service that listens on `host` and `port`."""
    place = host.strip("[]")
    place = _ANYWHERE.get(place, place)
    return f"http://{f'[{place}]' if ':' in place else place}:{port}"


def look(server: ServerSettings) -> Iterator[Finding]:
    """Check the main port, and the port for operations if there is one."""
    yield _port(server.host, server.port, variable_name("server", "port"))
    if server.ops_port is not None:
        yield _port(server.ops_host or server.host, server.ops_port, variable_name("server", "ops_port"))


def _port(host: str, port: int, setting: str) -> Finding:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as listener:
            if os.name == "posix":
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except OSError as error:
        return _taken(host, port, setting, error)
    return ok(f"{host}:{port} is free")


def _taken(host: str, port: int, setting: str, error: OSError) -> Finding:
    if error.errno != errno.EADDRINUSE:
        said = f"the service cannot listen on {host}:{port}: {error.strerror or error}"
        return failure(said, f"change {variable_name('server', 'host')} or {setting}")
    if service_answers(host, port):
        return warning(f"a drcap service listens on {host}:{port}", f"stop it before another, or set {setting}")
    return failure(f"another program listens on {host}:{port}", f"stop it, or set {setting}")


def service_answers(host: str, port: int) -> bool:
    """Whether a drcap service answers there."""
    import httpx

    try:
        document = httpx.get(f"{url_of(host, port)}/livez", timeout=_PROBE_SECONDS, trust_env=False).json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return False
    return isinstance(document, dict) and (document.get("status") == "alive" or "stall" in str(document.get("detail")))
