"""The decoder of DRCap: projector and LLM write a caption from a vector and similar captions."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from models.decoder import Generated, GenerationOptions, Gone, nobody
from models.llm.generation import StepModel, decode
from models.llm.guidance import Guidance
from models.llm.language_model import Llm
from models.llm.projector import Projector
from models.llm.prompt_batch import PromptBatch
from models.prompt import Prompt, PromptTemplate, encode_prompt

Begin = Callable[[Sequence[Tensor], Tensor], StepModel]
"""Starts a batch: embeddings of prompts [length, hidden], tokens that are never written -> `StepModel`."""

_SPACES = re.compile(r"\s+")


class LlmDecoder:
    """Implements `models.decoder.Decoder` with a causal model of transformers."""

    def __init__(
        self, llm: Llm, projector: Projector, template: PromptTemplate, model_name: str, begin: Begin | None = None
    ) -> None:
        """
        Args:
            llm: gives tokenizer and embeddings, and the layers unless `begin` has others.
            projector: turns an audio embedding into tokens of the LLM.
            template: template of the prompts.
            model_name: name in answers and logs.
            begin: starts a batch; by default padded batches of the LLM itself.
        """
        if projector.llm_dim != llm.hidden_size:
            raise ValueError(
                f"the projector gives {projector.llm_dim} numbers a token, the LLM takes {llm.hidden_size}"
            )
        self.model_name = model_name
        self._llm = llm
        self._projector = projector
        self._template = template
        self._begin: Begin = begin or partial(PromptBatch, llm.model)
        # A caption is one line, so a line break ends it as the end token does.
        self._end_tokens = llm.end_tokens | frozenset(llm.tokenize("\n")[-1:])
        self._forbidden = torch.tensor(sorted(set(llm.control_tokens.values()) - llm.end_tokens), dtype=torch.long)

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Prompt], options: GenerationOptions, gone: Gone = nobody) -> list[Generated]:
        """Write one caption a prompt, in order; see `models.decoder.Decoder`."""
        if not prompts:
            return []
        batch = self._begin(self._embed(prompts), self._forbidden)
        guides = [self._guide(prompt, options) for prompt in prompts]
        captions = decode(batch, len(prompts), options, self._end_tokens, gone, guides)
        return [
            Generated(self._text(found[0]), len(found[0]) + 1, tuple(self._text(tokens) for tokens in found[1:]))
            for found in captions
        ]

    def _guide(self, prompt: Prompt, options: GenerationOptions) -> Guidance:
        near = prompt.neighbours if options.guidance else ()
        tokens = [[*self._llm.tokenize(" " + one.caption), self._llm.end_token] for one in near]
        return Guidance(tokens, [one.weight for one in near])

    def _embed(self, prompts: Sequence[Prompt]) -> list[Tensor]:
        """Return the input embeddings of each prompt [length, hidden]."""
        device = self._llm.model.device
        table: Any = self._llm.model.get_input_embeddings()
        rows = []
        for prompt in prompts:
            before, after = encode_prompt(self._llm, self._template, prompt)
            # One prompt at a time, because a product over several rows may round differently.
            audio = self._projector(torch.as_tensor(prompt.vector).float()[None])[0].to(table.weight)
            around = [table(torch.tensor(tokens, dtype=torch.long, device=device)) for tokens in (before, after)]
            rows.append(torch.cat([around[0], audio, around[1]]))
        return rows

    def _text(self, tokens: Sequence[int]) -> str:
        text = self._llm.tokenizer.decode(list(tokens), skip_special_tokens=True)
        return _SPACES.sub(" ", text).strip()
