"""The loss of captions in one row equals that of each alone; other LLMs are refused by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.llm.language_model import load_llm
from models.llm.projector import Projector
from models.prompt import Prompt, PromptTemplate, encode_prompt
from tests.tiny_bundle import tiny_captions
from tests.tiny_llms import gemma2, gemma3, gpt2, gpt_neox, llama, opt, qwen2, save_llm
from tests.training_parts import TEMPLATE, example, tiny_vectors
from training.batches import collate
from training.loss import CaptionLoss, caption_loss
from training.options import TrainOptions


@pytest.mark.kernels
def test_captions_that_share_a_prompt_cost_what_they_cost_alone(tiny: Any) -> None:
    torch.manual_seed(3)
    loss = CaptionLoss(tiny.model, Projector(64, 8, tiny.hidden_size, 4)).eval()
    heard, other = tiny_vectors(2)
    one, two, three = tiny_captions(3)
    similar = ("Rain falls", "A bell")
    shared = collate(tiny, TEMPLATE, [example(heard, similar, (one, two, three)), example(other, (), (two,))], 4)
    examples = [*(example(heard, similar, (caption,)) for caption in (one, two, three)), example(other, (), (two,))]
    alone = [collate(tiny, TEMPLATE, [one], 4) for one in examples]
    total = sum(float(loss(batch).detach()) * batch.tokens() for batch in alone)
    assert sum(batch.tokens() for batch in alone) == shared.tokens()
    assert float(loss(shared).detach()) == pytest.approx(total / shared.tokens(), rel=1e-5)


LIKE = PromptTemplate("Like {similar} audio {audio}:", "{caption}", "; ", "-")


VECTOR = np.full(8, 8**-0.5, dtype=np.float32)


CAPTIONS = ("rain falls", "a bell")


OPTIONS = TrainOptions(fresh=True, rank=2, hidden=16)


@pytest.mark.parametrize("make", [llama, qwen2, gemma3, opt], ids=lambda make: make.__name__)
@torch.no_grad()
def test_the_loss_of_captions_in_one_row_is_that_of_each_alone(make: Callable[[], Any], tmp_path: Path) -> None:
    llm = load_llm(save_llm(tmp_path, make))
    projector = Projector(8, 16, llm.hidden_size, 2)
    one = example(VECTOR, ("a dog",), CAPTIONS)
    together = float(CaptionLoss(llm.model, projector)(collate(llm, LIKE, [one], 2)))
    table, losses = llm.model.get_input_embeddings(), []
    before, after = encode_prompt(llm, LIKE, Prompt(VECTOR, ("a dog",)))
    for text in CAPTIONS:
        caption = [*llm.tokenize(" " + text), llm.end_token]
        audio = projector(torch.from_numpy(VECTOR)[None])[0]
        row = torch.cat([table(torch.tensor(before)), audio, table(torch.tensor(after + caption))])
        logits = llm.model(inputs_embeds=row[None]).logits[0, -len(caption) - 1 : -1]
        losses.append(torch.nn.functional.cross_entropy(logits, torch.tensor(caption), reduction="none"))
    assert together == pytest.approx(float(torch.cat(losses).mean()), abs=1e-4)
    caption_loss(load_llm(tmp_path), tmp_path, 8, OPTIONS)


@pytest.mark.parametrize("make", [gemma2, gpt2, gpt_neox], ids=lambda make: make.__name__)
def test_an_llm_whose_loss_would_be_another_is_refused(make: Callable[[], Any], tmp_path: Path) -> None:
    llm = load_llm(save_llm(tmp_path, make))
    with pytest.raises(ValueError, match=f"{type(llm.model).__name__} cannot be trained here"):
        caption_loss(llm, tmp_path, 8, OPTIONS)
