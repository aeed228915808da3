"""``drcap caption``: recordings in, captions on stdout, in a table, or in a file each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from cli.captioning.local import domain_of
from cli.captioning.outputs import Beside, Format, Printed, Results, Say, targets
from cli.captioning.recordings import Recording, find
from cli.captioning.run import Wish, run
from cli.captioning.tables import Table
from cli.common.client import Url
from cli.common.completion import Domain
from cli.common.errors import CommandError, WrongUsage
from cli.common.manual import examples
from cli.common.stdin import there
from service.settings import load_settings

_TABLES = {".csv": Format.csv, ".ndjson": Format.ndjson, ".jsonl": Format.ndjson}
_OUTPUT, _SERVICE = "Where captions go", "Who captions"

Files = Annotated[
    list[Path],
    typer.Argument(
        help="recordings, folders of them, or - for one recording from stdin",
        metavar="FILE|DIR|-",
        callback=there,
        show_default=False,
    ),
]
Formatted = Annotated[
    Format | None,
    typer.Option(
        "--format",
        metavar="FORMAT",
        help="text (the default), json, verbose_json, srt or vtt as the service has them; ndjson or csv: a table",
        rich_help_panel=_OUTPUT,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        help="file of the table, ndjson or csv by its name; with the other formats the folder for a file each,"
        " as the recordings lie in theirs",
        rich_help_panel=_OUTPUT,
    ),
]
Besides = Annotated[bool, typer.Option("--beside", help="write a file beside each recording", rich_help_panel=_OUTPUT)]
Force = Annotated[
    bool,
    typer.Option("--force", help="replace what is there; without it, what is there is done", rich_help_panel=_OUTPUT),
]
Parallel = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=64,
        metavar="N",
        help="requests at a time; by default what fills a batch (DRCAP_BATCHING__PROMPTS)",
        rich_help_panel=_SERVICE,
    ),
]
Local = Annotated[
    bool,
    typer.Option(
        "--local", help="caption in this process, with the settings' bundle and datastore", rich_help_panel=_SERVICE
    ),
]
Corpus = Annotated[
    Path | None,
    typer.Option(
        help="with --local: caption in a domain made of this file of captions",
        exists=True,
        dir_okay=False,
        rich_help_panel=_SERVICE,
    ),
]

EPILOG = examples(
    "drcap caption rain.wav siren.ogg --domain city",
    "drcap caption recordings --domain city --out captions.csv",
    "drcap caption recordings --format vtt --beside",
    "drcap caption recordings --format srt --out subtitles",
    "drcap caption recordings --local --corpus captions.txt --format ndjson",
    "ffmpeg -i film.mp4 -f wav - | drcap caption - --domain city",
    codes="""\
0    every recording has its caption
1    some have none, or the service could not be asked
2    the command line is wrong
130  interrupted; with --out or --beside the same command goes on""",
)


def caption(
    files: Files,
    domain: Domain = None,
    response_format: Formatted = None,
    out: Out = None,
    beside: Besides = False,
    force: Force = False,
    parallel: Parallel = None,
    url: Url = None,
    local: Local = False,
    corpus: Corpus = None,
) -> None:
    """Caption recordings: files, whole folders, or what comes from stdin.

    With --out or --beside a command that was stopped goes on when it is
    given again: what is done stays, what failed is tried again.
    """
    _check(domain, url, local, corpus)
    form = _format(response_format, out, beside)
    settings, found = load_settings(), find(files)
    if not (found.recordings or found.unreadable):
        raise CommandError(f"there are no recordings in {', '.join(map(str, files))}")
    where = Where(form, out, beside, force, domain if corpus is None else domain_of(corpus))
    named = len(files) > 1 or files[0].is_dir()
    wish = Wish(settings, form.asked, domain, parallel, url, local, corpus)
    raise typer.Exit(run(wish, found, lambda say: where.results(found.recordings, say, named)))


@dataclass(frozen=True)
class Where:
    """The options that say where captions go, seen to go together."""

    form: Format
    out: Path | None
    beside: bool
    force: bool
    domain: str | None

    def results(self, recordings: Sequence[Recording], say: Say, named: bool) -> Results:
        """What takes the captions of these recordings. Raises `CommandError`."""
        if self.form.rows is not None and self.out is not None:
            return Table(self.out, self.form.rows, recordings, self.domain, self.force)
        if self.out is None and not self.beside:
            return Printed(say, named, self.form.rows)
        if any(one.is_stdin for one in recordings):
            raise WrongUsage("what comes from stdin has no name for a file of its own: leave --beside and --out out")
        return Beside(targets(recordings, self.form.suffix, self.out), self.force)


def _check(domain: str | None, url: str | None, local: bool, corpus: Path | None) -> None:
    if local and url is not None:
        raise WrongUsage("--local asks no service: leave --url out")
    if corpus is not None and not local:
        raise WrongUsage("--corpus goes with --local; `drcap domains put` gives captions to a service")
    if corpus is not None and domain is not None:
        raise WrongUsage("--corpus makes a domain of its own: leave --domain out")


def _format(given: Format | None, out: Path | None, beside: bool) -> Format:
    """The format as given or as `out` says. Raises `WrongUsage` where they do not go together."""
    single = "vtt, srt, json, verbose_json or text"
    if beside and (given is None or given.rows is not None):
        raise WrongUsage(f"--beside needs a --format of one recording: {single}")
    if given is None:
        if out is None:
            return Format.text
        if (named := _TABLES.get(out.suffix.lower())) is None:
            raise WrongUsage(
                f"--out {out} needs a --format: ndjson or csv for a table, {single} for a folder with a file each"
            )
        return named
    if out is not None and given.rows is None and out.suffix == given.suffix and not out.is_dir():
        raise WrongUsage(f"--out is a folder where --format is {given.value}; for one recording write > {out}")
    return given
