"""HTTP clients of a service, and what its answers mean to the ``drcap`` command."""

import json
from typing import Annotated, Any

import httpx
import typer

from cli.common.errors import CommandError
from service.diagnosis.ports import url_of
from service.settings import load_settings

_CONNECT_SECONDS = 5.0

Url = Annotated[str | None, typer.Option(help="address of the service; by default the one of `drcap serve`")]
Json = Annotated[bool, typer.Option("--json", help="print JSON, for programs")]


def connect(url: str | None, timeout: float = 300.0) -> httpx.Client:
    """Return a client of the service at `url`, or of the one that the settings describe.

    Args:
        url: begins with http:// or https://.
        timeout: seconds for one answer.

    Raises `CommandError` for an invalid URL.
    """
    return httpx.Client(**_client_options(url, timeout))


def connect_many(url: str | None, timeout: float) -> httpx.AsyncClient:
    """Return the same as `connect`, for concurrent requests."""
    return httpx.AsyncClient(**_client_options(url, timeout))


def checked(answer: httpx.Response) -> httpx.Response:
    """Return the answer. Raises `CommandError` with the problem's detail if it is an error."""
    if answer.is_success:
        return answer
    raise CommandError(problem_of(answer))


def problem_of(answer: httpx.Response) -> str:
    """Return the status and the detail of an error answer, on one line."""
    try:
        detail = str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        detail = answer.text[:200] or answer.reason_phrase
    return f"{answer.status_code}: {' '.join(detail.split())}"


def print_json(document: Any) -> None:
    """Print a document as indented JSON."""
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


def _client_options(url: str | None, timeout: float) -> dict[str, Any]:
    settings = load_settings()
    try:
        address = httpx.URL(url_of(settings.server.host, settings.server.port) if url is None else url)
    except httpx.InvalidURL as error:
        raise CommandError(f"{url!r} is not a URL: {error}") from error
    if address.scheme not in ("http", "https") or not address.host:
        raise CommandError(f"{url!r} is not a URL of a service: it must begin with http:// or https://")
    headers = {"Authorization": f"Bearer {settings.key.get_secret_value()}"} if settings.key else None
    timeouts = httpx.Timeout(timeout, connect=min(timeout, _CONNECT_SECONDS))
    # A proxy of the environment does not lead to the service on this machine.
    return {"base_url": address, "headers": headers, "timeout": timeouts, "trust_env": url is not None}
