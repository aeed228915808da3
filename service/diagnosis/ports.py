"""The ports that the service listens at: whether they are free, or who has them."""

import errno
import os
import socket
from collections.abc import Iterator

from service.diagnosis.check import Finding, failure, ok, warning
from service.settings import ServerSettings, variable_name

NAME = "port"
_PROBE_SECONDS = 1.0
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - not to listen there


def look(server: ServerSettings) -> Iterator[Finding]:
    """The main port and, if there is one, that for operations."""
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
        return _refused(host, port, setting, error)
    return ok(NAME, f"{host}:{port} is free")


def _refused(host: str, port: int, setting: str, error: OSError) -> Finding:
    if error.errno != errno.EADDRINUSE:
        said = f"{host}:{port} cannot be listened at: {error.strerror or error}"
        return failure(NAME, said, f"change {variable_name('server', 'host')} or {setting}")
    if service_answers(host, port):
        return warning(NAME, f"a drcap service listens at {host}:{port}", f"stop it before another, or set {setting}")
    return failure(NAME, f"another program listens at {host}:{port}", f"stop it, or set {setting}")


def service_answers(host: str, port: int) -> bool:
    """Whether a drcap service lives there."""
    import httpx

    place = _ANYWHERE.get(host.strip("[]"), host.strip("[]"))
    try:
        url = f"http://{f'[{place}]' if ':' in place else place}:{port}/livez"
        answer = httpx.get(url, timeout=_PROBE_SECONDS, trust_env=False)
        document = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return False
    return isinstance(document, dict) and (document.get("status") == "alive" or "stall" in str(document.get("detail")))
