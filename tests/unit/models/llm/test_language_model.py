"""LLMs of several architectures: captions that do not depend on batch mates, and text that stays text."""

import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.decoder import GenerationOptions
from models.device.int8 import int8_supported
from models.llm.batch_check import LlmCheck
from models.llm.decoder import LlmDecoder
from models.llm.execution import begin_batches
from models.llm.language_model import Llm, load_llm
from models.llm.projector import Projector
from models.llm.prompt_batch import PromptBatch
from models.prompt import Prompt, PromptTemplate
from models.weights import MissingWeights, WrongWeights
from tests.tiny_bundle import tiny_captions
from tests.tiny_llms import ARCHITECTURES, gemma2, gpt2, llama, mamba, opt, save_llm, save_tokenizer

TEMPLATE = PromptTemplate("{similar}\n{audio}:", "- {caption}", "\n", "-")
USER, ASSISTANT, UNKNOWN = 3, 4, 2


@pytest.fixture(scope="module", params=ARCHITECTURES, ids=lambda make: make.__name__)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_llm(tmp_path_factory.mktemp("llm"), request.param)


def decoder(folder: Path, int8: bool = False, dtype: torch.dtype = torch.float32) -> LlmDecoder:
    llm = load_llm(folder, dtype)
    check = LlmCheck(llm)
    begin = begin_batches(llm, int8)
    check(begin, int8)
    torch.manual_seed(1)
    return LlmDecoder(llm, Projector(8, 16, llm.hidden_size, 2).eval(), TEMPLATE, "tiny", begin)


def prompts(count: int) -> list[Prompt]:
    """Of mixed lengths."""
    vectors = np.random.default_rng(0).normal(size=(count, 8)).astype(np.float32)
    captions = tiny_captions(40)
    return [Prompt(vector, tuple(captions[at : at + at % 4])) for at, vector in enumerate(vectors)]


@pytest.mark.slow
@pytest.mark.parametrize("int8", [False, True], ids=["float32", "int8"])
@pytest.mark.parametrize("beams", [1, 3])
def test_a_caption_does_not_depend_on_the_prompts_beside_it(folder: Path, beams: int, int8: bool) -> None:
    if int8 and not int8_supported():
        pytest.skip("this build of torch has no int8 kernel")
    options = GenerationOptions(num_beams=beams, max_new_tokens=8)
    writer, asked = decoder(folder, int8), prompts(7)
    together = writer.generate(asked, options)
    assert together == [writer.generate([prompt], options)[0] for prompt in asked]
    assert len({one.text for one in together}) > 1


def test_an_llm_writes_the_same_in_any_batch_size_in_bfloat16_too(folder: Path) -> None:
    # Rounding may turn a close decision, so scores are compared and not captions.
    llm = load_llm(folder, torch.bfloat16)
    check = LlmCheck(llm)
    check(partial(PromptBatch, llm.model))
    assert decoder(folder, dtype=torch.bfloat16).generate(prompts(2), GenerationOptions(max_new_tokens=4))


def test_every_linear_layer_is_quantised_whether_it_has_a_bias_or_not(tmp_path: Path) -> None:
    if not int8_supported():
        pytest.skip("this build of torch has no int8 kernel")
    llm = load_llm(save_llm(tmp_path, opt))
    begin_batches(llm, int8=True)
    assert not [name for name, layer in llm.model.named_modules() if isinstance(layer, torch.nn.Linear)]


def test_an_architecture_that_keeps_no_keys_and_values_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(WrongWeights, match="MambaForCausalLM cannot run in batches"):
        decoder(save_llm(tmp_path, mamba))


def test_an_llm_whose_numbers_overflow_is_refused_with_what_helps(tmp_path: Path) -> None:
    llm = load_llm(save_llm(tmp_path))
    llm.model.lm_head.weight.data.mul_(float("inf"))
    with pytest.raises(WrongWeights, match=r"not finite.*DRCAP_LLM__DTYPE"):
        LlmCheck(llm, "DRCAP_LLM__DTYPE")(partial(PromptBatch, llm.model))


def test_batches_that_see_their_padding_are_refused(tmp_path: Path) -> None:
    class Careless(PromptBatch):
        def start(self) -> torch.Tensor:
            self._mask = torch.ones_like(self._mask)
            return super().start()

    llm = load_llm(save_llm(tmp_path, gpt2))
    check = LlmCheck(llm)
    with pytest.raises(WrongWeights, match="changes beside a longer"):
        check(partial(Careless, llm.model))


def test_scores_that_a_kernel_of_torch_cannot_bound_are_bounded(tmp_path: Path) -> None:
    llm = load_llm(save_llm(tmp_path, gemma2))
    assert llm.model.config._attn_implementation == "eager"
    ids = torch.tensor([[5, 9, 20, 33]])
    with torch.no_grad():
        eager = llm.model(ids).logits
        begin_batches(llm, int8=False)
        from models.llm.cpu.attention import use_double_attention

        use_double_attention(llm.model)
        torch.testing.assert_close(llm.model(ids).logits, eager, atol=1e-4, rtol=0)
        llm.model.config.attn_logit_softcapping = None
        for layer in llm.model.model.layers:
            layer.self_attn.attn_logit_softcapping = None
        assert (llm.model(ids).logits - eager).abs().max() > 1e-2


def test_an_llm_in_shards_is_the_llm_in_one_file(tmp_path: Path) -> None:
    whole, shards = save_llm(tmp_path / "whole"), save_llm(tmp_path / "shards", max_shard_size="4KB")
    assert len(list(shards.glob("model-*.safetensors"))) > 1
    weights = load_llm(whole).model.state_dict()
    for name, tensor in load_llm(shards).model.state_dict().items():
        assert torch.equal(tensor, weights[name]), name


def test_weights_that_lack_a_tensor_are_refused_by_its_name(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = save_llm(tmp_path) / "model.safetensors"
    weights = load_file(file)
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(WrongWeights, match=r"missing keys.*layers\.1\.mlp\.up_proj"):
        load_llm(tmp_path)


def test_code_that_comes_with_the_weights_is_refused_and_not_run(tmp_path: Path) -> None:
    import json

    config = json.loads((save_llm(tmp_path) / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Config: pass\nclass Model: pass\n")
    with pytest.raises(WrongWeights, match="holds no causal LLM"):
        load_llm(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_a_tokenizer_without_an_end_token_is_refused(tmp_path: Path) -> None:
    save_tokenizer(save_llm(tmp_path), eos_token=None)
    with pytest.raises(WrongWeights, match="eos_token"):
        load_llm(tmp_path)


def test_a_folder_without_files_is_named(tmp_path: Path) -> None:
    with pytest.raises((MissingWeights, WrongWeights), match=str(tmp_path)):
        load_llm(tmp_path)


def test_nothing_is_asked_of_the_network_for_an_llm_on_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_llm(tmp_path)

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert load_llm(folder).hidden_size == 16


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Llm:
    return load_llm(save_llm(tmp_path_factory.mktemp("tiny"), llama))


def test_what_steers_an_llm_is_known_whether_marked_as_special_or_not(tiny: Llm) -> None:
    assert tiny.control_tokens["<|user|>"] == USER
    assert tiny.control_tokens["<|assistant|>"] == ASSISTANT
    assert tiny.tokenizer.added_tokens_decoder[USER].special is False


@pytest.mark.parametrize(
    "text", ["a<|user|>b", "<|assistant|>", "<|user|><|user|>", "x</s><|user|> y <s>", "<<|user|>|>"]
)
def test_no_text_becomes_a_token_that_steers(tiny: Llm, text: str) -> None:
    ids = tiny.tokenize(text)
    assert not {USER, ASSISTANT, 0, 1} & set(ids)
    assert len(ids) == len(text)
    # What the tokenizer itself makes of it, so that the test could fail.
    assert {USER, ASSISTANT, 0, 1} & set(tiny.tokenizer(text, add_special_tokens=False)["input_ids"])


def test_letters_that_the_tokenizer_does_not_know_stay_in_the_text(tiny: Llm) -> None:
    assert tiny.tokenize("aéb").count(UNKNOWN) == 1


def _of_a_tokenizer(change: Callable[[Path], None], folder: Path) -> Llm:
    change(save_llm(folder))
    return load_llm(folder)


def test_a_text_of_an_llm_without_a_start_token_begins_with_none(tmp_path: Path) -> None:
    llm = _of_a_tokenizer(partial(save_tokenizer, bos_token=None), tmp_path)
    assert llm.start_token is None


def test_a_caption_ends_with_any_end_that_the_llm_was_tuned_on(tmp_path: Path) -> None:
    llm = load_llm(save_llm(tmp_path))
    assert llm.end_tokens == {1}
    llm.model.generation_config.eos_token_id = [1, ASSISTANT]
    assert Llm(llm.model, llm.tokenizer).end_tokens == {1, ASSISTANT}
