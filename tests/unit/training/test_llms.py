"""LLMs that can be trained: their loss is that of each caption alone; others are refused by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.llm.language_model import load_llm
from models.llm.projector import Projector
from models.prompt import Prompt, PromptTemplate, encode_prompt
from tests.tiny_llms import gemma2, gemma3, gpt2, gpt_neox, llama, opt, qwen2, save_llm
from training.batches import CaptionLoss, collate
from training.examples import Example
from training.options import TrainOptions
from training.run import caption_loss

TEMPLATE = PromptTemplate("Like {similar} audio {audio}:", "{caption}", "; ", "-")
VECTOR = np.full(8, 8**-0.5, dtype=np.float32)
CAPTIONS = ("rain falls", "a bell")
OPTIONS = TrainOptions(fresh=True, rank=2, hidden=16)


@pytest.mark.parametrize("make", [llama, qwen2, gemma3, opt], ids=lambda make: make.__name__)
@torch.no_grad()
def test_the_loss_of_captions_in_one_row_is_that_of_each_alone(make: Callable[[], Any], tmp_path: Path) -> None:
    llm = load_llm(save_llm(tmp_path, make))
    projector = Projector(8, 16, llm.hidden_size, 2)
    example = Example(VECTOR, ("a dog",), CAPTIONS)
    together = float(CaptionLoss(llm.model, projector)(collate(llm, TEMPLATE, [example], 2)))
    table, losses = llm.model.get_input_embeddings(), []
    before, after = encode_prompt(llm, TEMPLATE, Prompt(VECTOR, ("a dog",)))
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
