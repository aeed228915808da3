"""The authors' release as a bundle: the same numbers as their arithmetic, and no wrong file passes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from cli.imports import imports
from models.bundle.checksums import read_sums
from models.bundle.config import BundleError, read_config
from models.bundle.drcap_import import Release, import_drcap
from models.bundle.load import load_bundle, load_source, merge_adapter
from models.decoder import GenerationOptions
from models.llm.projector import Projector
from models.prompt import Prompt, encode_prompt
from models.weights import MissingWeights, WrongWeights
from tests.clap_backends import CAPTIONS, SIZES, sounds, write_wavcaps
from tests.tiny_bundle import write_tiny_bundle

pytestmark = pytest.mark.slow

D, HIDDEN, RANK, ALPHA = SIZES.dimension, 16, 8, 32
SIMILAR = ("A dog barks", "Rain falls", "A bell rings")


def _lora(layers: int = 2) -> dict[str, Tensor]:
    """Of the tiny LLM's queries and values, random on both sides."""
    weights = {}
    for layer in range(layers):
        for name, rows in (("q_proj", 16), ("v_proj", 8)):
            at = f"base_model.model.model.layers.{layer}.self_attn.{name}"
            weights[f"{at}.lora_A.weight"] = 0.1 * torch.randn(RANK, HIDDEN)
            weights[f"{at}.lora_B.weight"] = 0.1 * torch.randn(rows, RANK)
    return weights


def _release(folder: Path, *, safe: bool = False) -> Release:
    from safetensors.torch import save_file

    torch.manual_seed(7)
    write_wavcaps(folder)
    write_tiny_bundle(folder)
    shapes = {
        "linear1.weight": (32, D),
        "linear1.bias": (32,),
        "linear2.weight": (HIDDEN, 32),
        "linear2.bias": (HIDDEN,),
    }
    projector = {f"encoder_projector.{name}": torch.randn(shape) for name, shape in shapes.items()}
    torch.save(projector, folder / "model.pt")
    adapter = folder / "adapter"
    adapter.mkdir()
    if safe:
        save_file(_lora(), adapter / "adapter_model.safetensors")
    else:
        torch.save(_lora(), adapter / "adapter_model.bin")
    # As PEFT 0.6 wrote it.
    described = {
        "auto_mapping": None, "base_model_name_or_path": "/data/vicuna-7b-v1.5", "bias": "none",
        "fan_in_fan_out": False, "inference_mode": True, "init_lora_weights": True, "lora_alpha": ALPHA,
        "lora_dropout": 0.05, "modules_to_save": None, "peft_type": "LORA", "r": RANK, "revision": None,
        "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM",
    }  # fmt: skip
    (adapter / "adapter_config.json").write_text(json.dumps(described), encoding="utf-8")
    return Release(folder / "best_model.pt", folder / "model.pt", adapter, str(folder / "llm"), str(folder / "words"))


@torch.no_grad()
def _authors_logits(release: Release, vector: Tensor, lora: dict[str, Tensor]) -> Tensor:
    """Logits of the first token as SLAM-LLM computes them: prompt, projector, and LoRA beside the frozen weights."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(release.llm)
    llm: Any = AutoModelForCausalLM.from_pretrained(release.llm)
    for at, module in llm.named_modules():
        down = lora.get(f"base_model.model.{at}.lora_A.weight")
        if down is not None:
            up = lora[f"base_model.model.{at}.lora_B.weight"]
            module.register_forward_hook(
                lambda _, given, out, down=down, up=up: out + ALPHA / RANK * (given[0] @ down.T @ up.T)
            )

    def encode(text: str) -> list[int]:
        return [tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"]]

    similar = "".join(f"{caption}. " for caption in SIMILAR)
    table = llm.get_input_embeddings()
    before = table(torch.tensor([*encode(similar), tokenizer.eos_token_id]))
    after = table(torch.tensor(encode("USER: Describe the audio you hear. \n ASSISTANT:")))
    layers = torch.load(release.projector, weights_only=True)
    inner = torch.relu(vector @ layers["encoder_projector.linear1.weight"].T + layers["encoder_projector.linear1.bias"])
    token = inner @ layers["encoder_projector.linear2.weight"].T + layers["encoder_projector.linear2.bias"]
    embeds = torch.cat([before, token[None], after])[None]
    logits: Tensor = llm(inputs_embeds=embeds).logits[0, -1]
    return logits


@torch.no_grad()
def _bundle_logits(bundle: Path, vector: Tensor) -> Tensor:
    config = read_config(bundle)
    llm = load_source(config.llm, bundle)
    merge_adapter(llm, bundle / "adapter")
    projector = Projector.load(bundle / "projector.safetensors", D, llm.hidden_size)
    before, after = encode_prompt(llm, config.prompt.as_template(), Prompt(vector.numpy(), SIMILAR))
    table = llm.model.get_input_embeddings()
    rows = [table(torch.tensor(before)), projector(vector[None])[0], table(torch.tensor(after))]
    logits: Tensor = llm.model(inputs_embeds=torch.cat(rows)[None]).logits[0, -1]
    return logits


def test_the_first_tokens_logits_are_those_of_the_authors_arithmetic(tmp_path: Path) -> None:
    release = _release(tmp_path)
    import_drcap(release, tmp_path / "out")
    loaded = load_bundle(str(tmp_path / "out"), "cpu")
    support = torch.from_numpy(loaded.clap.embed_text(CAPTIONS))
    heard = torch.from_numpy(loaded.clap.embed_audio(sounds(32_000)[1:2]))
    # Theirs: softmax over the whole support at the CLAP's temperature, and no renormalisation.
    projected = (torch.softmax(heard @ support.T / 0.05, dim=1) @ support)[0]
    lora = torch.load(release.adapter / "adapter_model.bin", weights_only=True)
    theirs = _authors_logits(release, projected, lora)
    np.testing.assert_allclose(_bundle_logits(tmp_path / "out", projected), theirs, atol=1e-4)
    assert not torch.allclose(theirs, _authors_logits(release, projected, {}), atol=1e-2)


class _Support:
    """Moments of a support that is all head, so that the projection is exact."""

    count = len(CAPTIONS)
    mean = np.zeros(D)
    covariance = np.zeros((D, D))


@pytest.mark.parametrize("fixed", [False, True])
def test_the_projection_is_the_authors_and_the_fixed_one_is_of_unit_length(tmp_path: Path, fixed: bool) -> None:
    import_drcap(_release(tmp_path), tmp_path / "out", fixed=fixed)
    loaded = load_bundle(str(tmp_path / "out"), "cpu")
    support, [heard] = loaded.clap.embed_text(CAPTIONS), loaded.clap.embed_audio(sounds(32_000)[1:2])
    scores = support @ heard
    weights = np.exp(scores / 0.05 - (scores / 0.05).max())
    theirs = weights @ support / weights.sum()
    ours = loaded.projection.project(heard, support, scores, _Support())
    np.testing.assert_allclose(ours, theirs / np.linalg.norm(theirs) if fixed else theirs, atol=1e-5)
    assert loaded.retrieval.k == 3
    assert (loaded.generation.num_beams, loaded.generation.max_new_tokens) == (4, 200)


def test_the_bundle_knows_sounds_as_its_clap_reads_them(tmp_path: Path) -> None:
    import_drcap(_release(tmp_path), tmp_path / "out")
    loaded = load_bundle(str(tmp_path / "out"), "cpu")
    assert len(set(loaded.clap.sound_names)) == len(loaded.clap.sound_names) > 500
    [frames] = loaded.clap.hear(sounds(32_000)[1:2])
    said = loaded.clap.embed_text([f"the sound of {name}" for name in loaded.clap.sound_names])
    shares = torch.softmax(torch.from_numpy(loaded.clap.embed_frames([frames]) @ said.T) / 0.05, dim=1)
    np.testing.assert_allclose(loaded.clap.score_sounds(frames), shares, atol=1e-5)


def test_the_bundle_captions(tmp_path: Path) -> None:
    import_drcap(_release(tmp_path), tmp_path / "out")
    loaded = load_bundle(str(tmp_path / "out"), "cpu")
    [vector] = loaded.clap.embed_text(["a dog barks"])
    [caption] = loaded.decoder.generate([Prompt(vector, SIMILAR)], GenerationOptions(max_new_tokens=5))
    assert caption.tokens > 0


def test_the_prompts_are_the_authors_and_the_corrected_one(tmp_path: Path) -> None:
    release = _release(tmp_path)
    import_drcap(release, tmp_path / "authors")
    import_drcap(release, tmp_path / "fixed", fixed=True)
    authors, fixed = (read_config(tmp_path / name).prompt.as_template() for name in ("authors", "fixed"))
    written = [one.text.replace("{audio}", "").replace("{similar}", one.similar(SIMILAR)) for one in (authors, fixed)]
    assert written[0] == (
        "A dog barks. Rain falls. A bell rings. </s><s>USER: Describe the audio you hear. \n ASSISTANT:"
    )
    assert not {"<s>", "</s>"} & set(written[1].split())
    weights = [(tmp_path / name / "projector.safetensors").read_bytes() for name in ("authors", "fixed")]
    assert weights[0] == weights[1]


def test_everything_is_written_as_safetensors_and_nothing_of_the_authors_paths(tmp_path: Path) -> None:
    import_drcap(_release(tmp_path, safe=True), tmp_path / "out")
    found = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert {"clap.safetensors", "projector.safetensors", "adapter/adapter_model.safetensors", "README.md"} <= found
    assert not [name for name in found if name.endswith((".pt", ".bin", ".pkl"))]
    assert set(read_sums(tmp_path / "out") or {}) == found - {"bundle.json", "README.md", "SHA256SUMS"}
    assert "/data/" not in (tmp_path / "out" / "adapter" / "adapter_config.json").read_text("utf-8")


def test_a_lora_saved_with_the_projector_goes_before_that_of_the_folder(tmp_path: Path) -> None:
    release = _release(tmp_path)
    lora = _lora()
    named = {f"llm.{name.replace('.weight', '.default.weight')}": value for name, value in lora.items()}
    torch.save(torch.load(release.projector, weights_only=True) | named, release.projector)
    import_drcap(release, tmp_path / "out")
    vector = torch.randn(D)
    theirs = _authors_logits(release, vector, lora)
    np.testing.assert_allclose(_bundle_logits(tmp_path / "out", vector), theirs, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"encoder_projector.linear1.weight": torch.zeros(32, 20)}, r"linear1.weight is \[32, 20\].*be \[32, 16\]"),
        ({"encoder_projector.linear2.weight": torch.zeros(48, 32)}, r"linear2.weight is \[48, 32\].*be \[16, 32\]"),
        ({"encoder_projector.linear2.bias": None}, "lacks encoder_projector.linear2.bias"),
        ({"encoder_projector.norm.weight": torch.zeros(2)}, "holds unknown encoder_projector.norm.weight"),
        ({"encoder.layers.0.weight": torch.zeros(2)}, "holds unknown encoder.layers.0.weight"),
        ({"llm.base_model.model.lm_head.weight": torch.zeros(2)}, "holds unknown base_model.model.lm_head.weight"),
    ],
)
def test_a_wrong_projector_is_refused_by_name_and_shape(
    tmp_path: Path, change: dict[str, Tensor | None], said: str
) -> None:
    release = _release(tmp_path)
    weights = {**torch.load(release.projector, weights_only=True), **change}
    torch.save({name: value for name, value in weights.items() if value is not None}, release.projector)
    with pytest.raises(WrongWeights, match=rf"(?s)model\.pt.*{said}"):
        import_drcap(release, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight": None}, "lacks .*layers.1.*v_proj.lora_B"),
        ({"base_model.model.model.layers.2.self_attn.q_proj.lora_A.weight": torch.zeros(8, 16)}, "unknown .*layers.2"),
        (
            {"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": torch.zeros(8, 4096)},
            r"q_proj.lora_A.weight is \[8, 4096\], for llm it should be \[8, 16\]",
        ),
    ],
)
def test_a_lora_of_another_llm_is_refused_by_name_and_shape(
    tmp_path: Path, change: dict[str, Tensor | None], said: str
) -> None:
    release = _release(tmp_path)
    path = release.adapter / "adapter_model.bin"
    weights = {**torch.load(path, weights_only=True), **change}
    torch.save({name: value for name, value in weights.items() if value is not None}, path)
    with pytest.raises(WrongWeights, match=said):
        import_drcap(release, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_files_given_for_each_other_are_refused(tmp_path: Path) -> None:
    release = _release(tmp_path)
    with pytest.raises(WrongWeights, match=r"model\.pt has no embeddings\.word_embeddings"):
        import_drcap(Release(release.projector, release.clap, release.adapter, release.llm), tmp_path / "out")
    with pytest.raises(WrongWeights, match=r"best_model\.pt lacks encoder_projector"):
        import_drcap(
            Release(release.clap, release.clap, release.adapter, release.llm, release.tokenizer), tmp_path / "out"
        )


def test_a_folder_that_holds_something_is_not_overwritten(tmp_path: Path) -> None:
    release = _release(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(BundleError, match="not empty"):
        import_drcap(release, tmp_path / "out")
    assert (tmp_path / "out" / "mine.txt").read_text("utf-8") == "mine"


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    release = _release(tmp_path)
    (release.adapter / "adapter_model.bin").unlink()
    with pytest.raises(MissingWeights, match=r"adapter has none of adapter_model\.safetensors"):
        import_drcap(release, tmp_path / "out")
    with pytest.raises(MissingWeights, match=r"no LLM at .*nowhere"):
        import_drcap(
            Release(release.clap, release.projector, release.adapter, str(tmp_path / "nowhere")), tmp_path / "out"
        )


def test_the_command_imports_and_says_how_to_serve(tmp_path: Path) -> None:
    release = _release(tmp_path)
    options = {
        "--clap": release.clap, "--projector": release.projector, "--adapter": release.adapter, "--llm": release.llm,
        "--tokenizer": release.tokenizer, "--out": tmp_path / "out",
    }  # fmt: skip
    given = ["drcap", *(str(word) for pair in options.items() for word in pair), "--fixed"]
    done = CliRunner().invoke(imports, given)
    assert done.exit_code == 0, done.output
    assert f"DRCAP_BUNDLE={tmp_path}/out" in done.output
    assert read_config(tmp_path / "out").projection.renormalise
