"""``drcap bundle centre``: measures the means of a CLAP's vectors, and subtracts them in a new bundle."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from cli.common.errors import CommandError, reported
from cli.common.listening import listener
from cli.common.parquet import readable
from cli.common.quiet import quiet
from cli.common.recordings import find
from service.settings import Settings, load_settings

if TYPE_CHECKING:
    from models.clap.centring_fit import Measured

_FEW = 100
T = TypeVar("T")


def centre(
    bundle: Annotated[str, typer.Argument(metavar="PATH|NAME", help="folder of the bundle, or `embedded`")],
    clips: Annotated[Path, typer.Option(exists=True, help="folder of recordings, or a CSV as `drcap evaluate` reads")],
    captions: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="file of captions, as for a domain")],
    out: Annotated[Path, typer.Option(help="folder for the new bundle")],
) -> None:
    """Measure the means of a CLAP's audio and text vectors, and write a bundle that subtracts them.

    Use some hundreds of recordings and captions of all kinds; they need not belong together.

    The new bundle has other vectors: register its domains again, and train its projector further.
    """
    with quiet():
        from datastores.corpus.error import CorpusError
        from models.bundle.config import BundleError
        from models.clap.centring_fit import TooFew
        from models.weights import MissingWeights

        with reported(BundleError, MissingWeights, TooFew, CorpusError, OSError, ValueError):
            found, fingerprint = _centre(bundle, clips, captions, out, load_settings())
    for what, count in (("recordings", found.recordings), ("captions", found.captions)):
        if count < _FEW:
            typer.echo(f"{count} {what} are few: their mean may differ from a general one", err=True)
    counts = f"{found.recordings} recordings and {found.captions} captions"
    typer.echo(f"{out}: {counts}; the distance of their means is {found.gap:.3f}")
    typer.echo(f"fingerprint {fingerprint}: register domains again")
    typer.echo(f"the projector was trained on other vectors: drcap train CAPTIONS --bundle {out} --out ...")


def _centre(bundle: str, clips: Path, captions: Path, out: Path, settings: Settings) -> "tuple[Measured, str]":
    """Return the measurement, and the new bundle's fingerprint."""
    from datastores.corpus.reader import read_corpus
    from models.bundle.checksums import file_digest
    from models.bundle.config import bundle_folder, read_config
    from models.bundle.load import load_clap
    from models.bundle.writer import check_free, write_centred
    from models.clap.centring import CentredClap
    from models.clap.centring_fit import measure
    from models.device.plan import choose_plan
    from service.jobs.corpus_reading import corpus_limits
    from service.loading import wishes

    check_free(out)
    files, folder = _recordings(clips), bundle_folder(bundle)
    config = read_config(folder)
    plan = choose_plan(wishes(settings), config.llm.preferences)
    clap = load_clap(config.clap.model_copy(update={"centring": None, "sounds": None}), folder, plan.clap.value)
    listen = listener(clap, settings)
    with readable(captions) as corpus:
        texts = list(read_corpus(corpus, limits=corpus_limits(settings.corpus)))
    heard = (listen(path) for path in _counted(files, "recordings"))
    found = measure(clap, heard, _counted(texts, "captions"))
    about = {
        "clap": clap.fingerprint,
        "recordings": found.recordings,
        # Names and folders of the recordings do not matter.
        "recordings_sha256": _digest(sorted(map(file_digest, files))),
        "captions": found.captions,
        "captions_sha256": _digest(texts),
        "gap": round(found.gap, 4),
    }
    write_centred(folder, out, clap, found.centring, about)
    return found, CentredClap(clap, found.centring).fingerprint


def _recordings(clips: Path) -> list[Path]:
    from evaluation.clips import ClipsError, read_clips

    if clips.is_dir():
        found = find([clips])
        for path, reason in found.unreadable:
            raise CommandError(f"{path} cannot be read: {reason}")
        return [one.path for one in found.recordings]
    try:
        return [clip.path for clip in read_clips(clips)]
    except ClipsError as error:
        raise CommandError(f"{error}; a folder of recordings needs no captions") from error


def _counted(items: Sequence[T], what: str) -> Iterable[T]:
    from rich.console import Console
    from rich.progress import track

    return track(items, what, console=Console(stderr=True), transient=True)


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
