"""The decoder of DRCap: projector and causal LLM write a caption from a vector and similar captions."""

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from models.decoder import Generated, GenerationOptions, Gone, nobody
from models.generation import decode
from models.llm import Llm
from models.projector import Projector
from models.prompt import Prompt, PromptTemplate, encode_prompt
from models.prompt_batch import PromptBatch

_SPACES = re.compile(r"\s+")


class LlmDecoder:
    """Implements `models.decoder.Decoder` with a causal model of transformers."""

    def __init__(self, llm: Llm, projector: Projector, template: PromptTemplate, model_name: str) -> None:
        if projector.llm_dim != llm.hidden_size:
            raise ValueError(
                f"the projector gives {projector.llm_dim} numbers a token, the LLM takes {llm.hidden_size}"
            )
        self.model_name = model_name
        self._llm = llm
        self._projector = projector
        self._template = template
        # A caption is one line: a line break ends it as the end token does.
        self._end_tokens = frozenset({llm.end_token, *llm.tokenize("\n")[-1:]})
        self._forbidden = torch.tensor(sorted(set(llm.tokenizer.all_special_ids) - {llm.end_token}))

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Prompt], options: GenerationOptions, gone: Gone = nobody) -> list[Generated]:
        """One caption a prompt, in order; see `models.decoder.Decoder`."""
        if not prompts:
            return []
        batch = PromptBatch(self._llm.model, *self._embed(prompts), self._forbidden)
        captions = decode(batch, len(prompts), options, self._end_tokens, gone)
        return [
            Generated(self._text(found[0]), len(found[0]) + 1, tuple(self._text(tokens) for tokens in found[1:]))
            for found in captions
        ]

    def _embed(self, prompts: Sequence[Prompt]) -> tuple[Tensor, Tensor]:
        """Left-padded input embeddings [n, length, hidden] and the attention mask [n, length]."""
        device = self._llm.model.device
        # One at a time: a product over several rows may round otherwise than over one.
        audio = [self._projector(torch.as_tensor(prompt.vector).float()[None])[0].to(device) for prompt in prompts]
        table: Any = self._llm.model.get_input_embeddings()
        rows = []
        for prompt, tokens in zip(prompts, audio, strict=True):
            before, after = encode_prompt(self._llm, self._template, prompt)
            rows.append(
                torch.cat(
                    [
                        table(torch.tensor(before, device=device)),
                        tokens,
                        table(torch.tensor(after, device=device)),
                    ]
                )
            )
        length = max(len(row) for row in rows)
        embeds = torch.zeros(len(rows), length, rows[0].shape[1], device=device)
        mask = torch.zeros(len(rows), length, dtype=torch.long, device=device)
        for index, row in enumerate(rows):
            embeds[index, length - len(row) :] = row
            mask[index, length - len(row) :] = 1
        return embeds, mask

    def _text(self, tokens: Sequence[int]) -> str:
        text = self._llm.tokenizer.decode(list(tokens), skip_special_tokens=True)
        return _SPACES.sub(" ", text).strip()
