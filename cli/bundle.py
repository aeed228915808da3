"""``drcap bundle``: describes, checks and seals bundles; `cli.bundle_centre` centres their CLAP."""

import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.bundle_centre import centre
from cli.common.client import Json, print_json
from cli.common.errors import reported
from cli.common.manual import examples
from cli.common.quiet import quiet
from service.settings import load_settings, variable_name

if TYPE_CHECKING:
    from models.bundle.check import BundleProblem, Checked

bundles = typer.Typer(no_args_is_help=True, help="Describe, check and seal bundles, and centre their CLAP.")

Name = Annotated[str, typer.Argument(metavar="PATH|NAME", help="folder of the bundle, or `embedded`")]
_TOKENS = 16


@bundles.command("show", epilog=examples("drcap bundle show embedded", "drcap bundle show bundles/mine --json"))
def show(bundle: Name, as_json: Json = False) -> None:
    """Describe a bundle: its parts and their sizes, prompt, settings, licences and origin."""
    from models.bundle.config import BundleError, bundle_folder
    from models.bundle.description import describe

    with reported(BundleError):
        document = describe(bundle_folder(bundle), variable_name("llm", "quantisation"))
    if as_json:
        print_json(document)
    else:
        typer.echo("\n".join(_lines(document)))


@bundles.command(
    "check",
    epilog=examples(
        "drcap bundle check bundles/mine",
        "drcap bundle check bundles/mine --load",
        codes="0 the bundle is whole, 1 it is not",
    ),
)
def check(
    bundle: Name,
    load: Annotated[bool, typer.Option("--load", help="also load it and caption a fixed vector")] = False,
    as_json: Json = False,
) -> None:
    """Check that every part of a bundle is present, intact, not a pickle, and fits the others."""
    loaded: dict[str, Any] | None = None
    with quiet():
        from models.bundle.check import check_bundle
        from models.bundle.config import bundle_folder

        checked = check_bundle(bundle_folder(bundle), variable_name("llm", "quantisation"))
        if load and checked.good:
            loaded = _load(bundle, checked)
    if as_json:
        problems = [vars(problem) for problem in checked.problems]
        print_json({"good": checked.good, "problems": problems, "loaded": loaded})
    else:
        for problem in checked.problems:
            typer.echo(_line(problem))
        if loaded is not None:
            typer.echo(f"loaded in {loaded['seconds']} s; {loaded['clap']}; a fixed vector reads: {loaded['caption']}")
        typer.echo(f"{checked.folder}: {'whole' if checked.good else 'not usable'}")
    raise typer.Exit(0 if checked.good else 1)


@bundles.command("seal", epilog=examples("drcap bundle seal bundles/mine"))
def seal(bundle: Name) -> None:
    """Write SHA256SUMS of a bundle's files, which `bundle check` and `doctor` verify.

    bundle.json and README.md are not part of it, since people edit them.
    """
    from models.bundle.checksums import SUMS
    from models.bundle.checksums import seal as write_sums
    from models.bundle.config import BundleError, bundle_folder, read_config

    folder = bundle_folder(bundle)
    with reported(BundleError, OSError):
        read_config(folder)
        count = write_sums(folder)
    typer.echo(f"{folder / SUMS}: {count} files")


bundles.command(
    "centre",
    epilog=examples(
        "drcap bundle centre bundles/large --clips recordings/ \\\\",
        "  --captions captions.txt --out bundles/centred",
    ),
)(centre)


def _load(bundle: str, checked: "Checked") -> dict[str, Any] | None:
    import numpy as np

    from models.bundle.check import BundleProblem
    from models.bundle.load import load_bundle
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
    except Exception as error:  # the service would meet the same error
        said = f"it cannot be loaded: {type(error).__name__}: {error}"
        checked.problems.append(BundleProblem("loading", said, "fix what the message names"))
        return None
    seconds = round(time.perf_counter() - started, 1)
    return {"clap": loaded.clap.fingerprint, "seconds": seconds, "tokens": written.tokens, "caption": written.text}


def _line(problem: "BundleProblem") -> str:
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
    # JSON shows the line breaks of a template.
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) and not value.isprintable() else str(value)
