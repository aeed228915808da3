"""Where models run and how: one decision, each part of it with its reason."""

import logging
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

import torch

from models.device.hardware import Gpu, Hardware, Placed, detect, place

logger = logging.getLogger(__name__)
T = TypeVar("T")

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
Quantisation = Literal["none", "int8", "int4", "fp8"]

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# Compute capabilities from which a GPU has what is asked of it (NVIDIA, CUDA C++ Programming Guide).
_FAST_HALF, _BFLOAT16, _FP8 = (7, 0), (8, 0), (8, 9)


@dataclass(frozen=True)
class Wishes:
    """What the person who runs it wants; what cannot be had is refused.

    Attributes:
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``, or GPUs with commas between, a copy of the LLM on each.
        clap_device: for the CLAP alone; one device.
        llm_device: for the LLM alone.
        dtype: of the LLM; None leaves it to the bundle.
        quantisation: of the LLM; None leaves it to the bundle.
    """

    device: str = "auto"
    clap_device: str | None = None
    llm_device: str | None = None
    dtype: Dtype | None = None
    quantisation: Quantisation | None = None


class Preferences(Protocol):
    """What a bundle prefers for its LLM; what cannot be had is done without."""

    @property
    def dtype(self) -> Dtype: ...
    @property
    def quantisation(self) -> Quantisation: ...


@dataclass(frozen=True)
class NoPreferences:
    """Of a bundle that says nothing."""

    dtype: Dtype = "auto"
    quantisation: Quantisation = "none"


@dataclass(frozen=True)
class Choice(Generic[T]):
    """What was chosen, and why."""

    value: T
    reason: str


@dataclass(frozen=True)
class DevicePlan:
    """Where and how a bundle runs.

    Attributes:
        clap: the CLAP's device; it computes in float32.
        llm: one device for each copy of the LLM.
        dtype: of the LLM's weights.
        quantisation: of the LLM's linear layers.
        attention: which kernel attends in the LLM.
        compiled: whether decoding runs as a compiled graph over a cache of fixed size.
    """

    clap: Choice[torch.device]
    llm: Choice[tuple[torch.device, ...]]
    dtype: Choice[torch.dtype]
    quantisation: Choice[Quantisation]
    attention: Choice[str]
    compiled: Choice[bool]

    @property
    def replicas(self) -> int:
        """Copies of the LLM."""
        return len(self.llm.value)

    def lines(self) -> list[str]:
        """For people, a decision a line."""
        where = ", ".join(map(str, self.llm.value))
        copies = f", {self.replicas} copies of the LLM" if self.replicas > 1 else ""
        return [
            f"CLAP on {self.clap.value} in float32: {self.clap.reason}",
            f"LLM on {where}{copies}: {self.llm.reason}",
            f"LLM in {str(self.dtype.value).removeprefix('torch.')}: {self.dtype.reason}",
            f"quantisation {self.quantisation.value}: {self.quantisation.reason}",
            f"attention {self.attention.value}: {self.attention.reason}",
            f"decoding {'compiled' if self.compiled.value else 'not compiled'}: {self.compiled.reason}",
        ]


def choose_device(wish: str, hardware: Hardware | None = None) -> Placed:
    """Resolve ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        ValueError: the wish is no device, or one that this machine does not have.
    """
    placed = place(wish, hardware or detect())
    logger.info("device %s: %s", placed.device, placed.reason)
    return placed


def choose_plan(
    wishes: Wishes,
    bundle: Preferences = NoPreferences(),
    hardware: Hardware | None = None,
) -> DevicePlan:
    """Decide where and how the models of a bundle run. Nothing is loaded or logged.

    Args:
        wishes: of the person who runs it.
        bundle: preferences of the bundle, such as `models.bundle.load.LlmSection`.
        hardware: what there is; `detect` when left out.

    Raises:
        ValueError: a wish cannot be had on this machine; the message says why and names the setting.
    """
    there = hardware or detect()
    llm = _llm_devices(wishes, there)
    clap = _clap_device(wishes, there)
    gpus = [there.gpus[device.index or 0] for device in llm.value if device.type == "cuda"]
    quantisation = _quantisation(wishes, bundle, llm.value[0].type, gpus, there)
    dtype = _dtype(wishes, bundle, llm.value[0].type, gpus, quantisation.value)
    compiled = Choice(False, "what is kept grows and prompts leave the batch, so shapes change with every step")
    return DevicePlan(clap, llm, dtype, quantisation, _attention(llm.value[0].type), compiled)


def _llm_devices(wishes: Wishes, there: Hardware) -> Choice[tuple[torch.device, ...]]:
    wish = wishes.llm_device or wishes.device
    placed = [place(one.strip(), there) for one in wish.split(",")]
    devices = tuple(one.device for one in placed)
    if len(devices) > 1 and any(device.type != "cuda" for device in devices):
        raise ValueError(f"{wish!r} is a list of devices, which are then all GPUs (DRCAP_LLM__DEVICE)")
    if len(set(devices)) < len(devices):
        raise ValueError(f"{wish!r} names a device twice (DRCAP_LLM__DEVICE)")
    return Choice(devices, placed[0].reason)


def _clap_device(wishes: Wishes, there: Hardware) -> Choice[torch.device]:
    if wishes.clap_device is not None:
        if "," in wishes.clap_device:
            raise ValueError(f"the CLAP runs on one device, not on {wishes.clap_device!r} (DRCAP_CLAP__DEVICE)")
        placed = place(wishes.clap_device, there)
        return Choice(placed.device, placed.reason)
    first, *more = wishes.device.split(",")
    placed = place(first.strip(), there)
    return Choice(placed.device, "the first of those asked for" if more else placed.reason)


def _quantisation(
    wishes: Wishes, bundle: Preferences, kind: str, gpus: list[Gpu], there: Hardware
) -> Choice[Quantisation]:
    asked = wishes.quantisation
    if asked is not None:
        hindrance = _hindrance(asked, kind, gpus, there)
        if hindrance is not None:
            raise ValueError(f"DRCAP_LLM__QUANTISATION is {asked}: {hindrance}")
        return Choice(asked, "as asked")
    if bundle.quantisation == "none":
        return Choice("none", "nobody asked for it")
    if kind != "cpu" and bundle.quantisation == "int8":
        return Choice("none", "the bundle's int8 is for CPUs; DRCAP_LLM__QUANTISATION asks for it here")
    hindrance = _hindrance(bundle.quantisation, kind, gpus, there)
    if hindrance is not None:
        return Choice("none", f"the bundle would have {bundle.quantisation}, but {hindrance}")
    return Choice(bundle.quantisation, "as the bundle says")


def _hindrance(wanted: Quantisation, kind: str, gpus: list[Gpu], there: Hardware) -> str | None:
    """Why it cannot be had; None if it can."""
    if wanted == "none":
        return None
    if kind == "cpu":
        if wanted != "int8":
            return f"{wanted} needs a GPU; a CPU has int8"
        return None if there.int8 else "this build of torch has no int8 kernel for the CPU"
    if not gpus:
        return f"{wanted} is for CPUs and NVIDIA GPUs"
    needed = {"int8": _FAST_HALF, "int4": _BFLOAT16, "fp8": _FP8}[wanted]
    for gpu in gpus:
        if gpu.capability < needed:
            return (
                f"{wanted} needs compute capability {needed[0]}.{needed[1]}, and {gpu.name} has "
                f"{gpu.capability[0]}.{gpu.capability[1]}"
            )
    return None if there.torchao else f"{wanted} on a GPU needs torchao: pip install 'drcap[gpu]'"


def _dtype(
    wishes: Wishes, bundle: Preferences, kind: str, gpus: list[Gpu], quantisation: Quantisation
) -> Choice[torch.dtype]:
    whose = "as asked" if wishes.dtype is not None else "as the bundle says"
    asked = wishes.dtype or bundle.dtype
    if kind == "cpu" and quantisation == "int8":
        if wishes.dtype not in (None, "auto", "float32"):
            raise ValueError(f"DRCAP_LLM__DTYPE is {wishes.dtype}, and int8 on a CPU keeps the rest in float32")
        return Choice(torch.float32, "int8 on a CPU keeps the rest in float32")
    if gpus and quantisation in ("int4", "fp8"):
        if wishes.dtype not in (None, "auto", "bfloat16"):
            raise ValueError(f"DRCAP_LLM__DTYPE is {wishes.dtype}, and the kernels of {quantisation} take bfloat16")
        return Choice(torch.bfloat16, f"the kernels of {quantisation} take it")
    least = min(gpus, key=lambda gpu: gpu.capability, default=None)
    if asked != "auto":
        if asked == "bfloat16" and least is not None and least.capability < _BFLOAT16:
            if wishes.dtype is not None:
                raise ValueError(f"DRCAP_LLM__DTYPE is bfloat16, which {least.name} does not have")
        else:
            return Choice(_DTYPES[asked], whose)
    if least is None:
        return Choice(torch.float32, "exact, and what CPUs compute in")
    if least.capability >= _BFLOAT16:
        return Choice(torch.bfloat16, f"{least.name} has it; half the memory, and the range of float32")
    if least.capability >= _FAST_HALF:
        reason = f"{least.name} has no bfloat16; an LLM trained in that may overflow, then DRCAP_LLM__DTYPE=float32"
        return Choice(torch.float16, reason)
    return Choice(torch.float32, f"{least.name} has no bfloat16 and is slow in float16")


def _attention(kind: str) -> Choice[str]:
    if kind == "cpu":
        return Choice("own", "prompts of a Llama lie end to end; others are padded, in int8 with exact sums")
    return Choice("sdpa", "torch's own, which takes any mask; beams of a prompt share its past")
