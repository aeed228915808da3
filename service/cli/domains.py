"""``drcap domains``: register, extend, show, search, export, roll back and remove domains, and watch their jobs."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli.client import Url, checked, connect, show
from service.cli.errors import CommandError
from service.cli.progress import follow, send

domains = typer.Typer(
    no_args_is_help=True, help="Register, extend, show, search, export and remove domains.", rich_markup_mode="markdown"
)

Name = Annotated[str, typer.Argument(help="of the domain")]
Corpus = Annotated[
    Path,
    typer.Argument(
        help=".txt, .csv, .tsv, .json, .ndjson or .parquet, also as .gz", exists=True, dir_okay=False, readable=True
    ),
]
Column = Annotated[str | None, typer.Option(help="column or key that holds the captions")]
SkipBadRows = Annotated[bool, typer.Option("--skip-bad-rows", help="leave bad rows out instead of refusing the file")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="print the job and leave; it goes on in the service")]


@domains.command("put", epilog="Example: `drcap domains put city captions.csv --column text`")
def put_domain(
    name: Name,
    file: Corpus,
    column: Column = None,
    skip_bad_rows: SkipBadRows = False,
    no_wait: NoWait = False,
    url: Url = None,
) -> None:
    """Register a domain, or replace it; captions it has already are not embedded again. Ctrl-C cancels."""
    _register("PUT", f"/domains/{name}", file, _params(column, skip_bad_rows), no_wait, url)


@domains.command("add", epilog="Example: `drcap domains add city more.txt`")
def add_captions(
    name: Name,
    file: Corpus,
    column: Column = None,
    skip_bad_rows: SkipBadRows = False,
    no_wait: NoWait = False,
    url: Url = None,
) -> None:
    """Add captions to a domain. Ctrl-C cancels."""
    _register("POST", f"/domains/{name}/captions", file, _params(column, skip_bad_rows), no_wait, url)


@domains.command("list", epilog="Example: `drcap domains list`")
def list_domains(url: Url = None) -> None:
    """List the domains."""
    with connect(url) as client:
        for one in checked(client.get("/domains")).json()["domains"]:
            typer.echo(f"{one['name']}\t{one['captions']} captions\t{one['version']}\t{one['created']}")


@domains.command("show", epilog="Example: `drcap domains show city`")
def show_domain(name: Name, url: Url = None) -> None:
    """Show a domain."""
    with connect(url) as client:
        show(checked(client.get(f"/domains/{name}")).json())


@domains.command("search", epilog='Example: `drcap domains search city "a dog in the rain" --limit 3`')
def search_domain(name: Name, text: Annotated[str, typer.Argument()], limit: int = 10, url: Url = None) -> None:
    """Show what the datastore would retrieve for a text."""
    with connect(url) as client:
        answer = checked(client.get(f"/domains/{name}/search", params={"q": text, "limit": limit}))
    for one in answer.json()["results"]:
        typer.echo(f"{one['score']:.3f}\t{one['caption']}")


@domains.command("export", epilog="Example: `drcap domains export city --out city.ndjson`")
def export_domain(
    name: Name,
    out: Annotated[Path | None, typer.Option(help="file to write; stdout when left out", dir_okay=False)] = None,
    url: Url = None,
) -> None:
    """Write every caption of a domain as NDJSON, which `put` takes again."""
    with connect(url) as client, client.stream("GET", f"/domains/{name}/captions") as answer:
        if not answer.is_success:
            answer.read()
        checked(answer)
        if out is None:
            for part in answer.iter_bytes():
                sys.stdout.buffer.write(part)
            return
        # Beside the target, which is replaced once everything has come.
        temporary = out.with_name(f"{out.name}.part")
        try:
            with temporary.open("wb") as file:
                for part in answer.iter_bytes():
                    file.write(part)
            temporary.replace(out)
        except OSError as error:
            raise CommandError(f"{out} cannot be written: {error.strerror}") from error
        finally:
            temporary.unlink(missing_ok=True)


@domains.command("rollback", epilog="Example: `drcap domains rollback city`")
def roll_back_domain(name: Name, url: Url = None) -> None:
    """Serve the version before the current one again."""
    with connect(url) as client:
        show(checked(client.post(f"/domains/{name}/rollback")).json())


@domains.command("rm", epilog="Example: `drcap domains rm city`")
def remove_domain(name: Name, url: Url = None) -> None:
    """Remove a domain with all its versions."""
    with connect(url) as client:
        checked(client.delete(f"/domains/{name}"))


@domains.command("jobs", epilog="Example: `drcap domains jobs`, or `drcap domains jobs 3f0c9a7be2d14c55`")
def list_jobs(
    job: Annotated[str | None, typer.Argument(help="show this one, with everything known of it")] = None,
    url: Url = None,
) -> None:
    """List the registrations that wait, run or have finished, the newest first."""
    with connect(url) as client:
        if job is not None:
            show(checked(client.get(f"/jobs/{job}")).json())
            return
        for one in checked(client.get("/jobs")).json()["jobs"]:
            progress, problem = one["progress"], one["problem"] or {}
            note = problem.get("detail", f"{progress['stored']} captions stored")
            typer.echo(f"{one['id']}\t{one['domain']}\t{one['kind']}\t{one['state']}\t{note}")


@domains.command("cancel", epilog="Example: `drcap domains cancel 3f0c9a7be2d14c55`")
def cancel_job(job: Annotated[str, typer.Argument(help="its id")], url: Url = None) -> None:
    """Cancel a registration; the domain stays as it was."""
    with connect(url) as client:
        typer.echo(checked(client.delete(f"/jobs/{job}")).json()["state"])


def _params(column: str | None, skip_bad_rows: bool) -> dict[str, str]:
    return ({"column": column} if column else {}) | ({"on_error": "skip"} if skip_bad_rows else {})


def _register(method: str, path: str, file: Path, params: dict[str, str], no_wait: bool, url: str | None) -> None:
    with connect(url) as client:
        job: dict[str, Any] = send(client, method, path, file, params)
        show(job if no_wait else follow(client, job))
