"""``drcap domains``: register, extend, show, search, export, roll back and remove domains, and watch their jobs."""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cli.common.client import Json, Url, checked, connect, print_json
from cli.common.completion import DomainName
from cli.common.errors import CommandError
from cli.common.files import replacing
from cli.common.jobs import follow, send
from cli.common.manual import examples
from cli.common.parquet import readable
from cli.common.stdin import STDIN, existing_or_stdin
from datastores.corpus.formats import suffixes
from service.settings import load_settings, variable_name

domains = typer.Typer(
    no_args_is_help=True,
    help="Register, extend, show, search, export and remove domains.",
    epilog=examples(
        "drcap domains put city captions.csv --column text",
        "drcap domains list",
        'drcap domains search city "a dog in the rain"',
    ),
)

_CHUNK = 1 << 20

Corpus = Annotated[
    Path,
    typer.Argument(
        help=f"{suffixes('.parquet')}, also as .gz; - reads stdin",
        callback=existing_or_stdin,
        dir_okay=False,
        readable=True,
    ),
]
Column = Annotated[str | None, typer.Option(help="column or key that holds the captions")]
SkipBadRows = Annotated[bool, typer.Option("--skip-bad-rows", help="skip bad rows instead of refusing the file")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="print the job and exit; the service continues it")]


def _registration(command: str, method: str, path: str, about: str, *lines: str) -> None:
    """Add a command that sends a corpus to a path of the domain."""

    @domains.command(command, help=about, epilog=examples(*lines))
    def register(
        name: DomainName,
        file: Corpus,
        column: Column = None,
        skip_bad_rows: SkipBadRows = False,
        no_wait: NoWait = False,
        url: Url = None,
    ) -> None:
        params = ({"column": column} if column else {}) | ({"on_error": "skip"} if skip_bad_rows else {})
        with connect(url) as client, _as_file(file) as given, readable(given, column) as corpus:
            job = send(client, method, path.format(name=name), corpus, params)
            print_json(job if no_wait else follow(client, job))


_registration(
    "put",
    "PUT",
    "/domains/{name}",
    "Register a domain, or replace it without embedding known captions again. Ctrl-C cancels.",
    "drcap domains put city captions.txt",
    "drcap domains put city captions.csv --column text --skip-bad-rows",
    "zcat a.txt.gz b.txt.gz | drcap domains put city -",
)
_registration(
    "add",
    "POST",
    "/domains/{name}/captions",
    "Add captions to a domain. Ctrl-C cancels.",
    "drcap domains add city more.txt",
    "echo 'Hail rattles on glass.' | drcap domains add city -",
)


@domains.command("list", epilog=examples("drcap domains list", "drcap domains list --json"))
def list_domains(as_json: Json = False, url: Url = None) -> None:
    """List the domains: as a table on a terminal, otherwise with tabs."""
    with connect(url) as client:
        answer = checked(client.get("/domains")).json()
    if as_json:
        print_json(answer)
    elif sys.stdout.isatty():
        rows = [(one["name"], f"{one['captions']:,}", one["version"], one["created"]) for one in answer["domains"]]
        _print_table(("domain", "captions", "version", "created"), rows)
    else:
        for one in answer["domains"]:
            typer.echo(f"{one['name']}\t{one['captions']} captions\t{one['version']}\t{one['created']}")


@domains.command("show", epilog=examples("drcap domains show city", "drcap domains show city --json"))
def show_domain(name: DomainName, as_json: Json = False, url: Url = None) -> None:
    """Show a domain: as a table on a terminal, otherwise as JSON."""
    with connect(url) as client:
        answer = checked(client.get(f"/domains/{name}")).json()
    if as_json or not sys.stdout.isatty():
        print_json(answer)
    else:
        _print_table(None, [(key.replace("_", " "), str(value)) for key, value in answer.items()])


@domains.command("search", epilog=examples('drcap domains search city "a dog in the rain" --limit 3'))
def search_domain(
    name: DomainName,
    text: Annotated[str, typer.Argument(help="description of a sound")],
    limit: Annotated[int, typer.Option(help="number of captions, best first")] = 10,
    url: Url = None,
) -> None:
    """Show the captions that the datastore retrieves for a text."""
    with connect(url) as client:
        answer = checked(client.get(f"/domains/{name}/search", params={"q": text, "limit": limit}))
    for one in answer.json()["results"]:
        typer.echo(f"{one['score']:.3f}\t{one['caption']}")


@domains.command("export", epilog=examples("drcap domains export city --out city.ndjson"))
def export_domain(
    name: DomainName,
    out: Annotated[Path | None, typer.Option(help="file to write; by default stdout", dir_okay=False)] = None,
    url: Url = None,
) -> None:
    """Write every caption of a domain as NDJSON, which `put` accepts."""
    with connect(url) as client, client.stream("GET", f"/domains/{name}/captions") as answer:
        if not answer.is_success:
            answer.read()
        checked(answer)
        if out is None:
            for part in answer.iter_bytes():
                sys.stdout.buffer.write(part)
            return
        with replacing(out) as file:
            for part in answer.iter_bytes():
                file.write(part)


@domains.command("rollback", epilog=examples("drcap domains rollback city"))
def roll_back_domain(name: DomainName, url: Url = None) -> None:
    """Serve the previous version again."""
    with connect(url) as client:
        print_json(checked(client.post(f"/domains/{name}/rollback")).json())


@domains.command("rm", epilog=examples("drcap domains rm city"))
def remove_domain(name: DomainName, url: Url = None) -> None:
    """Remove a domain with all its versions."""
    with connect(url) as client:
        checked(client.delete(f"/domains/{name}"))


@domains.command("jobs", epilog=examples("drcap domains jobs", "drcap domains jobs 3f0c9a7be2d14c55"))
def list_jobs(
    job: Annotated[str | None, typer.Argument(help="id of one job to show in full")] = None,
    url: Url = None,
) -> None:
    """List waiting, running and finished registrations, newest first."""
    with connect(url) as client:
        if job is not None:
            print_json(checked(client.get(f"/jobs/{job}")).json())
            return
        for one in checked(client.get("/jobs")).json()["jobs"]:
            progress, problem = one["progress"], one["problem"] or {}
            note = problem.get("detail", f"{progress['stored']} captions stored")
            typer.echo(f"{one['id']}\t{one['domain']}\t{one['kind']}\t{one['state']}\t{note}")


@domains.command("cancel", epilog=examples("drcap domains cancel 3f0c9a7be2d14c55"))
def cancel_job(job: Annotated[str, typer.Argument(help="id of the job")], url: Url = None) -> None:
    """Cancel a registration; the domain stays unchanged."""
    with connect(url) as client:
        typer.echo(checked(client.delete(f"/jobs/{job}")).json()["state"])


def _print_table(columns: Sequence[str] | None, rows: Sequence[Sequence[str]]) -> None:
    table = Table(*(columns or ()), show_header=columns is not None, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    Console(highlight=False, markup=False).print(table)


@contextmanager
def _as_file(corpus: Path) -> Iterator[Path]:
    """Yield the corpus as a file; stdin is copied to a temporary one. Raises `CommandError` over the limit."""
    if corpus != STDIN:
        yield corpus
        return
    limit = load_settings().corpus.max_bytes
    with tempfile.TemporaryDirectory(prefix="drcap-corpus-") as folder:
        path = Path(folder, "stdin")
        with path.open("wb") as file:
            while data := sys.stdin.buffer.read(_CHUNK):
                if file.tell() + len(data) > limit:
                    raise CommandError(
                        f"more than {limit:,} bytes came from stdin ({variable_name('corpus', 'max_bytes')})"
                    )
                file.write(data)
        yield path
