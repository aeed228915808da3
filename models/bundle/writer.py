"""Writes bundles, whole or not at all, and seals them."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from models.bundle.checksums import SUMS, seal
from models.bundle.config import BundleConfig, BundleError, read_config
from models.clap.base import Clap
from models.clap.centring import CentredClap, Centring
from models.clap.sounds import Sounds

CENTRING, SOUNDS = "centring.safetensors", "sounds.safetensors"
NOT_COPIED = ("__pycache__", "*.py", "*.new", SUMS)


def check_free(out: Path) -> None:
    """Raise `BundleError` unless the folder is missing or empty."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BundleError(f"{out} exists and is not empty; name another --out")


@contextmanager
def new_bundle(out: Path, replace: bool = False) -> Iterator[Path]:
    """Yield a folder to fill; at the end it is sealed and becomes `out`. A failure leaves nothing.

    Args:
        out: the new bundle's folder.
        replace: remove the contents of `out` once the new bundle is complete.

    Raises:
        BundleError: `out` is not empty and is not to be replaced.
        OSError: it cannot be written.
    """
    if not replace:
        check_free(out)
    unfinished = out.with_name(out.name + ".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        for path in unfinished.rglob("*.safetensors"):
            # safetensors makes files that only their owner can read, and a service often runs as another user.
            path.chmod(0o644)
        seal(unfinished)
        if replace:
            shutil.rmtree(out, ignore_errors=True)
        elif out.exists():
            out.rmdir()
        unfinished.rename(out)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def write_config(config: BundleConfig, folder: Path) -> None:
    """Write a bundle's ``bundle.json``."""
    text = json.dumps(config.model_dump(mode="json"), indent=2, ensure_ascii=False)
    (folder / "bundle.json").write_text(text + "\n", encoding="utf-8")


def write_sounds(clap: Clap, folder: Path) -> None:
    """Embed the names of the kinds of sound with this CLAP and write `SOUNDS`, the file for `clap.sounds`."""
    (folder / SOUNDS).unlink(missing_ok=True)
    Sounds.read_by(clap).save(folder / SOUNDS)


def write_centred(base: Path, out: Path, clap: Clap, centring: Centring, measured: Mapping[str, Any]) -> None:
    """Copy the bundle in `base` to `out` and add a centring. The new bundle is named after its folder.

    A CLAP that scores no kinds of sound by itself gets them from their names.

    Args:
        base: folder of the original bundle.
        out: folder of the new bundle.
        clap: CLAP of `base`, without centring.
        centring: means of this CLAP.
        measured: how the means were measured, for the provenance.

    Raises as `new_bundle` does.
    """
    config = read_config(base)
    with new_bundle(out) as folder:
        shutil.copytree(base, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*NOT_COPIED))
        (folder / CENTRING).unlink(missing_ok=True)
        centring.save(folder / CENTRING)
        named = {"centring": CENTRING, "sounds": None}
        if not clap.sound_names:
            write_sounds(CentredClap(clap, centring), folder)
            named["sounds"] = SOUNDS
        section = config.clap.model_copy(update=named)
        provenance = {**config.provenance, "centring": dict(measured)}
        write_config(config.model_copy(update={"name": out.name, "clap": section, "provenance": provenance}), folder)
