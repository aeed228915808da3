"""The loss of a decoder on its captions, and the weights that training changes."""

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from peft.utils import set_peft_model_state_dict
from safetensors.torch import load_file
from torch import Tensor, nn

from models.bundle.config import ADAPTER, PROJECTOR
from models.llm.language_model import Llm
from models.llm.projector import Projector
from training.batches import IGNORED, Batch
from training.options import TrainOptions

_LORA = ("q_proj", "v_proj")
_HALF_LORA = ("o_proj", "gate_proj", "up_proj", "down_proj")


class CaptionLoss(nn.Module):
    """Mean cross-entropy over the tokens of the captions; one module for accelerate to wrap."""

    def __init__(self, llm: Any, projector: Projector) -> None:
        """Args:
        llm: a causal model, with or without PEFT's adapter.
        projector: turns a batch's vectors into audio tokens.
        """
        super().__init__()
        self.llm = llm
        self.projector = projector

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss, float32 [].

        Logits are computed only where there is a label: the vocabulary is the largest layer.
        """
        base = self.llm.get_base_model() if hasattr(self.llm, "get_base_model") else self.llm
        embeds = base.get_input_embeddings()(batch.ids).clone()
        embeds[batch.audio[..., 0], batch.audio[..., 1]] = self.projector(batch.vectors).to(embeds.dtype)
        hidden = base.model(
            inputs_embeds=embeds, attention_mask=batch.mask(), position_ids=batch.positions, use_cache=False
        ).last_hidden_state
        wanted = batch.labels[:, 1:] != IGNORED
        logits = base.lm_head(hidden[:, :-1][wanted])
        return nn.functional.cross_entropy(logits.float(), batch.labels[:, 1:][wanted])


def caption_loss(llm: Llm, base: Path, embedding_dim: int, options: TrainOptions) -> CaptionLoss:
    """Return the loss of an LLM with a LoRA and a projector to train: the bundle's, or fresh ones.

    Layers that the bundle's LoRA does not adapt begin with a LoRA that changes nothing.

    Args:
        llm: the bundle's, without its LoRA.
        base: folder of the bundle.
        embedding_dim: length of the CLAP's vectors.
        options: rank, dropout, and whether to begin fresh.

    Raises:
        ValueError: this loss would not be the LLM's own, the bundle's LoRA has another rank, or its projector does
            not fit.
    """
    # The loss needs the layers apart from the output layer, and attention that takes any mask.
    apart = hasattr(llm.model, "model") and hasattr(llm.model, "lm_head")
    if not apart or llm.model.config._attn_implementation != "sdpa":
        raise ValueError(
            f"{type(llm.model).__name__} cannot be trained here; Llama, Mistral and Qwen and their like can"
        )
    torch.manual_seed(options.seed)
    scale = float(llm.model.get_input_embeddings().weight.detach().float().std())
    model: Any = get_peft_model(llm.model, _lora(options))
    if options.fresh:
        projector = Projector(embedding_dim, options.hidden, llm.hidden_size, options.audio_tokens)
        # Unit vectors in, vectors of the size of token embeddings out: the frozen LLM expects nothing else.
        torch.nn.init.normal_(projector.linear1.weight, std=1.0)
        torch.nn.init.normal_(projector.linear2.weight, std=scale / (options.hidden / 2) ** 0.5)
    else:
        projector = Projector.load(base / PROJECTOR, embedding_dim, llm.hidden_size)
        try:
            found: Any = set_peft_model_state_dict(model, load_file(base / ADAPTER / "adapter_model.safetensors"))
        except RuntimeError as error:
            raise ValueError(f"the LoRA of {base} does not have rank {options.rank}: {error}") from error
        if found.unexpected_keys:
            raise ValueError(f"the LoRA of {base} adapts layers that training does not: {found.unexpected_keys[0]}")
    return CaptionLoss(model, projector)


def _lora(options: TrainOptions) -> LoraConfig:
    half = max(1, options.rank // 2)
    return LoraConfig(
        r=options.rank,
        lora_alpha=2 * options.rank,
        lora_dropout=options.dropout,
        target_modules=[*_LORA, *_HALF_LORA],
        rank_pattern=dict.fromkeys(_HALF_LORA, half),
        alpha_pattern=dict.fromkeys(_HALF_LORA, 2 * half),
        task_type="CAUSAL_LM",
    )
