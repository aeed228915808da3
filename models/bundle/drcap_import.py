"""The authors' release of DRCap as a bundle: their CLAP, projector and LoRA, checked and written as safetensors.

Their code is SLAM-LLM's `examples/drcap_zeroshot_aac`; what it does and what of that is left behind: docs/method.md.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from models.bundle.checksums import file_digest
from models.bundle.config import ADAPTER, PROJECTOR, BundleConfig
from models.bundle.writer import SOUNDS, check_free, new_bundle, write_config, write_sounds
from models.checkpoints import Weights, check_names, expect, part, read_weights
from models.clap.tokenizer import HUB_NAMES, CaptionTokens
from models.clap.wavcaps import LONGEST, build_towers, load_wavcaps, stored_weights
from models.llm.adapter_import import check_adapter, read_adapter, read_llm, save_adapter
from models.prompt import PromptTemplate
from models.weights import WrongWeights

CLAP = "clap.safetensors"
TOKENIZER = "tokenizer"
_PROJECTOR = "encoder_projector."
_LLM = "llm."
_LAYERS = ("linear1.weight", "linear1.bias", "linear2.weight", "linear2.bias")
_QUESTION = "USER: Describe the audio you hear. \n ASSISTANT:"


@dataclass(frozen=True)
class Release:
    """The authors' files.

    Attributes:
        clap: ``best_model.pt``: ``{"model": state dict}`` of their CLAP.
        projector: ``model.pt``: the projector, and the LoRA if it was saved with it.
        adapter: folder with the LoRA in PEFT's format.
        llm: folder, GGUF file or hub name of the LLM it was trained on.
        tokenizer: folder or hub name of the tokenizer of the CLAP's text tower; by default its name on the hub.
    """

    clap: Path
    projector: Path
    adapter: Path
    llm: str
    tokenizer: str | None = None


def import_drcap(release: Release, out: Path, *, fixed: bool = False) -> None:
    """Write the folder `out`, whole or not at all.

    Args:
        fixed: corrected prompt and renormalised projection instead of the authors' own.

    Raises:
        BundleError: `out` holds something.
        MissingWeights: a file is missing, or the hub cannot be reached.
        WrongWeights: a file is not that of the release; the message names the tensor and its shape.
    """
    check_free(out)
    llm = read_llm(release.llm)
    clap = read_weights(release.clap)
    towers, family, _ = build_towers(clap, release.clap)
    tokens = CaptionTokens.load(_place(release.tokenizer or HUB_NAMES[family]), family, LONGEST)
    tokens.check(towers.text.config.vocab_size, towers.text.config.pad_token_id)
    projector, lora = _read_projector(release.projector, towers.embedding_dim, llm.hidden_size)
    settings, adapter = read_adapter(release.adapter)
    # Where the LoRA was saved with the projector the authors' code loads it last, over that of the folder.
    check_adapter(lora or adapter, settings, llm, release.projector if lora else release.adapter)
    config = _config(release, towers.temperature, _template(llm.start, llm.end, fixed), fixed)
    with new_bundle(out) as folder:
        _save(stored_weights(clap), folder / CLAP)
        tokens.save(folder / TOKENIZER)
        write_sounds(load_wavcaps(folder / CLAP, folder / TOKENIZER, torch.device("cpu")), folder)
        _save(projector, folder / PROJECTOR)
        save_adapter(lora or adapter, settings, llm.name, folder / ADAPTER)
        write_config(BundleConfig.model_validate(config), folder)
        (folder / "README.md").write_text(_card(config, fixed), encoding="utf-8")


def _place(name: str) -> Path | str:
    return Path(name) if Path(name).exists() else name


def _read_projector(path: Path, embedding_dim: int, llm_dim: int) -> tuple[Weights, Weights]:
    """The projector, and the LoRA under PEFT's names if the file has one."""
    weights = read_weights(path)
    lora = {name.replace(".default.", "."): value for name, value in part(weights, _LLM).items()}
    projector = part(weights, _PROJECTOR)
    others = [name for name in weights if not name.startswith((_PROJECTOR, _LLM))]
    check_names([*(_PROJECTOR + name for name in projector), *others], [_PROJECTOR + name for name in _LAYERS], path)
    inner = expect(projector, "linear1.bias", path).shape[0]
    shapes = ((inner, embedding_dim), (inner,), (llm_dim, inner), (llm_dim,))
    for name, shape in zip(_LAYERS, shapes, strict=True):
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
        # One start, no end in the middle, and words that say what the captions are.
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
            "source": CLAP,
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
            "CLAP, projector, adapter": "as the authors of DRCap released them: ask them",
            "LLM": "its own: see where it comes from",
        },
    }


def _card(config: dict[str, Any], fixed: bool) -> str:
    how = (
        "a corrected prompt (one start token, no end token inside, words that say what the captions are) and a "
        "projection scaled back to unit length, which is what the projector saw in training"
        if fixed
        else "the authors' prompt and their projection, which is not scaled back to unit length. A similar caption's "
        "own full stop is not doubled"
    )
    return (
        f"# {config['name']}\n\nThe weights that the authors of DRCap (arXiv 2410.09472) released, with {how}.\n\n"
        f"- LLM: {config['llm']['source']}\n- tau: {config['projection']['temperature']:.4f}, learned by the CLAP\n"
        "- data: the CLAP was trained on WavCaps and Sound-VECaps, projector and LoRA on captions of AudioCaps or "
        "Clotho\n- licences: those of the authors, of the data and of the LLM; nothing is granted here\n"
        "- no measurement was made at the import\n"
    )
