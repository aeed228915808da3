"""GGUF files as folders of transformers, converted once and kept.

transformers needs half a minute to read a GGUF file and rebuild its tokenizer; the converted folder opens in a
second.
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
    """``drcap`` under the user's cache folder (XDG)."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "drcap"


def load_converted(gguf: Path, cache: Path, dtype: torch.dtype = torch.float32) -> Llm:
    """Load a GGUF file through its converted copy under `cache`, made at the first call.

    Where the cache cannot be written the file is read as it is, every time.
    """
    folder = cache / f"{gguf.stem}-{_digest(gguf)[:16]}"
    if not (folder / "config.json").is_file():
        llm = load_llm(gguf)
        _keep(llm, folder)
        return Llm(llm.model.to(dtype), llm.tokenizer)
    return load_llm(folder, dtype)


def _keep(llm: Llm, folder: Path) -> None:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as name:
            fresh = Path(name) / "model"
            fresh.mkdir()
            config = copy.deepcopy(llm.model.config)
            config.__dict__.pop("quantization_config", None)
            config.save_pretrained(str(fresh))
            # Half precision: its rounding is far below that of the 4-bit file the weights come from.
            weights = {key: tensor.to(torch.float16) for key, tensor in llm.model.state_dict().items()}
            if config.tie_word_embeddings:
                weights.pop("lm_head.weight", None)
            save_file(weights, fresh / "model.safetensors", metadata={"format": "pt"})
            llm.tokenizer.save_pretrained(str(fresh))
            # Another process may have been faster; its copy is as good.
            if not folder.exists():
                shutil.move(str(fresh), str(folder))
    except OSError as error:
        logger.warning("the converted model is not kept, so starts stay slow (DRCAP_CACHE): %s", error)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
