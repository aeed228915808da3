"""Converts GGUF files to folders of transformers, once, and keeps the folders.

transformers takes half a minute to read a GGUF file and rebuild its tokenizer. The converted folder opens in a second.
"""

import copy
import hashlib
import logging
import os
import shutil
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file

from models.llm.language_model import Llm, load_llm

logger = logging.getLogger(__name__)


def default_cache() -> Path:
    """Return ``drcap`` under the user's cache folder (XDG)."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "drcap"


def load_converted(gguf: Path, cache: Path, dtype: torch.dtype = torch.float32, cache_setting: str = "cache") -> Llm:
    """Load a GGUF file through its converted copy under `cache`; the first call makes the copy.

    If the cache cannot be written, every call reads the file itself. The warning names `cache_setting`.
    """
    folder = cache / f"{gguf.stem}-{_digest(gguf)[:16]}"
    if not (folder / "config.json").is_file():
        llm = load_llm(gguf)
        _keep(llm, folder, cache_setting)
        return Llm(llm.model.to(dtype), llm.tokenizer)
    return load_llm(folder, dtype)


def _keep(llm: Llm, folder: Path, cache_setting: str) -> None:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as name:
            fresh = Path(name) / "model"
            fresh.mkdir()
            config = copy.deepcopy(llm.model.config)
            config.__dict__.pop("quantization_config", None)
            config.save_pretrained(str(fresh))
            # Half precision rounds far less than the 4-bit file that the weights come from.
            weights = {key: tensor.to(torch.float16) for key, tensor in llm.model.state_dict().items()}
            if config.tie_word_embeddings:
                weights.pop("lm_head.weight", None)
            save_file(weights, fresh / "model.safetensors", metadata={"format": "pt"})
            llm.tokenizer.save_pretrained(str(fresh))
            # Another process may have been faster; its copy is the same.
            if not folder.exists():
                shutil.move(str(fresh), str(folder))
    except OSError as error:
        logger.warning("the converted model is not kept, so starts stay slow (%s): %s", cache_setting, error)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
