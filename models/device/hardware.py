"""Finds the devices of a machine, and resolves the device names that people write."""

from dataclasses import dataclass
from importlib.util import find_spec

import torch

from models.device.int8 import int8_supported

_GIB = 1 << 30


@dataclass(frozen=True)
class Gpu:
    """A GPU as torch sees it: name, memory in bytes, compute capability."""

    name: str
    memory: int
    capability: tuple[int, int]


@dataclass(frozen=True)
class Hardware:
    """The devices of a machine.

    Attributes:
        gpus: in torch's order.
        int8: whether this build of torch has the integer kernel for CPUs.
        torchao: whether torchao, which quantises for GPUs, is installed.
    """

    gpus: tuple[Gpu, ...] = ()
    int8: bool = True
    torchao: bool = False


@dataclass(frozen=True)
class Placed:
    """A device and the reason for it."""

    device: torch.device
    reason: str


def detect() -> Hardware:
    """Return the devices of this machine."""
    gpus = []
    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        facts = torch.cuda.get_device_properties(number)
        gpus.append(Gpu(facts.name, facts.total_memory, (facts.major, facts.minor)))
    return Hardware(tuple(gpus), int8_supported(), find_spec("torchao") is not None)


def place(wish: str, there: Hardware) -> Placed:
    """Resolve ``auto``, ``cpu``, ``cuda`` or ``cuda:N``. Raises ValueError if it is not a device of this machine."""
    if wish == "auto":
        if not there.gpus:
            return Placed(torch.device("cpu"), "no GPU is there")
        first, more = there.gpus[0], len(there.gpus) - 1
        reason = f"a GPU is there ({first.name}, {first.memory / _GIB:.0f} GiB)"
        return Placed(torch.device("cuda", 0), reason + (f", and {more} more that no setting names" if more else ""))
    try:
        device = torch.device(wish)
    except RuntimeError as error:
        raise ValueError(f"{wish!r} is not a device; use auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda":
        if not there.gpus:
            raise ValueError(f"{wish!r} was asked for and torch sees no GPU")
        if (device.index or 0) >= len(there.gpus):
            raise ValueError(f"{wish!r} was asked for and torch sees {len(there.gpus)} GPU(s), counted from 0")
        device = torch.device("cuda", device.index or 0)
    return Placed(device, "as asked")
