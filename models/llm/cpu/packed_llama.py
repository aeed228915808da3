"""The layers of a Llama over packed texts: the tokens of many prompts end to end, without padding.

Linear layers, norms and activations take all tokens as rows; the caller attends. So no time goes into padding, and the
result for a prompt does not depend on the other prompts.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.device.int8 import join_linears

Attend = Callable[[int, Tensor, Tensor], Tensor]
"""Attends in a layer: its number, queries [t, heads, d], keys followed by values [t, 2 x key heads, d] ->
[t, heads x d]."""


def packable(model: Any) -> bool:
    """Return whether `PackedLlama` can run a causal model of transformers: a Llama in float32 on the CPU."""
    llama = model.config.model_type == "llama" and model.config.hidden_act == "silu"
    return bool(llama and model.device.type == "cpu" and model.dtype == torch.float32)


class PackedLlama(nn.Module):
    """The network of a `LlamaForCausalLM` of transformers. Projections of the same input are joined."""

    def __init__(self, model: Any, int8: bool) -> None:
        """
        Args:
            model: a model in evaluation mode. Its layers are taken out, so that weights are in memory once.
            int8: quantise every linear layer (`models.device.int8`).
        """
        super().__init__()
        config = model.config
        self.heads = int(config.num_attention_heads)
        self.key_heads = int(config.num_key_value_heads)
        self.size = int(getattr(config, "head_dim", None) or config.hidden_size // self.heads)
        self.embedding: nn.Module = model.get_input_embeddings()
        self.rotary: Any = model.model.rotary_emb
        self.norm = _RmsNorm(model.model.norm)
        made: list[nn.Module] = []
        # One by one, so that a layer's memory is free before the next is made.
        while len(model.model.layers):
            made.append(_Layer(model.model.layers[0], self, int8))
            del model.model.layers[0]
        self.layers = nn.ModuleList(made)
        self.head = join_linears(int8, model.lm_head)

    def forward(self, x: Tensor, positions: Tensor, attend: Attend, last: Tensor | None = None) -> Tensor:
        """Return the logits of the next tokens.

        Args:
            x: embeddings of all tokens [t, hidden].
            positions: position of each token in its text [t].
            attend: attends from the tokens to their past.
            last: rows whose logits are wanted; by default all.

        Returns:
            logits [rows wanted, vocabulary], float32.
        """
        cos, sin = (part[0, :, None] for part in self.rotary(x[None], positions[None]))
        # A rotation needs the second half of a head with the opposite sign.
        sin[..., : self.size // 2].neg_()
        end = len(self.layers) - 1
        for number, layer in enumerate(self.layers):
            # In the last layer, tokens whose logits are not wanted only give keys and values.
            x = layer(x, cos, sin, number, attend, last if number == end else None)
        return torch.as_tensor(self.head(self.norm(x))).float()


class _Layer(nn.Module):
    def __init__(self, layer: Any, whole: PackedLlama, int8: bool) -> None:
        super().__init__()
        self._heads, self._key_heads = whole.heads, whole.key_heads
        self._size = whole.size
        attention, mlp = layer.self_attn, layer.mlp
        self.before = _RmsNorm(layer.input_layernorm)
        self.qkv = join_linears(int8, attention.q_proj, attention.k_proj, attention.v_proj)
        self.attended = join_linears(int8, attention.o_proj)
        self.between = _RmsNorm(layer.post_attention_layernorm)
        self.gate_up = join_linears(int8, mlp.gate_proj, mlp.up_proj)
        self.down = join_linears(int8, mlp.down_proj)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, number: int, attend: Attend, wanted: Tensor | None
    ) -> Tensor:
        heads = self.qkv(self.before(x)).view(len(x), -1, self._size)
        _rotate(heads[:, : self._heads + self._key_heads], cos, sin)
        seen = attend(number, heads[:, : self._heads], heads[:, self._heads :])
        if wanted is not None:
            x, seen = x[wanted], seen[wanted]
        x = x + self.attended(seen)
        gate, up = self.gate_up(self.between(x)).chunk(2, dim=-1)
        out: Tensor = x + self.down(functional.silu(gate).mul_(up))
        return out


class _RmsNorm(nn.Module):
    """Root mean square norm (Zhang and Sennrich, arXiv 1910.07467)."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.weight: nn.Parameter = norm.weight
        self._epsilon = float(norm.variance_epsilon)

    def forward(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x, self.weight.shape, self.weight, self._epsilon)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> None:
    """Rotate x [t, heads, d] in place (Su et al., arXiv 2104.09864, halves apart) by cosines and sines [t, 1, d].

    The sines are negative in the first half.
    """
    torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, dims=-1), sin, out=x)
