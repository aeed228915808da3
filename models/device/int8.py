"""int8 linear layers for CPU whose answer for a row never depends on the other rows.

The usual dynamic quantisation takes one activation scale from the whole batch, so a caption would change with its
batch mates. Here each row is scaled by its own largest value before the integer product, whose sums are exact.
"""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

# Without VNNI the kernel adds pairs of products in 16 bits: between them, weights and activations have 15 bits, or
# the pairs would overflow.
_COARSE = 63
_FINE = 127


def int8_supported() -> bool:
    """Whether this build of torch has the integer kernel."""
    return torch.backends.quantized.engine in ("x86", "fbgemm") and hasattr(
        torch.ops.quantized, "linear_with_input_q_dq_qweight_dq_output_fp32"
    )


class Int8Linear(nn.Module):
    """Linear layer: weights quantised an output row, activations a token, accumulation exact.

    One side has 8 bits and the other 7. Given the `spread` of its inputs, the layer gives the 8 bits to the activations
    and evens out their columns: what the input is divided by, the weight is multiplied by (SmoothQuant, Xiao et al.,
    arXiv 2211.10438, with alpha 0.5). Some columns of a text encoder are tens of times as large as the others, which
    would leave these few levels.
    """

    bias: Tensor | None
    smoothing: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None = None, spread: Tensor | None = None) -> None:
        """Args: weight [out, in] float32, bias [out], spread: typical largest size of each input [in]."""
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.register_buffer("bias", bias, persistent=False)
        smoothing = None
        if spread is not None:
            columns = weight.abs().amax(dim=0)
            smoothing = (columns.clamp(min=1e-5) / spread.clamp(min=1e-5)).sqrt()
            weight = weight / smoothing
        self.register_buffer("smoothing", smoothing, persistent=False)
        levels, self._levels = (_FINE, _COARSE) if spread is None else (_COARSE, _FINE)
        scales = (weight.abs().amax(dim=1) / levels).clamp(min=1e-12)
        zeros = torch.zeros(self.out_features, dtype=torch.long)
        with warnings.catch_warnings():
            # torch announces the move of its quantised tensors to torchao; the kernel stays.
            warnings.simplefilter("ignore")
            quantised = torch.quantize_per_channel(weight.contiguous(), scales, zeros, 0, torch.qint8)
            self._packed: Any = torch.ops.quantized.linear_prepack(quantised, None)

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out], float32."""
        # Each call of torch costs as much as a small operation itself, so none is made in vain.
        rows = x if x.dim() == 2 else x.reshape(-1, self.in_features)
        if self.smoothing is not None:
            rows = rows * self.smoothing
        scale = rows.abs().amax(dim=1, keepdim=True).clamp_(min=1e-12)
        out: Tensor = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
            rows / scale, 1.0 / self._levels, self._levels + 1, self._packed
        )
        out = out.mul_(scale) if self.bias is None else torch.addcmul(self.bias, out, scale)
        return out if x.dim() == 2 else out.reshape(*x.shape[:-1], self.out_features)


def quantise_linears(model: nn.Module, biased: bool = False) -> int:
    """Replace every `nn.Linear` without bias under `model` by its int8 form, and those with one if `biased` is set;
    returns how many."""
    found = [(parent, name, layer) for parent, name, layer in _linears(model) if biased or layer.bias is None]
    for parent, name, layer in found:
        bias = None if layer.bias is None else layer.bias.detach().float()
        setattr(parent, name, Int8Linear(layer.weight.detach().float(), bias))
    return len(found)


def quantise_smoothed(model: nn.Module, try_out: Callable[[], object]) -> None:
    """Replace every `nn.Linear` under `model` by its int8 form, smoothed for what it is given while `try_out` runs.

    `try_out` calls the model on a few typical inputs; a layer it does not reach raises ValueError.
    """
    found = _linears(model)
    spreads: dict[nn.Module, Tensor] = {}

    def watch(layer: nn.Module, inputs: tuple[Tensor]) -> None:
        largest = inputs[0].detach().reshape(-1, inputs[0].shape[-1]).abs().amax(dim=0)
        spreads[layer] = torch.maximum(spreads[layer], largest) if layer in spreads else largest

    hooks = [layer.register_forward_pre_hook(watch) for _, _, layer in found]
    try:
        with torch.no_grad():
            try_out()
    finally:
        for hook in hooks:
            hook.remove()
    for parent, name, layer in found:
        if layer not in spreads:
            raise ValueError(f"the linear layer {name} was not reached and cannot be smoothed")
        bias = None if layer.bias is None else layer.bias.detach().float()
        setattr(parent, name, Int8Linear(layer.weight.detach().float(), bias, spreads[layer].float()))


def _linears(model: nn.Module) -> list[tuple[nn.Module, str, nn.Linear]]:
    """(parent, name, layer) of every linear layer under a model."""
    return [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.Linear)
    ]
