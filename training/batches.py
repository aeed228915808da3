"""Batches of training examples, and the loss on their captions' tokens."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.llm import Llm
from models.projector import Projector
from models.prompt import Prompt, PromptTemplate, encode_prompt
from training.examples import ExampleSource

TEMPLATE = PromptTemplate(
    text="Similar captions:\n{similar}\nAudio: {audio}\nCaption:",
    similar_item="- {caption}",
    separator="\n",
    none="- none",
)


@dataclass(frozen=True)
class Batch:
    """Right-padded token ids with -100 labels outside the captions; audio tokens stand as zeros at `audio`."""

    ids: Tensor
    mask: Tensor
    labels: Tensor
    audio: Tensor
    vectors: Tensor


def encode(llm: Llm, template: PromptTemplate, prompt: Prompt, caption: str, tokens: int) -> tuple[list[int], int, int]:
    """Token ids of one example, the position of its first audio token and of its first caption token."""
    head, middle = encode_prompt(llm, template, prompt)
    target = [*llm.tokenize(" " + caption), llm.end_token]
    ids = head + [0] * tokens + middle + target
    return ids, len(head), len(ids) - len(target)


def collate(llm: Llm, examples: list[tuple[Prompt, str]], tokens: int) -> Batch:
    """Examples to one batch."""
    encoded = [encode(llm, TEMPLATE, prompt, caption, tokens) for prompt, caption in examples]
    width = max(len(ids) for ids, _, _ in encoded)
    ids = torch.zeros(len(encoded), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    labels = torch.full_like(ids, -100)
    audio = torch.zeros(len(encoded), tokens, dtype=torch.long)
    for row, (tokens_of_row, at, target) in enumerate(encoded):
        length = len(tokens_of_row)
        ids[row, :length] = torch.tensor(tokens_of_row)
        mask[row, :length] = 1
        labels[row, target:length] = ids[row, target:length]
        audio[row] = torch.arange(at, at + tokens)
    vectors = torch.from_numpy(np.stack([prompt.vector for prompt, _ in examples]))
    return Batch(ids, mask, labels, audio, vectors)


def caption_loss(model: Any, projector: Projector, batch: Batch) -> Tensor:
    """Mean cross-entropy over the captions' tokens; logits exist only where there is a label."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    embeds = base.get_input_embeddings()(batch.ids).clone()
    rows = torch.arange(len(batch.ids)).unsqueeze(1)
    embeds[rows, batch.audio] = projector(batch.vectors).to(embeds.dtype)
    hidden = base.model(inputs_embeds=embeds, attention_mask=batch.mask, use_cache=False).last_hidden_state
    wanted = batch.labels[:, 1:] != -100
    logits = base.lm_head(hidden[:, :-1][wanted])
    return torch.nn.functional.cross_entropy(logits.float(), batch.labels[:, 1:][wanted])


def draw_batches(llm: Llm, source: ExampleSource, size: int, tokens: int, seed: int, index: int) -> list[Batch]:
    """Eight batches of about equal length inside, the same for the same seed and index."""
    rng = np.random.default_rng([seed, index])
    examples = sorted(
        (source.draw(rng) for _ in range(8 * size)),
        key=lambda e: len(e[1]) + sum(map(len, e[0].similar_captions)),
    )
    batches = [examples[i : i + size] for i in range(0, len(examples), size)]
    return [collate(llm, batches[i], tokens) for i in rng.permutation(len(batches))]


@torch.inference_mode()
def validation_loss(model: Any, projector: Projector, batches: list[Batch]) -> float:
    """Loss on held-out captions."""
    training = model.training
    model.eval()
    losses = [float(caption_loss(model, projector, batch)) for batch in batches]
    model.train(training)
    return float(np.mean(losses))
