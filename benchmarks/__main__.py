"""`python -m benchmarks SUBJECT`: measure beside peers, print a table, write JSON."""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import torch
import typer
from rich.console import Console

from benchmarks import datastore, hearing, projection, registration
from benchmarks.inputs import (
    Captions,
    Clips,
    CorpusFile,
    Json,
    caption_vectors,
    clap_weights,
    corpus_facts,
    embedded_clap,
    measured,
    read_captions,
    read_recordings,
)
from benchmarks.report import BenchmarkReport
from models.clap.alignment import AlignmentHead
from service.audio.decoding import decode
from service.settings import AudioSettings

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)


@app.command("projection")
def measure_projection(
    json: Json = None,
    corpus: CorpusFile = None,
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
    """Compare head and closed-form tail with the exact softmax: cosine, latency, and ratio to numpy and torch.

    Sizes beyond the number of captions are reached with noisy copies of their vectors. Queries are held-out captions
    with noise of their own length, and random directions. A million captions need about 6 GB.
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

    def run(report: BenchmarkReport, console: Console) -> None:
        projection.run(caption_vectors(corpus, captions, console), settings, report, console)

    measured("projection", settings, json, run, **corpus_facts(corpus, captions))


@app.command("datastore")
def measure_datastore(
    json: Json = None,
    corpus: CorpusFile = None,
    captions: Captions = 5_000,
    size: Annotated[list[int] | None, typer.Option("--size", min=50, help="Numbers of captions; repeatable.")] = None,
    queries: Annotated[int, typer.Option("--queries", min=1)] = 200,
    local_captions: Annotated[
        int, typer.Option("--local-captions", help="Most captions for qdrant-client's local mode, which fills slowly.")
    ] = 50_000,
) -> None:
    """Compare the embedded engine with qdrant-client's local mode and FAISS: build, reopen, query, recall, RSS.

    Every engine is built in one process and queried in another. Without faiss-cpu a note replaces FAISS.
    """
    sizes = tuple(size or datastore.DatastoreBenchmarkSettings().sizes)
    settings = datastore.DatastoreBenchmarkSettings(sizes, queries=queries, local_captions=local_captions)

    def run(report: BenchmarkReport, console: Console) -> None:
        datastore.run(caption_vectors(corpus, captions, console), settings, report, console)

    measured("datastore", settings, json, run, **corpus_facts(corpus, captions))


@app.command("registration")
def measure_registration(
    json: Json = None,
    corpus: CorpusFile = None,
    captions: Captions = 5_000,
    changed: Annotated[float, typer.Option(min=0.0, max=0.5, help="Share that is new when registering again.")] = 0.01,
    batch: Annotated[int, typer.Option(min=1, help="Captions in a step of the loop.")] = 32,
) -> None:
    """Compare registration with the obvious loop, and register again with few captions changed.

    The loop encodes padded batches in order of arrival and stores each before the next: once into qdrant-client's
    local mode, and once into the embedded store, where only embedding differs from ours.
    """
    settings = registration.RegistrationSettings(changed, batch)
    texts = read_captions(corpus, captions)
    plain = registration.plain_minilm(AlignmentHead.from_file(clap_weights(), torch.device("cpu")).centre_text)
    run = partial(registration.run, texts, embedded_clap(), plain, settings)
    measured("registration", settings, json, run, **corpus_facts(corpus, captions))


@app.command("serving")
def measure_serving(
    json: Json = None,
    corpus: CorpusFile = None,
    captions: Captions = 2_000,
    clips: Clips = Path("examples/audio"),
    server: Annotated[list[str] | None, typer.Option("--server", help="drcap, a, b or c; repeatable.")] = None,
    clients: Annotated[list[int] | None, typer.Option("--clients", min=1, help="Closed loops; repeatable.")] = None,
    seconds: Annotated[float, typer.Option(min=1.0, help="Length of each measurement.")] = 60.0,
    ramp: Annotated[float, typer.Option(min=0.0, help="Seconds of load before each.")] = 15.0,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of all servers in turn; the middle rate counts.")] = 1,
    overload: Annotated[
        list[float] | None, typer.Option("--overload", help="Multiples of the best rate; repeatable, 0 for none.")
    ] = None,
) -> None:
    """Put the service and its peers under load.

    The peers are (a) a FastAPI handler around transformers' generate in float32, one request at a time, (b) LitServe
    with dynamic batching around the same, padded, and (c) LitServe around our own captioner. Every server is a
    process of its own. The report also has the cost of each stage alone, and the bound that follows.
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
    recordings, texts = read_recordings(clips), read_captions(corpus, captions)

    def run(report: BenchmarkReport, console: Console) -> None:
        measure.run(texts, caption_vectors(corpus, captions, console), recordings, settings, report, console)

    measured("serving", settings, json, run, **corpus_facts(corpus, captions))


@app.command("soak")
def measure_soak(
    json: Json = None,
    corpus: CorpusFile = None,
    captions: Captions = 2_000,
    clips: Clips = Path("examples/audio"),
    clients: Annotated[int, typer.Option(min=1, help="Requests under way at any time.")] = 16,
    minutes: Annotated[float, typer.Option(min=1.0)] = 20.0,
) -> None:
    """Keep the service at its capacity for long: memory, file descriptors and threads, minute by minute."""
    from benchmarks.serving.plain import save_domain
    from benchmarks.serving.soak import SoakSettings, soak

    settings = SoakSettings(clients, minutes)

    def run(report: BenchmarkReport, console: Console) -> None:
        with TemporaryDirectory() as folder:
            domain = Path(folder) / "domain.npz"
            save_domain(domain, read_captions(corpus, captions), caption_vectors(corpus, captions, console))
            soak(domain, read_recordings(clips), settings, report)

    measured("soak", settings, json, run, **corpus_facts(corpus, captions))


@app.command("hearing")
def measure_hearing(
    json: Json = None,
    clips: Clips = Path("examples/audio"),
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of both forms in turn; the median counts.")] = 5,
) -> None:
    """Compare the embedded CLAP's audio side, as it runs on a CPU, with plain convolutions, on one core."""
    settings = hearing.HearingSettings(rounds)
    fast, plain = embedded_clap(), embedded_clap(exact=True)
    recordings = [decode(one, fast.sample_rate, AudioSettings()) for one in read_recordings(clips)]
    windows = [window for one in recordings for window in one.windows(fast.window_seconds)]
    measured("hearing", settings, json, lambda report, _: hearing.run(fast, plain, windows, settings, report))


@app.command("full-size")
def measure_full_size(
    json: Json = None,
    device: Annotated[str, typer.Option(help="The same values as DRCAP_DEVICE.")] = "auto",
    way: Annotated[
        list[str] | None, typer.Option("--way", help="dtype or quantisation of the LLM; repeatable.")
    ] = None,
    batch: Annotated[list[int] | None, typer.Option("--batch", min=1, help="Prompts at a time; repeatable.")] = None,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens to write for each prompt.")] = 16,
    captions: Annotated[int, typer.Option("--captions", min=50, help="Captions of the domain.")] = 300,
    tiny: Annotated[bool, typer.Option("--tiny", help="A few thousand parameters, to try the command.")] = False,
) -> None:
    """Measure a bundle of full size with random weights: memory, stages of a clip, and decoder beside transformers.

    The service's own code loads its CLAP and Llama. The default is float32 and int8 at batches of 1 and 8 on a CPU,
    and bfloat16 at 1, 8 and 32 on a GPU, where it has never been run. It needs about 10 GB of memory and 4 GB of disk.
    """
    from benchmarks.full_size.measure import FullSizeSettings, run

    on_gpu = torch.cuda.is_available() and device != "cpu"
    ways, batches = (("bfloat16",), (1, 8, 32)) if on_gpu else (("float32", "int8"), (1, 8))
    settings = FullSizeSettings(device, tuple(way or ways), tuple(batch or batches), tokens, captions, tiny)
    measured("full-size", settings, json, partial(run, settings))


if __name__ == "__main__":
    app()
