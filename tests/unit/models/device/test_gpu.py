"""What only a GPU can tell: an LLM in bfloat16, in float16 and quantised, beside itself on the CPU."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.decoder import GenerationOptions
from models.device.hardware import detect
from models.device.plan import DevicePlan, Dtype, Quantisation, Wishes, choose_plan
from models.llm.batch_check import LlmCheck
from models.llm.decoder import LlmDecoder
from models.llm.execution import begin_batches
from models.llm.language_model import load_llm
from models.llm.placement import place_llm
from models.llm.projector import Projector
from models.prompt import Prompt, PromptTemplate
from tests.tiny_bundle import tiny_captions
from tests.tiny_llms import ARCHITECTURES, large_enough, save_llm

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU"),
]

TEMPLATE = PromptTemplate("{similar}\n{audio}:", "- {caption}", "\n", "-")


def plan(wishes: Wishes) -> DevicePlan:
    try:
        return choose_plan(wishes)
    except ValueError as error:
        pytest.skip(str(error))


def decoder(folder: Path, chosen: DevicePlan) -> LlmDecoder:
    llm = load_llm(folder, chosen.dtype.value)
    check = LlmCheck(llm)
    place_llm(llm, chosen, chosen.llm.value[0])
    begin = begin_batches(llm, int8=False)
    check(begin, chosen.quantisation.value != "none")
    torch.manual_seed(1)
    return LlmDecoder(llm, Projector(8, 16, llm.hidden_size, 2).eval(), TEMPLATE, "tiny", begin)


def prompts(count: int) -> list[Prompt]:
    vectors = np.random.default_rng(0).normal(size=(count, 8)).astype(np.float32)
    captions = tiny_captions(40)
    return [Prompt(vector, tuple(captions[at : at + at % 4])) for at, vector in enumerate(vectors)]


@pytest.mark.parametrize("make", ARCHITECTURES, ids=lambda make: make.__name__)
def test_in_float32_a_gpu_writes_what_the_cpu_writes(make: Callable[[], Any], tmp_path: Path) -> None:
    folder = save_llm(tmp_path, make)
    options = GenerationOptions(num_beams=2, max_new_tokens=8)
    on_gpu = decoder(folder, plan(Wishes("cuda", dtype="float32"))).generate(prompts(6), options)
    on_cpu = decoder(folder, plan(Wishes("cpu"))).generate(prompts(6), options)
    assert [one.text for one in on_gpu] == [one.text for one in on_cpu]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("make", ARCHITECTURES, ids=lambda make: make.__name__)
def test_in_half_precision_batches_are_as_single_prompts(make: Callable[[], Any], dtype: Dtype, tmp_path: Path) -> None:
    chosen = plan(Wishes("cuda", dtype=dtype))
    writer = decoder(save_llm(tmp_path, make), chosen)
    assert writer.generate(prompts(6), GenerationOptions(num_beams=2, max_new_tokens=8))


@pytest.mark.parametrize("quantisation", ["int8", "int4", "fp8"])
def test_a_quantised_llm_is_like_itself_before_and_takes_less_memory(
    quantisation: Quantisation, tmp_path: Path
) -> None:
    pytest.importorskip("torchao", reason="torchao is not installed: pip install 'drcap[gpu]'")
    folder = save_llm(tmp_path, large_enough)
    taken = {}
    for wanted in ("none", quantisation):
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated()
        # `decoder` compares it with itself before, and batches with single prompts.
        writer = decoder(folder, plan(Wishes("cuda", quantisation=wanted)))
        taken[wanted] = torch.cuda.memory_allocated() - before
        assert writer.generate(prompts(4), GenerationOptions(max_new_tokens=4))
        del writer
    assert taken[quantisation] < 0.8 * taken["none"]


def test_the_memory_of_a_gpu_is_known() -> None:
    assert all(gpu.memory > 1 << 30 for gpu in detect().gpus)
