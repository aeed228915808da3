"""``drcap caption``: captions recordings, to stdout, to a table or to a file each."""

from pathlib import Path
from typing import Annotated

import typer

from cli.captioning.local import domain_of
from cli.captioning.outputs import CaptionOutput, FileOutput, OutputFormat, PrintedOutput, Say, targets
from cli.captioning.run import CaptionCommand, run
from cli.captioning.tables import TableOutput
from cli.common.client import Url
from cli.common.completion import Domain
from cli.common.errors import CommandError, WrongUsage
from cli.common.manual import examples
from cli.common.recordings import find
from cli.common.stdin import existing_or_stdin
from service.settings import load_settings, variable_name

_TABLES = {".csv": OutputFormat.csv, ".ndjson": OutputFormat.ndjson, ".jsonl": OutputFormat.ndjson}
_OUTPUT, _SERVICE = "Where captions go", "Who captions"

Files = Annotated[
    list[Path],
    typer.Argument(
        help="recordings, folders of them, or - for one recording from stdin",
        metavar="FILE|DIR|-",
        callback=existing_or_stdin,
        show_default=False,
    ),
]
Formatted = Annotated[
    OutputFormat | None,
    typer.Option(
        "--format",
        metavar="FORMAT",
        help="text (the default), json, verbose_json, srt or vtt as the service answers; ndjson or csv for a table",
        rich_help_panel=_OUTPUT,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        help="file of the table, ndjson or csv by its name; with other formats a folder, which gets a file for each"
        " recording in the same subfolders",
        rich_help_panel=_OUTPUT,
    ),
]
Besides = Annotated[bool, typer.Option("--beside", help="write a file beside each recording", rich_help_panel=_OUTPUT)]
Force = Annotated[
    bool,
    typer.Option("--force", help="replace existing captions instead of keeping them", rich_help_panel=_OUTPUT),
]
Parallel = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=64,
        metavar="N",
        help=f"requests at a time; by default enough for a batch ({variable_name('batching', 'prompts')})",
        rich_help_panel=_SERVICE,
    ),
]
Local = Annotated[
    bool,
    typer.Option(
        "--local",
        help="caption in this process, with the bundle and datastore of the settings",
        rich_help_panel=_SERVICE,
    ),
]
Corpus = Annotated[
    Path | None,
    typer.Option(
        help="with --local: caption in a domain made of this file",
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
1    some have none, or the service does not answer
2    the command line is wrong
130  interrupted; with --out or --beside the same command continues""",
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
    """Caption recordings: files, folders or stdin.

    With --out or --beside the same command continues a run that was
    stopped: captions stay, and failures are tried again.
    """
    _check(domain, url, local, corpus)
    form = _format(response_format, out, beside)
    settings, found = load_settings(), find(files)
    if not (found.recordings or found.unreadable):
        raise CommandError(f"there are no recordings in {', '.join(map(str, files))}")
    recordings, named = found.recordings, len(files) > 1 or files[0].is_dir()

    def output(say: Say) -> CaptionOutput:
        if form.rows is not None and out is not None:
            return TableOutput(out, form.rows, recordings, domain if corpus is None else domain_of(corpus), force)
        if out is None and not beside:
            return PrintedOutput(say, named, form.rows)
        if any(one.is_stdin for one in recordings):
            raise WrongUsage("a recording from stdin has no file name: omit --beside and --out")
        return FileOutput(targets(recordings, form.suffix, out), force)

    command = CaptionCommand(settings, form.asked, domain, parallel, url, local, corpus)
    raise typer.Exit(run(command, found, output))


def _check(domain: str | None, url: str | None, local: bool, corpus: Path | None) -> None:
    if local and url is not None:
        raise WrongUsage("--local asks no service: omit --url")
    if corpus is not None and not local:
        raise WrongUsage("--corpus goes with --local; `drcap domains put` gives captions to a service")
    if corpus is not None and domain is not None:
        raise WrongUsage("--corpus makes its own domain: omit --domain")


def _format(given: OutputFormat | None, out: Path | None, beside: bool) -> OutputFormat:
    """Return the format as given or as `out` implies. Raises `WrongUsage` if they do not go together."""
    single = "vtt, srt, json, verbose_json or text"
    if beside and (given is None or given.rows is not None):
        raise WrongUsage(f"--beside needs a --format for one recording: {single}")
    if given is None:
        if out is None:
            return OutputFormat.text
        if (named := _TABLES.get(out.suffix.lower())) is None:
            raise WrongUsage(f"--out {out} needs a --format: ndjson or csv for a table, {single} for a folder of files")
        return named
    if out is not None and given.rows is None and out.suffix == given.suffix and not out.is_dir():
        raise WrongUsage(f"--out is a folder if --format is {given.value}; for one recording write > {out}")
    return given
