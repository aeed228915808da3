"""The ``drcap`` command: run the service, or talk to one over HTTP."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
import uvicorn

from service.app import create_app
from service.cli.client import Url, checked, connect
from service.cli.domains import domains
from service.cli.errors import CommandError
from service.cli.evaluate import evaluate
from service.cli.imports import imports
from service.cli.keys import keys
from service.cli.train import train
from service.loading import DEFAULT_LOADERS
from service.monitoring.logs import set_up_logs
from service.runtime import Loaders
from service.schemas import ResponseFormat
from service.settings import Settings, SettingsError, load_settings

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Audio captions in the words of your domain.")
app.add_typer(domains, name="domains")
app.add_typer(imports, name="import")
app.add_typer(keys, name="keys")


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="overrides DRCAP_SERVER__HOST")] = None,
    port: Annotated[int | None, typer.Option(help="overrides DRCAP_SERVER__PORT")] = None,
) -> None:
    """Run the service in the foreground."""
    settings = load_settings()
    listening = {"host": host or settings.server.host, "port": settings.server.port if port is None else port}
    settings = settings.model_copy(update={"server": settings.server.model_copy(update=listening)})
    set_up_logs(settings.log)
    failure = _serve(settings)
    if failure is not None:
        raise CommandError(f"the service could not be loaded: {failure}")


def _serve(settings: Settings) -> Exception | None:
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
    config = uvicorn.Config(
        application,
        host=settings.server.host,
        port=settings.server.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=settings.server.drain_seconds,
    )
    server = uvicorn.Server(config)
    # uvicorn raises the signal that stopped it again when all is done; then it has done what it was to do.
    signal.signal(signal.SIGTERM, lambda *_: None)
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
    with connect(url) as client:
        for path in files:
            with path.open("rb") as file:
                answer = checked(client.post("/caption", files={"file": (path.name, file)}, data=fields))
            typer.echo(f"{path}: {answer.text.rstrip()}" if len(files) > 1 else answer.text.rstrip())


app.command()(train)
app.command()(evaluate)


@app.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="let the service run afterwards")] = False,
) -> None:
    """Register the sample domains, caption the sample recordings in both, and show what happened."""
    from service.cli.demo import demo as run_demo

    raise typer.Exit(run_demo(keep))


def main() -> None:
    """The entry point: errors a user can act on are one line."""
    try:
        app()
    except (CommandError, SettingsError) as error:
        sys.exit(f"drcap: {error}")
    except httpx.HTTPError as error:
        sys.exit(f"drcap: no answer from {error.request.url}: {str(error) or type(error).__name__}")
