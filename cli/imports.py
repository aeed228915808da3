"""``drcap import``: makes bundles of weights that others trained."""

from pathlib import Path
from typing import Annotated

import typer

from cli.common.errors import reported
from cli.common.manual import examples
from service.settings import variable_name

imports = typer.Typer(no_args_is_help=True, help="Make a bundle of weights that others trained.")


@imports.callback()
def _group() -> None:
    """Make a bundle of weights that others trained."""


@imports.command(
    "drcap",
    epilog=examples(
        "drcap import drcap --clap best_model.pt --projector model.pt \\\\",
        "  --adapter drcap/ --llm vicuna-7b-v1.5 --tokenizer roberta-base/ \\\\",
        "  --out bundles/drcap",
    ),
)
def import_release(
    clap: Annotated[Path, typer.Option(help="weights of the CLAP, best_model.pt", exists=True, dir_okay=False)],
    projector: Annotated[Path, typer.Option(help="weights of the projector, model.pt", exists=True, dir_okay=False)],
    adapter: Annotated[Path, typer.Option(help="folder of the LoRA in PEFT's format", exists=True, file_okay=False)],
    llm: Annotated[str, typer.Option(help="LLM of the training: folder, GGUF file or hub name")],
    out: Annotated[Path, typer.Option(help="folder for the bundle")],
    tokenizer: Annotated[
        str | None,
        typer.Option(help="tokenizer of the CLAP's text tower: folder or hub name; by default the hub's roberta-base"),
    ] = None,
    fixed: Annotated[bool, typer.Option("--fixed", help="correct the prompt and renormalise the projection")] = False,
) -> None:
    """Import the weights that the authors of DRCap released."""
    from models.bundle.config import BundleError
    from models.bundle.drcap_import import Release, import_drcap
    from models.weights import MissingWeights, WrongWeights

    with reported(BundleError, MissingWeights, WrongWeights, OSError):
        import_drcap(Release(clap, projector, adapter, llm, tokenizer), out, fixed=fixed)
    typer.echo(f"{out}: {variable_name('bundle')}={out} drcap serve")
