"""Quantises linear layers on a GPU with torchao. For CPUs see `models.device.int8`.

torchao quantises a model in memory, after the adapter is merged into full weights. Libraries that quantise while
loading would have to merge the adapter into rounded weights. torchao needs only torch. It rounds weights alone, or each
row of activations by its own scale, so a caption does not depend on the other captions of its batch.
"""

import logging
from typing import Any

import torch
from torch import nn

from models.device.plan import Quantisation
from models.weights import WrongWeights

logger = logging.getLogger(__name__)

_GROUP = 128
# The kernels need the numbers of a layer's inputs and outputs to be multiples of these.
_MULTIPLES: dict[Quantisation, tuple[int, int]] = {"int8": (1, 1), "int4": (_GROUP, 8), "fp8": (16, 16)}
# Bytes a weight. For each group, int4 has a scale and a zero point in half precision.
_BYTES: dict[Quantisation, float] = {"int8": 1.0, "int4": 0.5 + 4 / _GROUP, "fp8": 1.0}


class MissingLibrary(RuntimeError):
    """torchao is not installed, or too old."""


def quantise(model: Any, wanted: Quantisation, device: torch.device) -> int:
    """Quantise the linear layers of a causal model of transformers, except its output layer. Return how many.

    This goes layer by layer, so that `device` never holds the whole model unquantised. The rest of the model stays
    where it is.

    Raises:
        MissingLibrary: torchao is not installed or does not have this quantisation.
        WrongWeights: the model has no layer that can be quantised.
    """
    layers = quantisable(model, wanted)
    if not layers:
        raise WrongWeights(f"{type(model).__name__} has no linear layer that {wanted} can be made of")
    try:
        from torchao.quantization import quantize_

        config = _config(wanted)
    except (ImportError, TypeError, ValueError) as error:
        raise MissingLibrary(
            f"{wanted} on a GPU needs torchao: pip install 'drcap[gpu]' (the installed one says: {error})"
        ) from error
    chosen = set(map(id, layers.values()))
    quantize_(model, config, filter_fn=lambda layer, _: id(layer) in chosen, device=device)
    logger.info("%d linear layers in %s", len(layers), wanted)
    return len(layers)


def quantisable(model: Any, wanted: Quantisation) -> dict[str, nn.Linear]:
    """Return the linear layers that `quantise` would quantise, by name."""
    inputs, outputs = _MULTIPLES[wanted]
    head = model.get_output_embeddings()
    return {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear)
        and layer is not head
        and layer.in_features % inputs == 0
        and layer.out_features % outputs == 0
    }


def memory_needed(model: Any, dtype: torch.dtype, wanted: Quantisation) -> int:
    """Return the bytes that the weights of a model take in `dtype` after quantisation."""
    width = dtype.itemsize
    total: int = width * sum(parameter.numel() for parameter in model.parameters())
    if wanted == "none":
        return total
    rounded: int = sum(layer.weight.numel() for layer in quantisable(model, wanted).values())
    return total - round((width - _BYTES[wanted]) * rounded)


def _config(wanted: Quantisation) -> Any:
    from torchao import quantization

    if wanted == "int8":
        return quantization.Int8WeightOnlyConfig(set_inductor_config=False)
    if wanted == "fp8":
        return quantization.Float8DynamicActivationFloat8WeightConfig(
            granularity=quantization.PerRow(), set_inductor_config=False
        )
    # This is the packing of torch's own int4 kernel. The others need another library.
    return quantization.Int4WeightOnlyConfig(
        group_size=_GROUP,
        int4_packing_format="tile_packed_to_4d",
        int4_choose_qparams_algorithm="hqq",
        set_inductor_config=False,
    )
