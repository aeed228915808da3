"""``drcap bundle``: what a bundle is, whether it is whole, and the means that centre its CLAP."""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.client import Json
from service.cli.errors import CommandError
from service.cli.manual import examples
from service.settings import Settings, load_settings

if TYPE_CHECKING:
    from models.bundle_check import Checked, Problem

bundles = typer.Typer(no_args_is_help=True, help="Look at bundles, check them, and centre their CLAP.")

Name = Annotated[str, typer.Argument(metavar="PATH|NAME", help="folder of the bundle, or `embedded`")]
_TOKENS = 16
_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff"})
_FEW = 100


@bundles.command("show", epilog=examples("drcap bundle show embedded", "drcap bundle show bundles/mine --json"))
def show(bundle: Name, as_json: Json = False) -> None:
    """What a bundle is: its parts with their sizes, prompt, settings, licences, and where it comes from."""
    from models.bundle_config import BundleError, bundle_folder
    from models.bundle_facts import describe

    try:
        document = describe(bundle_folder(bundle))
    except BundleError as error:
        raise CommandError(str(error)) from error
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False) if as_json else "\n".join(_lines(document)))


@bundles.command(
    "check",
    epilog=examples(
        "drcap bundle check bundles/mine",
        "drcap bundle check bundles/mine --load",
        codes="0 it is whole, 1 it is not",
    ),
)
def check(
    bundle: Name,
    load: Annotated[bool, typer.Option("--load", help="also load it, and write a caption for a fixed vector")] = False,
    as_json: Json = False,
) -> None:
    """Whether every part of a bundle is there, intact, no pickle, and fits the others."""
    from models.bundle_check import check_bundle
    from models.bundle_config import bundle_folder

    checked = check_bundle(bundle_folder(bundle))
    loaded: dict[str, Any] | None = None
    if load and checked.good:
        loaded = _load(bundle, checked)
    if as_json:
        problems = [vars(problem) for problem in checked.problems]
        typer.echo(json.dumps({"good": checked.good, "problems": problems, "loaded": loaded}, indent=2))
    else:
        for problem in checked.problems:
            typer.echo(_line(problem))
        if loaded is not None:
            typer.echo(f"loaded in {loaded['seconds']} s; {loaded['clap']}; a fixed vector reads: {loaded['caption']}")
        typer.echo(f"{checked.folder}: {'whole' if checked.good else 'not usable'}")
    raise typer.Exit(0 if checked.good else 1)


@bundles.command("seal", epilog=examples("drcap bundle seal bundles/mine"))
def seal(bundle: Name) -> None:
    """Write SHA256SUMS over a bundle's files, by which `bundle check` and `doctor` know them again.

    bundle.json and README.md are left out: people edit them.
    """
    from models.bundle_config import BundleError, bundle_folder, read_config
    from models.checksums import SUMS
    from models.checksums import seal as write_sums

    folder = bundle_folder(bundle)
    try:
        read_config(folder)
        count = write_sums(folder)
    except (BundleError, OSError) as error:
        raise CommandError(str(error)) from error
    typer.echo(f"{folder / SUMS}: {count} files")


@bundles.command(
    "centre",
    epilog=examples(
        "drcap bundle centre bundles/large --clips recordings/ \\\\",
        "  --captions captions.txt --out bundles/centred",
    ),
)
def centre(
    bundle: Name,
    clips: Annotated[Path, typer.Option(exists=True, help="folder of recordings, or a CSV as `drcap evaluate` reads")],
    captions: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="captions, as for a domain")],
    out: Annotated[Path, typer.Option(help="folder for the new bundle")],
) -> None:
    """Measure the means of what the CLAP hears and reads, and write a bundle that takes them off.

    Recordings and captions should be of all kinds: their means are taken off every other. They need not be of each
    other. The vectors change, so the bundle has another fingerprint: domains are registered anew, and a projector
    that saw other vectors should be trained further.
    """
    from datastores.corpus.reader import CorpusError
    from models.bundle_config import BundleError
    from models.clap.means import TooFew
    from models.packages import MissingWeights

    try:
        _centre(bundle, clips, captions, out, load_settings())
    except (BundleError, MissingWeights, TooFew, CorpusError, OSError, ValueError) as error:
        raise CommandError(str(error)) from error


def _centre(bundle: str, clips: Path, captions: Path, out: Path, settings: Settings) -> None:
    from datastores.corpus.reader import read_corpus
    from models.bundle import load_clap
    from models.bundle_config import bundle_folder, read_config
    from models.bundle_writer import check_free, write_centred
    from models.clap.centring import CentredClap
    from models.clap.means import measure
    from models.device import choose_plan
    from service.cli.evaluator import listener
    from service.jobs.work import corpus_limits
    from service.loading import wishes

    check_free(out)
    files = _recordings(clips)
    folder = bundle_folder(bundle)
    config = read_config(folder)
    plan = choose_plan(wishes(settings), config.llm)
    clap = load_clap(config.clap.model_copy(update={"centring": None}), folder, plan.clap.value)
    listen = listener(clap, settings)
    texts = list(read_corpus(captions, limits=corpus_limits(settings.corpus)))
    heard = (listen(path) for path in _counted(files, "recordings"))
    found = measure(clap, heard, _counted(texts, "captions"))
    about = {
        "clap": clap.fingerprint,
        "recordings": found.recordings,
        "recordings_sha256": _digest_of_files(files),
        "captions": found.captions,
        "captions_sha256": _digest(texts),
        "gap": round(found.gap, 4),
    }
    write_centred(folder, out, found.centring, about)
    for what, count in (("recordings", found.recordings), ("captions", found.captions)):
        if count < _FEW:
            typer.echo(f"{count} {what} are few: the mean is theirs rather than a general one", err=True)
    typer.echo(
        f"{out}: {found.recordings} recordings and {found.captions} captions, {found.gap:.3f} between their means"
    )
    typer.echo(f"fingerprint {CentredClap(clap, found.centring).fingerprint}: register domains anew")
    typer.echo(f"the projector saw other vectors: drcap train CAPTIONS --bundle {out} --out ...")


def _recordings(clips: Path) -> list[Path]:
    from evaluation.clips import ClipsError, read_clips

    if not clips.is_dir():
        try:
            return [clip.path for clip in read_clips(clips)]
        except ClipsError as error:
            raise CommandError(f"{error}; a folder of recordings needs no captions") from error
    return sorted(path for path in clips.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())


def _counted(items: Sequence[Any], what: str) -> Iterable[Any]:
    from rich.console import Console
    from rich.progress import track

    return track(items, what, console=Console(stderr=True), transient=True)


def _digest(lines: Iterable[str]) -> str:
    import hashlib

    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _digest_of_files(files: Iterable[Path]) -> str:
    """Of the recordings whatever they are called and wherever they lie."""
    from models.checksums import file_digest

    return _digest(sorted(map(file_digest, files)))


def _load(bundle: str, checked: "Checked") -> dict[str, Any] | None:
    import numpy as np

    from models.bundle import load_bundle
    from models.bundle_check import Problem
    from models.decoder import GenerationOptions
    from models.prompt import Prompt
    from service.loading import wishes

    settings = load_settings()
    started = time.perf_counter()
    try:
        loaded = load_bundle(bundle, cache=settings.cache, wishes=wishes(settings))
        vector = np.cos(np.arange(loaded.clap.embedding_dim, dtype=np.float32))
        options = GenerationOptions(max_new_tokens=_TOKENS)
        [written] = loaded.decoder.generate([Prompt(vector / np.linalg.norm(vector))], options)
    except Exception as error:  # whatever it is, it is what the service would meet
        said = f"it cannot be loaded: {type(error).__name__}: {error}"
        checked.problems.append(Problem("loading", said, "mend what the message names"))
        return None
    seconds = round(time.perf_counter() - started, 1)
    return {"clap": loaded.clap.fingerprint, "seconds": seconds, "tokens": written.tokens, "caption": written.text}


def _line(problem: "Problem") -> str:
    mark = "FAIL" if problem.severe else "warn"
    return f"{mark}  {problem.part}: {' '.join(problem.said.split())}. To do: {problem.remedy}"


def _lines(document: dict[str, Any], indent: str = "") -> Iterator[str]:
    for name, value in document.items():
        label = f"{indent}{name.replace('_', ' ')}:"
        if not isinstance(value, dict):
            yield f"{label} {_said(value)}"
        elif "bytes" in value:
            yield f"{label} {value['bytes'] / 1e6:,.1f} MB, {value['kind']}: {value['path'] or 'not on this machine'}"
        else:
            yield label
            yield from _lines(value, indent + "  ") if value else (f"{indent}  none",)


def _said(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "-", True: "yes", False: "no"}[value]
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, int):
        return f"{value:,}"
    # A template's line breaks are part of it.
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) and not value.isprintable() else str(value)
