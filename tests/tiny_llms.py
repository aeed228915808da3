"""Causal LLMs of several architectures with random weights, written as transformers writes them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.tiny_bundle import VOCABULARY

SPECIAL = ("<s>", "</s>", "<unk>", "<|user|>", "<|assistant|>")
WORDS = {token: i for i, token in enumerate([*SPECIAL, *VOCABULARY])}
CHAT = (
    "{{ bos_token }}{% for message in messages %}<|user|>\n{{ message['content'] | trim }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def save_tokenizer(folder: Path, chat: str | None = None, **special: Any) -> None:
    """Letters are tokens. ``<|user|>`` is added without being marked as special, ``<|assistant|>`` with that mark."""
    from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel(WORDS, unk_token="<unk>"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("[\\s\\S]"), "isolated")
    tokenizer.add_tokens([AddedToken("<|user|>", normalized=False)])
    tokenizer.add_special_tokens([AddedToken("<|assistant|>", normalized=False)])
    make: Any = PreTrainedTokenizerFast
    named = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"} | special
    made = make(tokenizer_object=tokenizer, **{name: token for name, token in named.items() if token})
    if chat is not None:
        made.chat_template = chat
    made.save_pretrained(str(folder))


def _sizes(**others: Any) -> dict[str, Any]:
    sizes = {"vocab_size": len(WORDS), "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    return sizes | {"initializer_range": 0.3} | others


def _common(**others: Any) -> dict[str, Any]:
    layers = {"num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 256}
    return _sizes(hidden_size=16, intermediate_size=32, **layers, **others)


def llama() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(LlamaConfig(**_common(num_key_value_heads=1)))


def qwen2() -> Any:
    """With biases in its attention."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    return Qwen2ForCausalLM(Qwen2Config(**_common(num_key_value_heads=1)))


def gpt_neox() -> Any:
    """With biases, rotary positions in a part of a head, attention and MLP side by side."""
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    return GPTNeoXForCausalLM(GPTNeoXConfig(**_common()))


def gemma2() -> Any:
    """With bounded scores, and every other layer seeing the nearest tokens only."""
    from transformers import Gemma2Config, Gemma2ForCausalLM

    sizes = _common(num_key_value_heads=1, head_dim=8, query_pre_attn_scalar=8, sliding_window=128)
    return Gemma2ForCausalLM(Gemma2Config(**sizes, attn_logit_softcapping=0.5))


def gemma3() -> Any:
    """With embeddings that are scaled in their table."""
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    return Gemma3ForCausalLM(Gemma3TextConfig(**_common(num_key_value_heads=1, head_dim=8, sliding_window=128)))


def opt() -> Any:
    """With absolute positions, and embeddings of another size than its layers."""
    from transformers import OPTConfig, OPTForCausalLM

    sizes = _sizes(hidden_size=16, ffn_dim=32, num_hidden_layers=2, num_attention_heads=2, word_embed_proj_dim=8)
    return OPTForCausalLM(OPTConfig(**sizes, max_position_embeddings=256, init_std=0.3))


def gpt2() -> Any:
    """With absolute positions, and layers that are no linear ones of torch."""
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(**_sizes(n_embd=16, n_layer=2, n_head=2, n_positions=256)))


def large_enough() -> Any:
    """A Llama whose layers every kernel for quantised weights takes."""
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = _sizes(hidden_size=512, intermediate_size=1024, num_hidden_layers=2, num_attention_heads=4)
    return LlamaForCausalLM(LlamaConfig(**sizes | {"initializer_range": 0.04}, num_key_value_heads=2))


def mamba() -> Any:
    """Without keys and values."""
    from transformers import MambaConfig, MambaForCausalLM

    return MambaForCausalLM(MambaConfig(**_sizes(hidden_size=16, num_hidden_layers=2, state_size=4)))


ARCHITECTURES: tuple[Callable[[], Any], ...] = (llama, qwen2, gpt_neox, gemma2, gemma3, opt, gpt2)


def save_llm(folder: Path, make: Callable[[], Any] = llama, chat: str | None = None, **how: Any) -> Path:
    """Write a model with its tokenizer; `how` goes to transformers, as max_shard_size does."""
    torch.manual_seed(0)
    model = make()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.3)
    model.save_pretrained(str(folder), **how)
    save_tokenizer(folder, chat)
    return folder


def save_gguf(path: Path) -> Any:
    """Write a Llama as llama.cpp does, in full precision; returns it as transformers has it."""
    from gguf import GGUFWriter

    torch.manual_seed(0)
    model = llama().eval()
    config, weights = model.config, model.state_dict()
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([*list(WORDS)[:-1], "ab"])
    writer.add_token_types([3 if word in SPECIAL else 1 for word in WORDS])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    for theirs, ours in _gguf_names(config.num_hidden_layers).items():
        tensor = weights[ours]
        if theirs.endswith(("attn_q.weight", "attn_k.weight")):
            tensor = _interleaved(tensor, config.hidden_size // config.num_attention_heads)
        writer.add_tensor(theirs, tensor.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


def _gguf_names(layers: int) -> dict[str, str]:
    parts = {
        "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
        "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
        "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
    }  # fmt: skip
    names = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
    names |= {f"blk.{at}.{a}": f"model.layers.{at}.{b}" for at in range(layers) for a, b in parts.items()}
    return {f"{theirs}.weight": f"{ours}.weight" for theirs, ours in names.items()}


def _interleaved(weight: torch.Tensor, head: int) -> torch.Tensor:
    """llama.cpp turns neighbours, transformers halves."""
    return weight.view(-1, 2, head // 2, weight.shape[1]).transpose(1, 2).reshape(weight.shape).contiguous()
