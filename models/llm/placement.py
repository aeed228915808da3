"""An LLM put where it is to run, in the memory that is there."""

import torch

from models.device.hardware import Hardware, detect
from models.device.plan import DevicePlan
from models.llm.language_model import Llm
from models.llm.quantisation import memory_needed, quantise

_GIB = 1 << 30
# What the weights may take of a GPU; the rest is for keys and values, for what is computed, and for the CLAP.
_SHARE = 0.9


class NoRoom(RuntimeError):
    """The LLM is larger than the memory of the GPU it should run on."""


def place_llm(llm: Llm, plan: DevicePlan, device: torch.device, hardware: Hardware | None = None) -> None:
    """Move an LLM to `device`, one of the plan's, and quantise it there; on the CPU `models.llm.execution` quantises.

    Raises:
        NoRoom: it does not fit; nothing was moved.
        MissingLibrary, WrongWeights: see `models.llm.quantisation.quantise`.
    """
    wanted = plan.quantisation.value
    if device.type == "cuda":
        check_room(memory_needed(llm.model, plan.dtype.value, wanted), device, hardware or detect())
        if wanted != "none":
            quantise(llm.model, wanted, device)
    llm.model.to(device)


def check_room(needed: int, device: torch.device, hardware: Hardware) -> None:
    """Raises `NoRoom` if weights of `needed` bytes leave too little of a GPU's memory."""
    gpu = hardware.gpus[device.index or 0]
    if needed > _SHARE * gpu.memory:
        raise NoRoom(
            f"the LLM's weights take {needed / _GIB:.1f} GiB, and may take {_SHARE:.0%} of the memory of {gpu.name} "
            f"({device}), which is {gpu.memory / _GIB:.1f} GiB: DRCAP_LLM__QUANTISATION=int8 or int4 takes less, or "
            "name another device (DRCAP_LLM__DEVICE)"
        )
