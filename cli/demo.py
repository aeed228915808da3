"""``drcap demo``: runs the real service on two sample domains and a few recordings."""

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.common.errors import CommandError
from cli.common.service_process import StartError, running_service

DOMAINS = ("field-notes", "storyteller")
STAGES = ("decode_audio", "embed_audio", "search", "projection", "generate", "total")
_REQUEST_SECONDS = 120.0


@dataclass(frozen=True)
class Sample:
    """A recording with the service's answers by domain."""

    name: str
    answers: Mapping[str, Mapping[str, Any]]


def demo(keep: bool = False) -> int:
    """Start the service on a free port, register the sample domains, caption the sample recordings, print all.

    The datastore is a temporary folder unless ``DRCAP_DATASTORE__PATH`` names one.

    Args:
        keep: keep the service running afterwards until it is interrupted.

    Returns:
        The exit code: 0, 130 if interrupted, or 1 after an error, which is printed. The service is always stopped.
    """
    console = Console(highlight=False)
    try:
        with ExitStack() as stack:
            examples = stack.enter_context(as_file(files("examples")))
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="drcap-demo-")))
            started = time.monotonic()
            with console.status("Starting the service ..."):
                url = stack.enter_context(running_service(folder))
            console.print(f"The service is ready at {url} after {time.monotonic() - started:.1f} s.")
            client = stack.enter_context(httpx.Client(base_url=url, timeout=_REQUEST_SECONDS, trust_env=False))
            register(client, examples / "domains", console)
            samples = list(captioned(client, sorted((examples / "audio").glob("*.ogg")), console))
            print_summary(samples, console)
            if keep:
                console.print(f"\nThe service stays at [bold]{url}[/] until you press Ctrl-C.")
                _wait_for_interrupt()
    except (CommandError, StartError) as error:
        console.print("[bold red]The demo failed:[/]", escape(str(error)), soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted; the service is stopped.")
        return 130
    print_next_steps(console)
    return 0


def register(client: httpx.Client, folder: Path, console: Console) -> None:
    """Register the sample domains, each a file ``NAME.txt`` with one caption a line. Raises CommandError."""
    for name in DOMAINS:
        started = time.monotonic()
        answer = _checked(
            client,
            "PUT",
            f"/domains/{name}",
            params={"wait": "true"},
            content=(folder / f"{name}.txt").read_bytes(),
            headers={"Content-Type": "text/plain; charset=utf-8"},
        )
        seconds = time.monotonic() - started
        console.print(f"Domain [bold]{name}[/]: {answer['captions']} captions in {seconds:.1f} s.")


def captioned(client: httpx.Client, recordings: Sequence[Path], console: Console) -> Iterator[Sample]:
    """Caption each recording in each domain, print and yield the answers. Raises CommandError."""
    if not recordings:
        raise CommandError("there are no sample recordings; `make audio` makes them")
    for path in recordings:
        audio = path.read_bytes()
        answers = {
            name: _checked(
                client,
                "POST",
                "/caption",
                params={"domain": name, "response_format": "verbose_json"},
                files={"file": (path.name, audio)},
            )
            for name in DOMAINS
        }
        sample = Sample(path.stem, answers)
        print_sample(sample, console)
        yield sample


def print_sample(sample: Sample, console: Console) -> None:
    """Print, for each domain, the caption, the similar captions with scores, and the milliseconds of each stage."""
    first = next(iter(sample.answers.values()))
    console.print(f"\n[bold cyan]{sample.name}[/], {first['duration']:.1f} s")
    for domain, answer in sample.answers.items():
        console.print(f"  {domain:>12}  [bold]{escape(answer['caption'])}[/]", soft_wrap=True)
        lines = [f"{one['score']:5.2f}  {one['caption']}" for one in answer["similar_captions"]]
        for line in (*lines, _milliseconds(answer)):
            console.print(f"{'':14}  [dim]{escape(line)}[/]", soft_wrap=True)


def print_summary(samples: Sequence[Sample], console: Console) -> None:
    """Print a row for each recording: its caption in each domain, and the milliseconds of the slower answer."""
    table = Table(title="\nThe same recordings in the words of two domains", title_justify="left", show_lines=True)
    table.add_column("recording", style="cyan", no_wrap=True)
    for domain in DOMAINS:
        table.add_column(domain)
    table.add_column("ms", justify="right")
    for sample in samples:
        slowest = max(answer["timings"]["total"] for answer in sample.answers.values())
        captions = (escape(sample.answers[domain]["caption"]) for domain in DOMAINS)
        table.add_row(sample.name, *captions, f"{1000 * slowest:.0f}")
    console.print(table)


def print_next_steps(console: Console) -> None:
    """Print how to keep a service, with the commands of the README."""
    console.print(
        "\nTo keep it running, with domains that survive a restart:\n"
        "  make serve\n"
        "and in another terminal:\n"
        "  curl -X PUT -H 'Content-Type: text/plain' --data-binary @examples/domains/field-notes.txt"
        " 'http://127.0.0.1:8000/domains/field-notes?wait=true'\n"
        "  curl -F file=@examples/audio/rain.ogg -F domain=field-notes http://127.0.0.1:8000/caption\n"
        "The API, with examples to try: http://127.0.0.1:8000/docs",
        markup=False,
        soft_wrap=True,
    )


def _checked(client: httpx.Client, method: str, path: str, **options: Any) -> dict[str, Any]:
    try:
        response = client.request(method, path, **options)
    except httpx.HTTPError as error:
        raise CommandError(f"{method} {path}: {error or type(error).__name__}") from error
    if response.is_error:
        raise CommandError(f"{method} {path} was answered with {response.status_code}: {response.text}")
    answer: dict[str, Any] = response.json()
    return answer


def _wait_for_interrupt() -> None:
    try:
        while True:
            time.sleep(1.0)
    except KeyboardInterrupt:
        return


def _milliseconds(answer: Mapping[str, Any]) -> str:
    seconds = answer["timings"]
    stages = ", ".join(f"{stage} {1000 * seconds[stage]:.0f}" for stage in STAGES if stage in seconds)
    return f"{stages} ms"
