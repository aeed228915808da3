"""`python -m benchmarks SUBJECT`: measure beside peers, print a table, write JSON."""

from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import torch
import typer
from rich.console import Console

from benchmarks import datastore, hearing, projection, registration
from benchmarks.captions import TooFewCaptions, load_captions
from benchmarks.report import Report
from benchmarks.vectors import FloatArray
from cli.captioning.recordings import SUFFIXES
from datastores.corpus.reader import CorpusError
from models.clap.alignment import AlignmentHead
from models.clap.embedded import EmbeddedClap
from service.audio.decoding import decode
from service.settings import AudioSettings

_WIDTH = 170

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
Json = Annotated[Path | None, typer.Option("--json", help="Write the results, with machine facts, to this file.")]
Corpus = Annotated[
    Path | None,
    typer.Option(
        "--corpus",
        exists=True,
        dir_okay=False,
        help="Captions in any format registration reads; generated from the sample domains when left out.",
    ),
]
Clips = Annotated[Path, typer.Option(exists=True, file_okay=False, help="Folder of the recordings that are sent.")]
Captions = Annotated[int, typer.Option("--captions", min=50, help="Captions to take from the corpus and embed.")]


@app.command("projection")
def measure_projection(
    json: Json = None,
    corpus: Corpus = None,
    captions: Captions = 5_000,
    size: Annotated[list[int] | None, typer.Option("--size", min=50, help="Support sizes; repeatable.")] = None,
    dimension: Annotated[list[int] | None, typer.Option("--dimension", min=384, help="Repeatable.")] = None,
    temperature: Annotated[list[float] | None, typer.Option("--temperature", help="Repeatable.")] = None,
    head: Annotated[
        list[int] | None, typer.Option("--head", min=1, help="Captions summed exactly; repeatable.")
    ] = None,
    queries: Annotated[int, typer.Option("--queries", min=1)] = 500,
    store: Annotated[bool, typer.Option(help="Also time the search of the embedded store.")] = True,
) -> None:
    """Head and closed-form tail against the exact softmax: cosine, latency, and ratio to numpy and torch.

    Captions are embedded and, beyond their number, copied with noise until each size is reached. Queries are
    held-out captions with as much noise again, and random directions. A million captions need about 6 GB.
    """
    defaults = projection.ProjectionSettings()
    settings = projection.ProjectionSettings(
        tuple(size or defaults.sizes),
        tuple(dimension or defaults.dimensions),
        tuple(temperature or defaults.temperatures),
        tuple(head or defaults.heads),
        queries,
        store,
    )
    report, console = _report("projection", settings, corpus, captions)
    projection.run(_vectors(corpus, captions, console), settings, report, console)
    _finish(report, console, json)


@app.command("datastore")
def measure_datastore(
    json: Json = None,
    corpus: Corpus = None,
    captions: Captions = 5_000,
    size: Annotated[list[int] | None, typer.Option("--size", min=50, help="Numbers stored; repeatable.")] = None,
    queries: Annotated[int, typer.Option("--queries", min=1)] = 200,
    local_captions: Annotated[
        int, typer.Option("--local-captions", help="Most captions for qdrant-client's local mode, which fills slowly.")
    ] = 50_000,
) -> None:
    """The embedded engine beside qdrant-client's local mode and FAISS (flat, HNSW): build, reopen, query, recall, RSS.

    Every engine is built in one process and asked in another. FAISS is left out, with a note, unless faiss-cpu is
    installed.
    """
    sizes = tuple(size or datastore.DatastoreSettings().sizes)
    settings = datastore.DatastoreSettings(sizes, queries=queries, local_captions=local_captions)
    report, console = _report("datastore", settings, corpus, captions)
    datastore.run(_vectors(corpus, captions, console), settings, report, console)
    _finish(report, console, json)


@app.command("registration")
def measure_registration(
    json: Json = None,
    corpus: Corpus = None,
    captions: Captions = 5_000,
    changed: Annotated[float, typer.Option(min=0.0, max=0.5, help="Share that is new when registering again.")] = 0.01,
    batch: Annotated[int, typer.Option(min=1, help="Captions a step of the loop.")] = 32,
) -> None:
    """Registration against the loop one writes first, and registering again with few captions changed.

    The loop encodes in order of arrival, padded, and stores each batch before the next: once into qdrant-client's
    local mode, once into the embedded store, which leaves the difference in embedding alone.
    """
    settings = registration.RegistrationSettings(changed, batch)
    report, console = _report("registration", settings, corpus, captions)
    texts = _captions(corpus, captions)
    plain = registration.plain_minilm(AlignmentHead.from_file(_weights(), torch.device("cpu")).centre_text)
    registration.run(texts, _clap(), plain, settings, report, console)
    _finish(report, console, json)


@app.command("serving")
def measure_serving(
    json: Json = None,
    corpus: Corpus = None,
    captions: Captions = 2_000,
    clips: Clips = Path("examples/audio"),
    server: Annotated[list[str] | None, typer.Option("--server", help="drcap, a, b or c; repeatable.")] = None,
    clients: Annotated[list[int] | None, typer.Option("--clients", min=1, help="Closed loops; repeatable.")] = None,
    seconds: Annotated[float, typer.Option(min=1.0, help="Of each measurement.")] = 60.0,
    ramp: Annotated[float, typer.Option(min=0.0, help="Seconds of load before each.")] = 15.0,
    rounds: Annotated[int, typer.Option(min=1, help="Of all servers in turn; the middle rate counts.")] = 1,
    overload: Annotated[
        list[float] | None, typer.Option("--overload", help="Multiples of the best rate; repeatable, 0 for none.")
    ] = None,
) -> None:
    """The service under load, beside (a) a FastAPI handler around transformers' generate in float32, one request at
    a time, (b) LitServe with dynamic batching around the same, padded, and (c) LitServe around our own captioner.

    Every server is a process of its own. Beside them stands what the stages cost alone, and the bound that follows.
    """
    from benchmarks.serving import measure

    defaults = measure.ServingSettings()
    settings = measure.ServingSettings(
        tuple(server or defaults.servers),
        tuple(clients or defaults.clients),
        seconds,
        ramp,
        rounds,
        tuple(times for times in overload if times) if overload else defaults.overload,
    )
    recordings = _recordings(clips)
    report, console = _report("serving", settings, corpus, captions)
    measure.run(_captions(corpus, captions), _vectors(corpus, captions, console), recordings, settings, report, console)
    _finish(report, console, json)


@app.command("soak")
def measure_soak(
    json: Json = None,
    corpus: Corpus = None,
    captions: Captions = 2_000,
    clips: Clips = Path("examples/audio"),
    clients: Annotated[int, typer.Option(min=1, help="Requests under way at any time.")] = 16,
    minutes: Annotated[float, typer.Option(min=1.0)] = 20.0,
) -> None:
    """The service at its capacity for long: memory, file descriptors and threads, minute by minute."""
    from benchmarks.serving.plain import save_domain
    from benchmarks.serving.soak import SoakSettings, soak

    settings = SoakSettings(clients, minutes)
    report, console = _report("soak", settings, corpus, captions)
    with TemporaryDirectory() as folder:
        domain = Path(folder) / "domain.npz"
        save_domain(domain, _captions(corpus, captions), _vectors(corpus, captions, console))
        soak(domain, _recordings(clips), settings, report)
    _finish(report, console, json)


@app.command("hearing")
def measure_hearing(
    json: Json = None,
    clips: Clips = Path("examples/audio"),
    rounds: Annotated[int, typer.Option(min=1, help="Of both forms in turn; the median counts.")] = 5,
) -> None:
    """The embedded CLAP's audio side as it runs on a CPU, beside plain convolutions, on one core."""
    settings = hearing.HearingSettings(rounds)
    report, console = Report("hearing", vars(settings)), _console()
    fast, plain = _clap(), EmbeddedClap.load(_weights(), torch.device("cpu"), exact=True)
    heard = [decode(one, fast.sample_rate, AudioSettings()) for one in _recordings(clips)]
    windows = [window for one in heard for window in one.windows(fast.window_seconds)]
    hearing.run(fast, plain, windows, settings, report)
    _finish(report, console, json)


@app.command("full-size")
def measure_full_size(
    json: Json = None,
    device: Annotated[str, typer.Option(help="As DRCAP_DEVICE.")] = "auto",
    way: Annotated[
        list[str] | None, typer.Option("--way", help="dtype or quantisation of the LLM; repeatable.")
    ] = None,
    batch: Annotated[list[int] | None, typer.Option("--batch", min=1, help="Prompts at a time; repeatable.")] = None,
    tokens: Annotated[int, typer.Option(min=1, help="Written for each prompt.")] = 16,
    captions: Annotated[int, typer.Option("--captions", min=50, help="Of the domain.")] = 300,
    tiny: Annotated[bool, typer.Option("--tiny", help="A few thousand parameters, to try the command.")] = False,
) -> None:
    """A CLAP and a Llama of full size with random weights, in a bundle that the service's own code loads: memory,
    the stages of one clip, and the decoder beside transformers' generate.

    By default in float32 and int8 at batches of 1 and 8 on a CPU; in bfloat16 at 1, 8 and 32 on a GPU, where it has
    never been run. Needs about 10 GB of memory and 4 GB of disk.
    """
    from benchmarks.full_size.measure import FullSizeSettings, run

    on_gpu = torch.cuda.is_available() and device != "cpu"
    ways, batches = (("bfloat16",), (1, 8, 32)) if on_gpu else (("float32", "int8"), (1, 8))
    settings = FullSizeSettings(device, tuple(way or ways), tuple(batch or batches), tokens, captions, tiny)
    report, console = Report("full-size", vars(settings)), _console()
    run(settings, report, console)
    _finish(report, console, json)


def _recordings(clips: Path) -> list[bytes]:
    recordings = [path.read_bytes() for path in sorted(clips.iterdir()) if path.suffix.lower() in SUFFIXES]
    if not recordings:
        raise typer.BadParameter(f"there are no recordings in {clips}")
    return recordings


def _report(subject: str, settings: object, corpus: Path | None, captions: int) -> tuple[Report, Console]:
    source = corpus.name if corpus else "generated"
    return Report(subject, {**vars(settings), "corpus": source, "corpus_captions": captions}), _console()


def _console() -> Console:
    console = Console()
    # A file or a pipe has no width of its own, and the tables need more than the 80 columns taken for it.
    return console if console.is_terminal else Console(width=_WIDTH)


def _captions(corpus: Path | None, count: int) -> list[str]:
    try:
        return load_captions(corpus, count)
    except (TooFewCaptions, CorpusError) as error:
        raise typer.BadParameter(str(error)) from error


def _clap() -> EmbeddedClap:
    return EmbeddedClap.load(_weights(), torch.device("cpu"))


def _weights() -> Path:
    return Path(str(files("models.embedded") / "clap.safetensors"))


def _vectors(corpus: Path | None, count: int, console: Console) -> FloatArray:
    texts = _captions(corpus, count)
    console.print(f"embedding {count:,} captions")
    return _clap().embed_text(texts)


def _finish(report: Report, console: Console, json: Path | None) -> None:
    report.show(console)
    if json is not None:
        report.write(json)
        console.print(f"written to {json}", markup=False)


if __name__ == "__main__":
    app()
