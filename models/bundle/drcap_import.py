"""Imports the release of DRCap's authors as a bundle: checks their CLAP, projector and LoRA, writes safetensors.

Their code is SLAM-LLM's `examples/drcap_zeroshot_aac`. docs/method.md says what it does and what is not taken over.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from models.bundle.checksums import file_digest
from models.bundle.config import ADAPTER, PROJECTOR, BundleConfig
from models.bundle.writer import SOUNDS, check_free, new_bundle, write_config, write_sounds
from models.checkpoints import Weights, check_names, expect, read_weights, weights_under
from models.clap.tokenizer import HUB_NAMES, CaptionTokens
from models.clap.wavcaps import LONGEST, build_towers, load_wavcaps, stored_weights
from models.llm.adapter import check_adapter, read_adapter, read_llm, save_adapter
from models.llm.projector import LAYERS
from models.prompt import PromptTemplate
from models.weights import WrongWeights

CLAP_FILE = "clap.safetensors"
TOKENIZER = "tokenizer"
_PROJECTOR = "encoder_projector."
_LLM = "llm."
_QUESTION = "USER: Describe the audio you hear. \n ASSISTANT:"


@dataclass(frozen=True)
class Release:
    """The files of the authors' release.

    Attributes:
        clap: ``best_model.pt``: ``{"model": state dict}`` of their CLAP.
        projector: ``model.pt``: the projector, and the LoRA if it is saved with the projector.
        adapter: folder with the LoRA in PEFT's format.
        llm: folder, GGUF file or hub name of the LLM that the LoRA was trained on.
        tokenizer: folder or hub name of the tokenizer of the CLAP's text tower; by default the usual one of the hub.
    """

    clap: Path
    projector: Path
    adapter: Path
    llm: str
    tokenizer: str | None = None


def import_drcap(release: Release, out: Path, *, fixed: bool = False) -> None:
    """Write the bundle `out`, whole or not at all.

    Args:
        release: the authors' files.
        out: folder of the new bundle.
        fixed: use a corrected prompt and a renormalised projection instead of the authors' own.

    Raises:
        BundleError: `out` is not empty.
        MissingWeights: a file is missing, or the hub cannot be reached.
        WrongWeights: a file does not fit the release; the message names the tensor and its shape.
    """
    check_free(out)
    llm = read_llm(release.llm)
    clap = read_weights(release.clap)
    towers, family, _ = build_towers(clap, release.clap)
    tokens = CaptionTokens.load(_path_or_name(release.tokenizer or HUB_NAMES[family]), family, LONGEST)
    tokens.check(towers.text.config.vocab_size, towers.text.config.pad_token_id)
    projector, lora = _read_projector(release.projector, towers.embedding_dim, llm.hidden_size)
    settings, adapter = read_adapter(release.adapter)
    # If the LoRA is saved with the projector, the authors' code loads it last, over the LoRA of the folder.
    check_adapter(lora or adapter, settings, llm, release.projector if lora else release.adapter)
    config = _config(release, towers.temperature, _template(llm.start, llm.end, fixed), fixed)
    with new_bundle(out) as folder:
        _save(stored_weights(clap), folder / CLAP_FILE)
        tokens.save(folder / TOKENIZER)
        write_sounds(load_wavcaps(folder / CLAP_FILE, folder / TOKENIZER, torch.device("cpu")), folder)
        _save(projector, folder / PROJECTOR)
        save_adapter(lora or adapter, settings, llm.name, folder / ADAPTER)
        write_config(BundleConfig.model_validate(config), folder)
        (folder / "README.md").write_text(_card(config, fixed), encoding="utf-8")


def _path_or_name(name: str) -> Path | str:
    return Path(name) if Path(name).exists() else name


def _read_projector(path: Path, embedding_dim: int, llm_dim: int) -> tuple[Weights, Weights]:
    """Return the projector, and the LoRA under PEFT's names if the file has one."""
    weights = read_weights(path)
    lora = {name.replace(".default.", "."): value for name, value in weights_under(_LLM, weights).items()}
    projector = weights_under(_PROJECTOR, weights)
    others = [name for name in weights if not name.startswith((_PROJECTOR, _LLM))]
    check_names([*(_PROJECTOR + name for name in projector), *others], [_PROJECTOR + name for name in LAYERS], path)
    inner = expect(projector, "linear1.bias", path).shape[0]
    shapes = ((inner, embedding_dim), (inner,), (llm_dim, inner), (llm_dim,))
    for name, shape in zip(LAYERS, shapes, strict=True):
        if projector[name].shape != shape:
            raise WrongWeights(
                f"{path}: {_PROJECTOR}{name} is {list(projector[name].shape)}, with this CLAP and this LLM it should "
                f"be {list(shape)}"
            )
    return projector, lora


def _save(weights: Weights, path: Path) -> None:
    save_file({name: value.float().contiguous().clone() for name, value in weights.items()}, path)


def _template(start: str, end: str, fixed: bool) -> PromptTemplate:
    if fixed:
        # One start token, no end token in the middle, and words that explain the captions.
        return PromptTemplate(
            f"Captions of similar sounds: {{similar}}\nThis sound: {{audio}}\n{_QUESTION}", "{caption}.", " ", "none"
        )
    return PromptTemplate(f"{{similar}}{end}{{audio}}{start}{_QUESTION}", "{caption}. ", "", "")


def _config(release: Release, temperature: float, template: PromptTemplate, fixed: bool) -> dict[str, Any]:
    llm = str(Path(release.llm).resolve()) if Path(release.llm).exists() else release.llm
    digests = {"CLAP": file_digest(release.clap), "projector": file_digest(release.projector)}
    return {
        "format_version": 1,
        "name": "drcap-fixed" if fixed else "drcap",
        "clap": {
            "backend": "wavcaps",
            "source": CLAP_FILE,
            "revision": digests["CLAP"],
            "tokenizer": TOKENIZER,
            "sounds": SOUNDS,
        },
        "llm": {"source": llm, "revision": "as it was at the import" if Path(llm).exists() else "main"},
        "prompt": {
            "template": template.text,
            "similar_item": template.similar_item,
            "separator": template.separator,
            "none": template.none,
        },
        "projection": {"temperature": temperature, "renormalise": fixed},
        "retrieval": {"k": 3, "neighbours": 512},
        "generation": {"num_beams": 4, "max_new_tokens": 200},
        "provenance": {
            "release": "DRCap (arXiv 2410.09472), the authors' CLAP, projector and LoRA",
            **{f"SHA-256 of the {name}": digest for name, digest in digests.items()},
        },
        "licences": {
            "CLAP, projector, adapter": "as the authors of DRCap released them: ask the authors",
            "LLM": "its own: see its source",
        },
    }


def _card(config: dict[str, Any], fixed: bool) -> str:
    how = (
        "a corrected prompt (one start token, no end token inside, words that explain the captions) and a projection "
        "scaled back to unit length, as the projector saw it in training"
        if fixed
        else "the authors' prompt and their projection, which is not scaled back to unit length. A similar caption's "
        "own full stop is not doubled"
    )
    return (
        f"# {config['name']}\n\nThe weights that the authors of DRCap (arXiv 2410.09472) released, with {how}.\n\n"
        f"- LLM: {config['llm']['source']}\n- tau: {config['projection']['temperature']:.4f}, learned by the CLAP\n"
        "- data: the CLAP was trained on WavCaps and Sound-VECaps, projector and LoRA on captions of AudioCaps or "
        "Clotho\n- licences: those of the authors, the data and the LLM; this bundle grants none\n"
        "- nothing was measured at the import\n"
    )
