"""int8 linear layers for CPU whose answer for a row never depends on the other rows.

The usual dynamic quantisation takes one activation scale from the whole batch, so a caption would change with its
batch mates. Here each row is scaled by its own largest value before the integer product, whose sums are exact.
"""

import warnings
from typing import Any

import torch
from torch import Tensor, nn

# Without VNNI the kernel adds pairs of products in 16 bits; 7-bit activations cannot overflow there.
_LEVELS = 63
_ZERO = 64


def int8_supported() -> bool:
    """Whether this build of torch has the integer kernel."""
    return torch.backends.quantized.engine in ("x86", "fbgemm") and hasattr(
        torch.ops.quantized, "linear_with_input_q_dq_qweight_dq_output_fp32"
    )


class Int8Linear(nn.Module):
    """Linear layer without bias: weights int8 a output row, activations 7 bits a token, accumulation exact."""

    def __init__(self, weight: Tensor) -> None:
        """Args: weight [out, in] float32."""
        super().__init__()
        self.out_features, self.in_features = weight.shape
        scales = (weight.abs().amax(dim=1) / 127).clamp(min=1e-12)
        zeros = torch.zeros(self.out_features, dtype=torch.long)
        with warnings.catch_warnings():
            # torch announces the move of its quantised tensors to torchao; the kernel stays.
            warnings.simplefilter("ignore")
            quantised = torch.quantize_per_channel(weight.contiguous(), scales, zeros, 0, torch.qint8)
            self._packed: Any = torch.ops.quantized.linear_prepack(quantised, None)

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out], float32."""
        rows = x.reshape(-1, self.in_features)
        scale = rows.abs().amax(dim=1, keepdim=True).clamp(min=1e-12)
        out: Tensor = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
            rows / scale, 1.0 / _LEVELS, _ZERO, self._packed
        )
        return (out * scale).reshape(*x.shape[:-1], self.out_features)


def quantise_linears(model: nn.Module) -> int:
    """Replace every `nn.Linear` without bias under `model` by its int8 form; returns how many."""
    replaced = 0
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear) and child.bias is None:
                setattr(parent, name, Int8Linear(child.weight.detach().float()))
                replaced += 1
    return replaced
