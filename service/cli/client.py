"""How the ``drcap`` command talks to a service."""

import json
from typing import Annotated, Any

import httpx
import typer

from service.cli.errors import CommandError
from service.settings import load_settings

Url = Annotated[str | None, typer.Option(help="of the service; by default where `drcap serve` listens")]


def connect(url: str | None, timeout: float | None = 300.0) -> httpx.Client:
    """A client of the service at `url`, or of the one that the settings describe; `timeout` in seconds."""
    own, settings = url is None, load_settings()
    if url is None:
        server = settings.server
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(server.host, server.host)  # noqa: S104
        url = f"http://{host}:{server.port}"
    headers = {"Authorization": f"Bearer {settings.key.get_secret_value()}"} if settings.key else None
    timeouts = httpx.Timeout(timeout, connect=5.0)
    return httpx.Client(base_url=url, headers=headers, timeout=timeouts, trust_env=not own)


def checked(answer: httpx.Response) -> httpx.Response:
    """The answer. Raises `CommandError` with the problem's detail when it is an error."""
    if answer.is_success:
        return answer
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = answer.text[:200] or answer.reason_phrase
    raise CommandError(f"{answer.status_code}: {detail}")


def show(document: Any) -> None:
    """Print a JSON document for people."""
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
