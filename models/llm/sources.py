"""Finds the files of an LLM: in a package, in a folder, as a GGUF file, or in the hub's cache."""

import json
import logging
import re
from pathlib import Path
from typing import Any

from models.weights import MissingWeights, WrongWeights, find, package_file, split_hub, split_package

logger = logging.getLogger(__name__)

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"

# The files of an LLM of transformers. Other files beside them (pickles, other formats) are not fetched.
_WANTED = ("*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken", WEIGHTS, "model-*.safetensors")
_PICKLES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"})
_REVISION = re.compile(r"[\w][\w./-]{0,199}")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def find_llm(source: str, revision: str, folder: Path, quantisation_setting: str = "quantisation") -> Path:
    """Return the GGUF file or folder of an LLM, after checking that no file is missing.

    Args:
        source: ``package:NAME/FILE``, a file or folder (first in the bundle's `folder`), or ``OWNER/NAME`` or
            ``OWNER/NAME/FILE.gguf`` of the hub. The hub is asked only for what its cache does not have.
        revision: commit, branch or tag of the hub's repository.
        folder: the bundle's folder.
        quantisation_setting: what messages call the setting that quantises the LLM.

    Raises:
        MissingWeights: it is not on this machine and cannot be fetched, or a file of it is missing.
        WrongWeights: the folder does not hold an LLM that can be opened.
    """
    packaged = split_package(source)
    if packaged is not None:
        return package_file(*packaged)
    place = find(source, folder)
    path = _fetched(place, revision) if isinstance(place, str) else place
    if path.is_dir():
        check_folder(path, quantisation_setting)
    elif path.suffix != ".gguf":
        raise WrongWeights(f"{path} is not an LLM: it should be a folder of transformers or a .gguf file")
    return path


def check_folder(folder: Path, quantisation_setting: str = "quantisation") -> None:
    """Check that a folder holds an LLM of transformers that can be opened. Raises as `find_llm` does."""
    if (folder / "adapter_config.json").exists():
        raise WrongWeights(f"{folder} is an adapter (adapter_config.json), not an LLM: name the LLM that it is for")
    config = _read(folder / CONFIG)
    for file in weight_files(folder):
        if not file.is_file():
            raise MissingWeights(f"{folder} is incomplete: it has no {file.name}")
    method = config.get("quantization_config")
    if method is not None:
        kind = method.get("quant_method", "of some kind") if isinstance(method, dict) else method
        raise WrongWeights(
            f"{folder} is stored quantised ({kind}), so no adapter can be merged into it: take the original LLM, and "
            f"let {quantisation_setting} quantise it"
        )


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files that an LLM's folder should have. Raises as `find_llm` does."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        shards = _read(folder / INDEX).get("weight_map")
        if not isinstance(shards, dict) or not shards:
            raise WrongWeights(f"{folder / INDEX} has no weight_map")
        names = sorted(set(map(str, shards.values())))
        if outside := [name for name in names if Path(name).name != name]:
            raise WrongWeights(f"{folder / INDEX} names a file outside its folder: {outside[0]}")
        return [folder / name for name in names]
    pickled = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES)
    if pickled:
        raise WrongWeights(
            f"{folder} has its weights in {pickled[0]}, a pickle, which can run code when it is read and is not "
            f"opened: a folder with {WEIGHTS} is needed (docs/production.md says how to make one)"
        )
    raise MissingWeights(f"{folder} has no {WEIGHTS} and no {INDEX}")


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MissingWeights(f"there is no LLM at {path.parent}: {error}") from error
    except ValueError as error:
        raise WrongWeights(f"{path} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise WrongWeights(f"{path} is not a JSON object")
    return document


def _fetched(name: str, revision: str) -> Path:
    """Return the folder or file of a hub name: from the hub's cache if it is complete there, else after fetching."""
    from huggingface_hub.errors import HFValidationError

    repository, file = split_hub(name)
    if file and not file.endswith(".gguf"):
        raise MissingWeights(f"there is no {name}, and an LLM of the hub is OWNER/NAME or OWNER/NAME/FILE.gguf")
    if not _REVISION.fullmatch(revision):
        raise MissingWeights(
            f"the LLM {repository} is on the hub, and {revision!r} is not a revision: name a commit of it in "
            "bundle.json (llm.revision)"
        )
    try:
        path = _cached(repository, revision, file)
    except (MissingWeights, WrongWeights, OSError, HFValidationError) as error:
        path = _asked_for(repository, revision, file, error)
    if not _COMMIT.fullmatch(revision):
        commit = path.parent.name if file else path.name
        logger.warning(
            "the revision %s of %s may change; to pin the one used now, name %s", revision, repository, commit
        )
    return path


def _cached(repository: str, revision: str, file: str) -> Path:
    """Return what the cache has. Raises OSError or `MissingWeights` if it is not complete."""
    path = _take(repository, revision, file, local_files_only=True)
    if not file and not all(one.is_file() for one in (path / CONFIG, *weight_files(path))):
        raise MissingWeights(f"{path} is incomplete")
    return path


def _asked_for(repository: str, revision: str, file: str, cached: Exception) -> Path:
    """Fetch what the cache does not have; `cached` is its error. Raises as `find_llm` does."""
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    wanted = f"the LLM {repository}{f'/{file}' if file else ''} (revision {revision})"
    get = f"hf download {repository} {f'{file} ' if file else ''}--revision {revision}"
    if constants.HF_HUB_OFFLINE:
        if isinstance(cached, WrongWeights):
            raise cached
        raise MissingWeights(
            f"{wanted} is not a file or folder here, and the hub's cache {constants.HF_HUB_CACHE} does not have all of "
            f"it. HF_HUB_OFFLINE forbids fetching it: run `{get}` where there is a network, or name a folder"
        ) from cached
    try:
        return _take(repository, revision, file, local_files_only=False)
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        raise MissingWeights(f"{wanted} cannot be fetched: {error}. By hand: `{get}`, or name a folder") from error


def _take(repository: str, revision: str, file: str, local_files_only: bool) -> Path:
    from huggingface_hub import hf_hub_download, snapshot_download

    if file:
        return Path(hf_hub_download(repository, file, revision=revision, local_files_only=local_files_only))
    wanted = list(_WANTED)
    return Path(
        snapshot_download(repository, revision=revision, allow_patterns=wanted, local_files_only=local_files_only)
    )
