"""Puts an LLM on its device, if the memory suffices."""

import torch

from models.device.hardware import Hardware, detect
from models.device.plan import DevicePlan, SettingNames
from models.llm.language_model import Llm
from models.llm.quantisation import memory_needed, quantise

_GIB = 1 << 30
# Share of a GPU's memory that the weights may take. The rest is for keys and values, activations, and the CLAP.
_SHARE = 0.9


class NoRoom(RuntimeError):
    """The LLM does not fit into the memory of its GPU."""


def place_llm(llm: Llm, plan: DevicePlan, device: torch.device, hardware: Hardware | None = None) -> None:
    """Move an LLM to `device`, one of the plan's. Quantise it if that is a GPU; on a CPU `models.llm.execution` does.

    Raises:
        NoRoom: it does not fit, and is not moved.
        MissingLibrary, WrongWeights: see `models.llm.quantisation.quantise`.
    """
    wanted = plan.quantisation.value
    if device.type == "cuda":
        check_room(memory_needed(llm.model, plan.dtype.value, wanted), device, hardware or detect(), plan.names)
        if wanted != "none":
            quantise(llm.model, wanted, device)
    llm.model.to(device)


def check_room(needed: int, device: torch.device, hardware: Hardware, names: SettingNames) -> None:
    """Raise `NoRoom` if weights of `needed` bytes leave too little of a GPU's memory; `names` is for the message."""
    gpu = hardware.gpus[device.index or 0]
    if needed > _SHARE * gpu.memory:
        raise NoRoom(
            f"the LLM's weights take {needed / _GIB:.1f} GiB, and may take {_SHARE:.0%} of the memory of {gpu.name} "
            f"({device}), which is {gpu.memory / _GIB:.1f} GiB: {names.quantisation}=int8 or int4 takes less, or "
            f"name another device ({names.llm_device})"
        )
