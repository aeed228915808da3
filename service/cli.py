"""The ``drcap`` command: run the service, or talk to one over HTTP."""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
import uvicorn

from service.app import create_app
from service.cli_errors import CommandError
from service.cli_evaluate import evaluate
from service.cli_train import train
from service.loading import DEFAULT_LOADERS
from service.runtime import Loaders
from service.schemas import ResponseFormat
from service.settings import Settings, SettingsError, load_settings

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Audio captions in the words of your domain.")
domains = typer.Typer(no_args_is_help=True, help="Register, show, search and remove domains.")
app.add_typer(domains, name="domains")

Url = Annotated[str | None, typer.Option(help="of the service; by default where `drcap serve` listens")]
Name = Annotated[str, typer.Argument(help="of the domain")]
_MEDIA_TYPES = {
    ".json": "application/json",
    ".ndjson": "application/x-ndjson",
    ".jsonl": "application/x-ndjson",
}
_MEDIA_TYPES |= {".csv": "text/csv", ".txt": "text/plain"}


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="overrides DRCAP_SERVER__HOST")] = None,
    port: Annotated[int | None, typer.Option(help="overrides DRCAP_SERVER__PORT")] = None,
) -> None:
    """Run the service in the foreground."""
    settings = load_settings()
    logging.basicConfig(format="%(levelname)s:     %(message)s")
    logging.getLogger("service").setLevel(logging.INFO)
    failure = _serve(settings, host or settings.server.host, settings.server.port if port is None else port)
    if failure is not None:
        raise CommandError(f"the service could not be loaded: {failure}")


def _serve(settings: Settings, host: str, port: int) -> Exception | None:
    """Serve until told to stop; what kept a part from loading, if that is why it stopped."""
    failures: list[Exception] = []

    @contextmanager
    def stopping_on_failure() -> Iterator[None]:
        try:
            yield
        except Exception as error:
            failures.append(error)
            server.should_exit = True
            raise

    def load_bundle(of: Settings) -> Any:
        with stopping_on_failure():
            return DEFAULT_LOADERS.bundle(of)

    async def open_store(of: Settings) -> Any:
        with stopping_on_failure():
            return await DEFAULT_LOADERS.store(of)

    application = create_app(settings, Loaders(load_bundle, open_store))
    server = uvicorn.Server(uvicorn.Config(application, host=host, port=port, timeout_graceful_shutdown=10))
    server.run()
    return failures[0] if failures else None


@app.command()
def caption(
    files: Annotated[list[Path], typer.Argument(help="recordings", exists=True, dir_okay=False)],
    domain: Annotated[str | None, typer.Option(help="needed when there are several")] = None,
    response_format: Annotated[ResponseFormat, typer.Option("--format")] = ResponseFormat.text,
    url: Url = None,
) -> None:
    """Caption recordings."""
    fields = {"response_format": response_format.value} | ({"domain": domain} if domain else {})
    with _client(url) as client:
        for path in files:
            with path.open("rb") as file:
                answer = _checked(client.post("/caption", files={"file": (path.name, file)}, data=fields))
            typer.echo(f"{path}: {answer.text.rstrip()}" if len(files) > 1 else answer.text.rstrip())


@domains.command("put")
def put_domain(
    name: Name,
    file: Annotated[Path, typer.Argument(help=".txt, .csv, .json or .ndjson", exists=True, dir_okay=False)],
    url: Url = None,
) -> None:
    """Register a domain, or replace it."""
    media_type = _MEDIA_TYPES.get(file.suffix.lower())
    if media_type is None:
        raise CommandError(f"{file}: a corpus is one of {', '.join(_MEDIA_TYPES)}")
    with _client(url, timeout=None) as client:
        params = {"wait": "true"}
        headers = {"content-type": media_type}
        _show(client.put(f"/domains/{name}", content=file.read_bytes(), headers=headers, params=params))


@domains.command("list")
def list_domains(url: Url = None) -> None:
    """List the domains."""
    with _client(url) as client:
        for one in _checked(client.get("/domains")).json()["domains"]:
            typer.echo(f"{one['name']}\t{one['captions']} captions\t{one['version']}\t{one['created']}")


@domains.command("show")
def show_domain(name: Name, url: Url = None) -> None:
    """Show a domain."""
    with _client(url) as client:
        _show(client.get(f"/domains/{name}"))


@domains.command("search")
def search_domain(name: Name, text: Annotated[str, typer.Argument()], limit: int = 10, url: Url = None) -> None:
    """Show what the datastore would retrieve for a text."""
    with _client(url) as client:
        answer = _checked(client.get(f"/domains/{name}/search", params={"q": text, "limit": limit}))
    for one in answer.json()["results"]:
        typer.echo(f"{one['score']:.3f}\t{one['caption']}")


@domains.command("rollback")
def roll_back_domain(name: Name, url: Url = None) -> None:
    """Serve the version before the current one again."""
    with _client(url) as client:
        _show(client.post(f"/domains/{name}/rollback"))


@domains.command("rm")
def remove_domain(name: Name, url: Url = None) -> None:
    """Remove a domain with all its versions."""
    with _client(url) as client:
        _checked(client.delete(f"/domains/{name}"))


app.command()(train)
app.command()(evaluate)


@app.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="let the service run afterwards")] = False,
) -> None:
    """Register the sample domains, caption the sample recordings in both, and show what happened."""
    from service.demo import demo as run_demo

    raise typer.Exit(run_demo(keep))


def main() -> None:
    """The entry point: errors a user can act on are one line."""
    try:
        app()
    except (CommandError, SettingsError) as error:
        sys.exit(f"drcap: {error}")
    except httpx.HTTPError as error:
        sys.exit(f"drcap: no answer from {error.request.url}: {str(error) or type(error).__name__}")


def _client(url: str | None, timeout: float | None = 300.0) -> httpx.Client:
    own = url is None
    if url is None:
        server = load_settings().server
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(server.host, server.host)  # noqa: S104
        url = f"http://{host}:{server.port}"
    return httpx.Client(base_url=url, timeout=httpx.Timeout(timeout, connect=5.0), trust_env=not own)


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.is_success:
        return answer
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = answer.text[:200] or answer.reason_phrase
    raise CommandError(f"{answer.status_code}: {detail}")


def _show(answer: httpx.Response) -> None:
    typer.echo(json.dumps(_checked(answer).json(), indent=2, ensure_ascii=False))
