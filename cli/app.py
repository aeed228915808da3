"""The ``drcap`` command and its subcommands."""

import sys
import traceback
from typing import Annotated

import httpx
import typer

from cli.bundle import bundles
from cli.caption import EPILOG as CAPTION_EPILOG
from cli.caption import caption
from cli.common.errors import CommandError
from cli.common.manual import examples
from cli.doctor import doctor
from cli.domains import domains
from cli.evaluate import evaluate
from cli.imports import imports
from cli.keys import keys
from cli.train import train
from service.native_libraries import one_blas_thread, one_heap
from service.settings import SettingsError, load_settings, variable_name
from service.version import drcap_version

app = typer.Typer(
    no_args_is_help=True,
    help="Caption audio in the words of your domain.",
    epilog=examples(
        "drcap serve",
        "drcap domains put city captions.txt",
        "drcap caption recordings --domain city --out captions.csv",
        codes="0 done, 1 failed, 2 the command line is wrong, 130 interrupted",
    ),
)
app.add_typer(domains, name="domains")
app.add_typer(
    imports, name="import", epilog=examples("drcap import drcap --help", "drcap import drcap --clap best_model.pt ...")
)
app.add_typer(
    keys,
    name="keys",
    epilog=examples(
        "drcap keys new studio --scope caption --rate 60 --file keys.json",
        "drcap keys list --file keys.json",
        "drcap keys rm studio --file keys.json",
    ),
)
app.add_typer(
    bundles, name="bundle", epilog=examples("drcap bundle show embedded", "drcap bundle check bundles/mine --load")
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"drcap {drcap_version()}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Options before a command."""


@app.command(epilog=examples("drcap serve", "drcap serve --host 127.0.0.1 --port 9000"))
def serve(
    host: Annotated[str | None, typer.Option(help=f"overrides {variable_name('server', 'host')}")] = None,
    port: Annotated[int | None, typer.Option(help=f"overrides {variable_name('server', 'port')}")] = None,
) -> None:
    """Run the service in the foreground."""
    settings = load_settings()
    listening = {"host": host or settings.server.host, "port": settings.server.port if port is None else port}
    settings = settings.model_copy(update={"server": settings.server.model_copy(update=listening)})
    # Both must precede the imports below.
    one_heap()
    one_blas_thread()
    # Every command imports its work in its function, so that `drcap --help` and completion stay fast.
    from cli.serve import serve as run_service
    from service.monitoring.logs import set_up_logs

    set_up_logs(settings.log)
    failure = run_service(settings)
    if failure is not None:
        raise CommandError(f"the service could not be loaded: {failure}")


app.command(epilog=CAPTION_EPILOG)(caption)
app.command(
    epilog=examples(
        "drcap train captions.txt --out bundles/mine --steps 300",
        "drcap train a.txt b.csv --weight a=2 --out bundles/mine",
    )
)(train)
app.command(
    epilog=examples(
        "drcap evaluate --clips recordings.csv --corpus captions.txt",
        "drcap evaluate --clips recordings.csv --corpus captions.txt --ablate",
        "drcap evaluate --reconstruct captions.txt --limit 100",
    )
)(evaluate)
app.command(epilog=examples("drcap doctor", "drcap doctor --json"))(doctor)


@app.command(epilog=examples("drcap demo", "drcap demo --keep"))
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="keep the service running afterwards")] = False,
) -> None:
    """Register the sample domains, caption the sample recordings in each, and show the results."""
    from cli.demo import demo as run_demo

    raise typer.Exit(run_demo(keep))


def main() -> None:
    """The entry point. It prints an error on one line, and its traceback if the log level is debug."""
    try:
        app()
    except (CommandError, SettingsError) as error:
        _end(str(error), error, error.code if isinstance(error, CommandError) else 1)
    except httpx.HTTPError as error:
        _end(f"no answer from {_address(error)}: {str(error) or type(error).__name__}", error)
    except Exception as error:
        where = f"{variable_name('log', 'level')}=debug shows where"
        _end(f"this should not have happened: {type(error).__name__}: {error} ({where})", error)


def _end(line: str, error: Exception, code: int = 1) -> None:
    if _debugging():
        traceback.print_exception(error)
    said = f"drcap: {' '.join(line.split())}"
    if code == 1:
        sys.exit(said)
    typer.echo(said, err=True)
    sys.exit(code)


def _address(error: httpx.HTTPError) -> str:
    try:
        return str(error.request.url.copy_with(query=None))
    except RuntimeError:  # the error was raised before there was a request
        return "the service"


def _debugging() -> bool:
    try:
        return load_settings().log.level == "debug"
    except SettingsError:
        return False
