"""Makes the accelerator of a run: device, processes and precision."""

from typing import Any

import torch
from rich.console import Console

from models.device.plan import choose_device
from training.options import TrainOptions


class MissingExtra(RuntimeError):
    """A package that only training needs is missing; the message names it."""


def make_accelerator(options: TrainOptions, device: str, console: Console) -> Any:
    """Return an accelerator for this process and print where it runs.

    Raises:
        ValueError: the device does not exist, or lacks the bfloat16 that `options` ask for.
        MissingExtra: accelerate is not installed.
    """
    try:
        from accelerate import Accelerator
    except ImportError as error:
        raise MissingExtra("training needs accelerate: pip install 'drcap[train]'") from error

    plan = choose_device(device)
    cpu = plan.device.type == "cpu"
    able = not cpu and torch.cuda.is_bf16_supported()
    if options.precision == "bfloat16" and not (able or cpu):
        raise ValueError(f"{plan.device} has no bfloat16; use --precision float32")
    wanted = options.precision == "bfloat16" or (options.precision == "auto" and able)
    accelerator = Accelerator(cpu=cpu, mixed_precision="bf16" if wanted else "no")
    if accelerator.is_main_process:
        console.print(
            f"on {accelerator.device} ({plan.reason}), {accelerator.num_processes} process(es), "
            f"{'bfloat16' if wanted else 'float32'}"
        )
    return accelerator
