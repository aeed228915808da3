"""How the ``drcap`` command talks to a service."""

import json
from typing import Annotated, Any

import httpx
import typer

from cli.common.errors import CommandError
from service.settings import load_settings

_CONNECT_SECONDS = 5.0

Url = Annotated[str | None, typer.Option(help="of the service; by default where `drcap serve` listens")]
Json = Annotated[bool, typer.Option("--json", help="print JSON, for programs")]


def connect(url: str | None, timeout: float = 300.0) -> httpx.Client:
    """A client of the service at `url`, or of the one that the settings describe; `timeout` in seconds.

    Raises `CommandError` for what is no URL.
    """
    return httpx.Client(**_about(url, timeout))


def connect_many(url: str | None, timeout: float) -> httpx.AsyncClient:
    """The same for many requests at a time."""
    return httpx.AsyncClient(**_about(url, timeout))


def checked(answer: httpx.Response) -> httpx.Response:
    """The answer. Raises `CommandError` with the problem's detail when it is an error."""
    if answer.is_success:
        return answer
    raise CommandError(problem_of(answer))


def problem_of(answer: httpx.Response) -> str:
    """The status and the detail of an answer that is an error, on one line."""
    try:
        detail = str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        detail = answer.text[:200] or answer.reason_phrase
    return f"{answer.status_code}: {' '.join(detail.split())}"


def show(document: Any) -> None:
    """Print a JSON document for people."""
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


def _about(url: str | None, timeout: float) -> dict[str, Any]:
    own, settings = url is None, load_settings()
    if url is None:
        server = settings.server
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(server.host, server.host)  # noqa: S104
        url = f"http://{host}:{server.port}"
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise CommandError(f"{url!r} is no URL: {error}") from error
    if address.scheme not in ("http", "https") or not address.host:
        raise CommandError(f"{url!r} is no URL of a service: it begins with http:// or https://")
    headers = {"Authorization": f"Bearer {settings.key.get_secret_value()}"} if settings.key else None
    timeouts = httpx.Timeout(timeout, connect=min(timeout, _CONNECT_SECONDS))
    return {"base_url": address, "headers": headers, "timeout": timeouts, "trust_env": not own}
