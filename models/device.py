"""Where models run: one decision, with its reason."""

import logging
from dataclasses import dataclass

import torch

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DevicePlan:
    """A device and why it was chosen."""

    device: torch.device
    reason: str


def choose_device(wish: str) -> DevicePlan:
    """Resolve ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        ValueError: the wish is no device, or one that this machine does not have.
    """
    if wish == "auto":
        if torch.cuda.is_available():
            plan = DevicePlan(torch.device("cuda"), "a GPU is there")
        else:
            plan = DevicePlan(torch.device("cpu"), "no GPU is there")
    else:
        try:
            device = torch.device(wish)
        except RuntimeError as error:
            raise ValueError(f"{wish!r} is no device; use auto, cpu, cuda or cuda:N") from error
        if device.type == "cuda" and not torch.cuda.is_available():
            raise ValueError(f"{wish!r} was asked for and torch sees no GPU")
        plan = DevicePlan(device, "as asked")
    logger.info("device %s: %s", plan.device, plan.reason)
    return plan
