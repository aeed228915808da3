"""The layers of a Llama over packed texts: tokens of many prompts end to end, without padding.

Linear layers, norms and activations take all tokens as rows; what a token attends to is left to the caller. So no
time goes into padding, and what is computed for a prompt never depends on its batch mates.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.device.int8 import Int8Linear

Attend = Callable[[int, Tensor, Tensor], Tensor]
"""A layer's number, queries [t, heads, d], keys and behind them values [t, 2 x key heads, d] -> what is attended to
[t, heads x d]."""


def packable(model: Any) -> bool:
    """Whether a causal model of transformers is a Llama in float32 on the CPU, which is what `PackedLlama` computes."""
    llama = model.config.model_type == "llama" and model.config.hidden_act == "silu"
    return bool(llama and model.device.type == "cpu" and model.dtype == torch.float32)


class PackedLlama(nn.Module):
    """The network of a `LlamaForCausalLM` of transformers, its projections side by side where they read the same."""

    def __init__(self, model: Any, int8: bool) -> None:
        """
        Args:
            model: in evaluation mode; its layers are taken out of it, so that their weights are kept once.
            int8: quantise every linear layer, as `models.device.int8` has it.
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
        # One by one, so that the memory of a layer is free before the next is made.
        while len(model.model.layers):
            made.append(_Layer(model.model.layers[0], self, int8))
            del model.model.layers[0]
        self.layers = nn.ModuleList(made)
        self.head = _linear(int8, model.lm_head)

    def forward(self, x: Tensor, positions: Tensor, attend: Attend, last: Tensor | None = None) -> Tensor:
        """Scores of what comes next.

        Args:
            x: embeddings of all tokens [t, hidden].
            positions: of each token in its text [t].
            attend: lets the tokens see their past.
            last: rows whose scores are wanted; all when left out.

        Returns:
            logits [rows wanted, vocabulary], float32.
        """
        cos, sin = (part[0, :, None] for part in self.rotary(x[None], positions[None]))
        # A rotation takes the second half of a head with the opposite sign.
        sin[..., : self.size // 2].neg_()
        end = len(self.layers) - 1
        for number, layer in enumerate(self.layers):
            # Of the last layer, tokens whose scores nobody wants are read by others, and do no more.
            x = layer(x, cos, sin, number, attend, last if number == end else None)
        return torch.as_tensor(self.head(self.norm(x))).float()


class _Layer(nn.Module):
    def __init__(self, layer: Any, whole: PackedLlama, int8: bool) -> None:
        super().__init__()
        self._heads, self._key_heads = whole.heads, whole.key_heads
        self._size = whole.size
        attention, mlp = layer.self_attn, layer.mlp
        self.before = _RmsNorm(layer.input_layernorm)
        self.qkv = _linear(int8, attention.q_proj, attention.k_proj, attention.v_proj)
        self.attended = _linear(int8, attention.o_proj)
        self.between = _RmsNorm(layer.post_attention_layernorm)
        self.gate_up = _linear(int8, mlp.gate_proj, mlp.up_proj)
        self.down = _linear(int8, mlp.down_proj)

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
    """Rotary positions (Su et al., arXiv 2104.09864), half beside half, in place: x [t, heads, d]; cosines and
    sines [t, 1, d], these negative in the first half."""
    torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, dims=-1), sin, out=x)


def _linear(int8: bool, *parts: Any) -> nn.Module:
    """One linear layer whose outputs are those of all parts, one behind the other."""
    weight = torch.cat([part.weight.detach() for part in parts]) if len(parts) > 1 else parts[0].weight.detach()
    biases = [part.bias for part in parts if part.bias is not None]
    if biases and len(biases) < len(parts):
        raise ValueError("of linear layers side by side either all have a bias or none")
    bias = torch.cat([one.detach() for one in biases]) if biases else None
    if int8:
        return Int8Linear(weight.float(), None if bias is None else bias.float())
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias, requires_grad=False)
    return layer
