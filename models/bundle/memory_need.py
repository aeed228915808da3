"""Estimates the memory that loading a bundle takes, from the sizes of its weights and the plan."""

from dataclasses import dataclass

from models.bundle.check import Checked
from models.checkpoints import count_parameters
from models.clap.backend import CLAP
from models.clap.loading import find_backend
from models.device.plan import DevicePlan
from models.weights import MissingWeights, WrongWeights

# Python with torch and transformers, and the memory beside the weights that captioning a clip takes.
_PROCESS = 900 * 10**6
_FLOAT32 = 4
# Bytes a parameter. The output layer and the embeddings are not quantised, so int4 takes more than half a byte.
_QUANTISED = {"int8": 1.0, "fp8": 1.0, "int4": 0.6}


@dataclass(frozen=True)
class Need:
    """Peak bytes of the machine's memory, and bytes of each GPU that the LLM runs on."""

    machine: int
    gpu: int = 0


def estimate(checked: Checked, plan: DevicePlan) -> Need | None:
    """Return a rough estimate, high for small models; None if a size is not known."""
    clap = _clap(checked)
    if clap is None or checked.llm is None:
        return None
    read = plan.dtype.value.itemsize * checked.llm.parameters
    share = _QUANTISED.get(plan.quantisation.value)
    kept = read if share is None else round(share * checked.llm.parameters)
    on_gpu = plan.llm.value[0].type != "cpu"
    # While layers become int8 on the CPU, the original layers are still in memory.
    machine = _PROCESS + clap + read + (0 if on_gpu or share is None else kept)
    return Need(machine, kept + (clap if plan.clap.value == plan.llm.value[0] else 0) if on_gpu else 0)


def _clap(checked: Checked) -> int | None:
    path = checked.part(CLAP)
    if path is None or checked.config is None:
        return None
    towers = find_backend(checked.config.clap.backend).towers
    if towers:
        # These towers are stored in float32, or nearly so.
        return sum(part.size for part in checked.parts if part.name in (CLAP, *towers))
    try:
        return _FLOAT32 * count_parameters(path)
    except (WrongWeights, MissingWeights):
        return None
