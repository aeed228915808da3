"""int8 linear layers for CPUs. The result for a row never depends on the other rows.

The usual dynamic quantisation takes one activation scale from the whole batch, so a caption would change with the
other captions of its batch. Here each row is scaled by its own largest value before the integer product, whose sums
are exact.
"""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

# Without VNNI the kernel adds pairs of products in 16 bits. Weights and activations share 15 bits; with more, the
# pairs would overflow.
_COARSE = 63
_FINE = 127


def int8_supported() -> bool:
    """Return whether this build of torch has the integer kernel."""
    return torch.backends.quantized.engine in ("x86", "fbgemm") and hasattr(
        torch.ops.quantized, "linear_with_input_q_dq_qweight_dq_output_fp32"
    )


class Int8Linear(nn.Module):
    """Linear layer with weights quantised per output row, activations per token, and exact accumulation.

    One side has 8 bits, the other 7. Given the `spread` of its inputs, the layer gives 8 bits to the activations and
    evens out their columns: it divides the input and multiplies the weight by the same factors (SmoothQuant, Xiao et
    al., arXiv 2211.10438, with alpha 0.5). Some columns of a text encoder are tens of times larger than the others;
    without smoothing the small columns would have few levels.
    """

    bias: Tensor | None
    smoothing: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None = None, spread: Tensor | None = None) -> None:
        """Args: weight [out, in] float32, bias [out], spread [in]: the typical largest absolute value of each input."""
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
            # torch warns that its quantised tensors move to torchao; the kernel stays.
            warnings.simplefilter("ignore")
            quantised = torch.quantize_per_channel(weight.contiguous(), scales, zeros, 0, torch.qint8)
            self._packed: Any = torch.ops.quantized.linear_prepack(quantised, None)

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out], float32."""
        # A call of torch costs as much as a small operation, so unnecessary calls are avoided.
        rows = x if x.dim() == 2 else x.reshape(-1, self.in_features)
        if self.smoothing is not None:
            rows = rows * self.smoothing
        scale = rows.abs().amax(dim=1, keepdim=True).clamp_(min=1e-12)
        out: Tensor = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
            rows / scale, 1.0 / self._levels, self._levels + 1, self._packed
        )
        out = out.mul_(scale) if self.bias is None else torch.addcmul(self.bias, out, scale)
        return out if x.dim() == 2 else out.reshape(*x.shape[:-1], self.out_features)


def quantise_linears(model: nn.Module) -> int:
    """Replace every `nn.Linear` under `model` by its int8 form. Return how many were replaced."""
    found = _linears(model)
    for parent, name, layer in found:
        setattr(parent, name, join_linears(True, layer))
    return len(found)


def quantise_smoothed(model: nn.Module, try_out: Callable[[], object]) -> None:
    """Replace every `nn.Linear` under `model` by its int8 form, smoothed for its inputs while `try_out` runs.

    `try_out` calls the model on a few typical inputs. Raises ValueError for a layer that it does not reach.
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


def join_linears(int8: bool, *parts: Any) -> nn.Module:
    """Join linear layers of one input into one layer with the outputs of all, in order, in int8 if asked."""
    weight = torch.cat([part.weight.detach() for part in parts]) if len(parts) > 1 else parts[0].weight.detach()
    biases = [part.bias for part in parts if part.bias is not None]
    if biases and len(biases) < len(parts):
        raise ValueError("joined linear layers must all have a bias, or none")
    bias = torch.cat([one.detach() for one in biases]) if biases else None
    if int8:
        return Int8Linear(weight.float(), None if bias is None else bias.float())
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias, requires_grad=False)
    return layer


def _linears(model: nn.Module) -> list[tuple[nn.Module, str, nn.Linear]]:
    """Return (parent, name, layer) for every linear layer under a model."""
    return [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.Linear)
    ]
