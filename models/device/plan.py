"""Decides where each model runs and how, and gives a reason for every decision."""

import logging
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

import torch

from models.device.hardware import Gpu, Hardware, Placed, detect, place

logger = logging.getLogger(__name__)
T = TypeVar("T")

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
Quantisation = Literal["none", "int8", "int4", "fp8"]

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# The compute capability from which a GPU supports each (NVIDIA, CUDA C++ Programming Guide).
_FAST_HALF, _BFLOAT16, _FP8 = (7, 0), (8, 0), (8, 9)


@dataclass(frozen=True)
class SettingNames:
    """The names of the settings of the models in messages. A service gives the names of its own variables."""

    clap_device: str = "clap_device"
    llm_device: str = "llm_device"
    dtype: str = "dtype"
    quantisation: str = "quantisation"
    cache: str = "cache"


@dataclass(frozen=True)
class Wishes:
    """The operator's settings for the models. A wish that this machine cannot meet is refused.

    Attributes:
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``, or several GPUs separated by commas, each with a copy of the
            LLM.
        clap_device: one device for the CLAP.
        llm_device: devices for the LLM.
        dtype: type of the LLM's weights; None lets the bundle choose.
        quantisation: quantisation of the LLM; None lets the bundle choose.
        names: what messages call these settings.
    """

    device: str = "auto"
    clap_device: str | None = None
    llm_device: str | None = None
    dtype: Dtype | None = None
    quantisation: Quantisation | None = None
    names: SettingNames = field(default=SettingNames(), compare=False)


@dataclass(frozen=True)
class Preferences:
    """A bundle's preferences for its LLM. A preference that this machine cannot meet is dropped."""

    dtype: Dtype = "auto"
    quantisation: Quantisation = "none"


@dataclass(frozen=True)
class Choice(Generic[T]):
    """A chosen value and the reason for it."""

    value: T
    reason: str


@dataclass(frozen=True)
class DevicePlan:
    """Where and how a bundle runs.

    Attributes:
        clap: device of the CLAP, which computes in float32.
        llm: one device for each copy of the LLM.
        dtype: type of the LLM's weights.
        quantisation: quantisation of the LLM's linear layers.
        names: what messages call the settings.
    """

    clap: Choice[torch.device]
    llm: Choice[tuple[torch.device, ...]]
    dtype: Choice[torch.dtype]
    quantisation: Choice[Quantisation]
    names: SettingNames = field(default=SettingNames(), compare=False)

    @property
    def replicas(self) -> int:
        """Number of copies of the LLM."""
        return len(self.llm.value)

    def lines(self) -> list[str]:
        """Return the plan for people to read, one decision a line."""
        where = ", ".join(map(str, self.llm.value))
        copies = f", {self.replicas} copies of the LLM" if self.replicas > 1 else ""
        return [
            f"CLAP on {self.clap.value} in float32: {self.clap.reason}",
            f"LLM on {where}{copies}: {self.llm.reason}",
            f"LLM in {str(self.dtype.value).removeprefix('torch.')}: {self.dtype.reason}",
            f"quantisation {self.quantisation.value}: {self.quantisation.reason}",
        ]


def choose_device(wish: str, hardware: Hardware | None = None) -> Placed:
    """Resolve ``auto``, ``cpu``, ``cuda`` or ``cuda:N``, and log the choice.

    Raises:
        ValueError: the wish is not a device, or this machine does not have it.
    """
    placed = place(wish, hardware or detect())
    logger.info("device %s: %s", placed.device, placed.reason)
    return placed


def choose_plan(
    wishes: Wishes, preferences: Preferences = Preferences(), hardware: Hardware | None = None
) -> DevicePlan:
    """Decide where and how the models of a bundle run. Load and log nothing.

    Args:
        wishes: what the operator asks for.
        preferences: what the bundle prefers.
        hardware: what this machine has; found by `detect` if omitted.

    Raises:
        ValueError: this machine cannot meet a wish; the message says why and names the setting.
    """
    there = hardware or detect()
    llm = _llm_devices(wishes, there)
    clap = _clap_device(wishes, there)
    gpus = [there.gpus[device.index or 0] for device in llm.value if device.type == "cuda"]
    quantisation = _quantisation(wishes, preferences, llm.value[0].type, gpus, there)
    dtype = _dtype(wishes, preferences, llm.value[0].type, gpus, quantisation.value)
    return DevicePlan(clap, llm, dtype, quantisation, wishes.names)


def _llm_devices(wishes: Wishes, there: Hardware) -> Choice[tuple[torch.device, ...]]:
    wish = wishes.llm_device or wishes.device
    placed = [place(one.strip(), there) for one in wish.split(",")]
    devices = tuple(one.device for one in placed)
    if len(devices) > 1 and any(device.type != "cuda" for device in devices):
        raise ValueError(f"{wish!r} is a list of devices, which must all be GPUs ({wishes.names.llm_device})")
    if len(set(devices)) < len(devices):
        raise ValueError(f"{wish!r} names a device twice ({wishes.names.llm_device})")
    return Choice(devices, placed[0].reason)


def _clap_device(wishes: Wishes, there: Hardware) -> Choice[torch.device]:
    if wishes.clap_device is not None:
        if "," in wishes.clap_device:
            raise ValueError(f"the CLAP runs on one device, not on {wishes.clap_device!r} ({wishes.names.clap_device})")
        placed = place(wishes.clap_device, there)
        return Choice(placed.device, placed.reason)
    first, *more = wishes.device.split(",")
    placed = place(first.strip(), there)
    return Choice(placed.device, "the first of the devices asked for" if more else placed.reason)


def _quantisation(
    wishes: Wishes, preferred: Preferences, kind: str, gpus: list[Gpu], there: Hardware
) -> Choice[Quantisation]:
    asked = wishes.quantisation
    if asked is not None:
        hindrance = _hindrance(asked, kind, gpus, there)
        if hindrance is not None:
            raise ValueError(f"{wishes.names.quantisation} is {asked}: {hindrance}")
        return Choice(asked, "as asked")
    if preferred.quantisation == "none":
        return Choice("none", "neither the settings nor the bundle ask for one")
    if kind != "cpu" and preferred.quantisation == "int8":
        return Choice("none", f"the bundle's int8 is for CPUs; set {wishes.names.quantisation} to have it on a GPU")
    hindrance = _hindrance(preferred.quantisation, kind, gpus, there)
    if hindrance is not None:
        return Choice("none", f"the bundle prefers {preferred.quantisation}, but {hindrance}")
    return Choice(preferred.quantisation, "as the bundle says")


def _hindrance(wanted: Quantisation, kind: str, gpus: list[Gpu], there: Hardware) -> str | None:
    """Return why this quantisation is not possible; None if it is."""
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
    wishes: Wishes, preferred: Preferences, kind: str, gpus: list[Gpu], quantisation: Quantisation
) -> Choice[torch.dtype]:
    whose = "as asked" if wishes.dtype is not None else "as the bundle says"
    asked = wishes.dtype or preferred.dtype
    if kind == "cpu" and quantisation == "int8":
        if wishes.dtype not in (None, "auto", "float32"):
            raise ValueError(f"{wishes.names.dtype} is {wishes.dtype}, and int8 on a CPU keeps the rest in float32")
        return Choice(torch.float32, "int8 on a CPU keeps the rest in float32")
    if gpus and quantisation in ("int4", "fp8"):
        if wishes.dtype not in (None, "auto", "bfloat16"):
            raise ValueError(f"{wishes.names.dtype} is {wishes.dtype}, and the kernels of {quantisation} take bfloat16")
        return Choice(torch.bfloat16, f"the kernels of {quantisation} take it")
    least = min(gpus, key=lambda gpu: gpu.capability, default=None)
    if asked != "auto":
        if asked == "bfloat16" and least is not None and least.capability < _BFLOAT16:
            if wishes.dtype is not None:
                raise ValueError(f"{wishes.names.dtype} is bfloat16, which {least.name} does not have")
        else:
            return Choice(_DTYPES[asked], whose)
    if least is None:
        return Choice(torch.float32, "exact, and the type that CPUs compute in")
    if least.capability >= _BFLOAT16:
        return Choice(torch.bfloat16, f"{least.name} has it; half the memory, and the range of float32")
    if least.capability >= _FAST_HALF:
        reason = (
            f"{least.name} has no bfloat16; if an LLM trained in bfloat16 overflows, set {wishes.names.dtype}=float32"
        )
        return Choice(torch.float16, reason)
    return Choice(torch.float32, f"{least.name} has no bfloat16 and is slow in float16")
