"""The contract of `models.llm.generation.StepModel`: a batch against the LLM asked for each text from its start."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.decoder import GenerationOptions
from models.device.int8 import int8_supported, quantise_linears
from models.llm.cpu.attention import use_double_attention
from models.llm.cpu.packed_batch import PackedBatch
from models.llm.decoder import Begin, LlmDecoder
from models.llm.execution import begin_batches
from models.llm.generation import StepModel, decode
from models.llm.language_model import Llm, load_llm
from models.llm.projector import Projector
from models.llm.prompt_batch import PromptBatch
from models.prompt import Prompt, PromptTemplate
from tests.tiny_bundle import tiny_captions, write_tiny_bundle

FORBIDDEN = torch.tensor([0])
TEXTS = [[5, 6, 7], [8, 9, 10, 11, 12], [13], [14, 15, 16, 17]]


@pytest.fixture
def llm(tmp_path: Path) -> Llm:
    return load_llm(write_tiny_bundle(tmp_path) / "llm")


@pytest.fixture(params=["padded", "padded int8", "packed", "packed int8"])
def begin(request: pytest.FixtureRequest, llm: Llm) -> Begin:
    """How batches of the LLM begin, in each way there is."""
    int8 = "int8" in request.param
    if int8 and not int8_supported():
        pytest.skip("this build of torch has no int8 kernel")
    if "packed" in request.param:
        return begin_batches(llm, int8)
    if int8:
        quantise_linears(llm.model)
        use_double_attention(llm.model)
    return lambda prompts, forbidden: PromptBatch(llm.model, prompts, forbidden)


@pytest.fixture
def batch_of(llm: Llm, begin: Begin) -> Callable[[list[list[int]]], StepModel]:
    table: Any = llm.model.get_input_embeddings()
    return lambda texts: begin([table(torch.tensor(text)) for text in texts], FORBIDDEN)


@pytest.fixture
def afresh(request: pytest.FixtureRequest, batch_of: Any, tmp_path: Path) -> Callable[[list[list[int]]], Tensor]:
    """Log-probabilities of what follows each text, one at a time and without a past."""
    if "int8" in request.node.callspec.params["begin"]:
        return lambda texts: torch.cat([batch_of([text]).start() for text in texts])
    whole = load_llm(write_tiny_bundle(tmp_path) / "llm").model

    def score(texts: list[list[int]]) -> Tensor:
        logits = torch.stack([whole(torch.tensor([text]), use_cache=False).logits[0, -1].float() for text in texts])
        logits[:, FORBIDDEN] = -torch.inf
        return torch.log_softmax(logits, dim=-1)

    return score


@torch.inference_mode()
@pytest.mark.kernels
def test_every_step_scores_as_the_llm_does_from_the_start_of_the_text(batch_of: Any, afresh: Any) -> None:
    batch = batch_of(TEXTS)
    texts = [list(text) for text in TEXTS]
    torch.testing.assert_close(batch.start(), afresh(texts), atol=1e-4, rtol=0)
    # By step: which former row each continues. Beams come and change places, one prompt has fewer, one leaves, then
    # another in the middle, and at last more beams come than there were.
    steps = [
        [0, 0, 0, 1, 1, 2, 3, 3, 3],
        [2, 0, 1, 3, 3, 5, 7, 6],
        [1, 1, 0, 3, 3, 7, 6, 6],
        [0, 2, 5, 5],
        [2, 3, 3, 2, 2],
    ]
    for number, rows in enumerate(steps):
        tokens = [20 + number + at for at in range(len(rows))]
        texts = [[*texts[row], token] for row, token in zip(rows, tokens, strict=True)]
        scores = batch.step(torch.tensor(rows), torch.tensor(tokens))
        torch.testing.assert_close(scores, afresh(texts), atol=1e-4, rtol=0)


@torch.inference_mode()
def test_a_text_longer_than_the_room_in_the_buffers_is_scored_the_same(batch_of: Any, afresh: Any) -> None:
    batch = batch_of([[5, 6, 7]])
    batch.start()
    text = [5, 6, 7]
    for number in range(80):
        text.append(3 + number % 40)
        scores = batch.step(torch.zeros(1, dtype=torch.long), torch.tensor(text[-1:]))
    torch.testing.assert_close(scores, afresh([text]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("beams", [1, 2, 4])
@torch.inference_mode()
def test_a_prompt_is_kept_once_and_not_once_a_beam(batch_of: Any, beams: int) -> None:
    batch = batch_of(TEXTS[:2])
    batch.start()
    rows = [0] * beams + [1] * beams
    batch.step(torch.tensor(rows), torch.tensor([9] * len(rows)))
    assert slots(batch) == [5 + beams, 5 + beams] if isinstance(batch, PromptBatch) else [3 + beams, 5 + beams]


def slots(batch: StepModel) -> list[int]:
    """How many tokens' keys are kept for each prompt."""
    if isinstance(batch, PackedBatch):
        return [past.held for past in batch._pasts]
    assert isinstance(batch, PromptBatch)
    rows, _, held, _ = batch._cache.layers[0].keys.shape
    return [held] * rows


TEMPLATE = PromptTemplate("{similar}\n{audio}:", "- {caption}", "\n", "-")


@pytest.fixture
def decoder(llm: Llm, begin: Begin) -> LlmDecoder:
    torch.manual_seed(1)
    return LlmDecoder(llm, Projector(8, 16, llm.hidden_size, 2).eval(), TEMPLATE, "tiny", begin)


def prompts(count: int) -> list[Prompt]:
    """Of mixed lengths, from none to four similar captions."""
    vectors = np.random.default_rng(0).normal(size=(count, 8)).astype(np.float32)
    captions = tiny_captions(40)
    return [Prompt(vector, tuple(captions[at : at + at % 5])) for at, vector in enumerate(vectors)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        GenerationOptions(max_new_tokens=12),
        GenerationOptions(max_new_tokens=12, num_beams=4),
        GenerationOptions(max_new_tokens=12, temperature=0.8, seed=3),
    ],
)
@pytest.mark.kernels
def test_a_caption_does_not_depend_on_the_prompts_beside_it(decoder: LlmDecoder, options: GenerationOptions) -> None:
    asked = prompts(11)
    together = decoder.generate(asked, options)
    assert together == [decoder.generate([prompt], options)[0] for prompt in asked]
    assert decoder.generate(asked[::-1], options) == together[::-1]
    assert len({one.text for one in together}) > 1


def test_a_prompt_nobody_waits_for_leaves_the_llm_and_changes_no_other(decoder: LlmDecoder) -> None:
    options = GenerationOptions(max_new_tokens=12, num_beams=3)
    asked = prompts(4)
    expected = decoder.generate(asked, options)
    answers = decoder.generate(asked, options, lambda index: index == 2)
    assert [answers[at] for at in (0, 1, 3)] == [expected[at] for at in (0, 1, 3)]
    assert answers[2].tokens < expected[2].tokens


def test_no_token_is_computed_when_nobody_waits(batch_of: Any) -> None:
    with torch.inference_mode():
        batch = batch_of(TEXTS)
        decode(batch, len(TEXTS), GenerationOptions(), frozenset({1}), lambda _: True)
    assert max(slots(batch)) == max(len(text) for text in TEXTS)
