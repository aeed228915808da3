"""Free memory against what the bundle is going to need."""

from collections.abc import Iterator
from pathlib import Path

from service.diagnosis.bundle import look_at_bundle
from service.diagnosis.check import Finding, failure, ok, warning
from service.diagnosis.device import plan_of
from service.settings import Settings, variable_name

NAME = "memory"
_MEMINFO = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")
# Of the estimate, which is rough.
_COMFORT = 1.2


def look(settings: Settings) -> Iterator[Finding]:
    """An estimate from the sizes of the weights; a service that runs already has its own."""
    from models.bundle.memory_need import estimate

    try:
        plan = plan_of(settings)
    except ValueError as error:
        yield warning(NAME, f"what is needed is not known: {error}", "mend the device")
        return
    need = estimate(look_at_bundle(settings), plan)
    if need is None:
        yield warning(NAME, "what is needed is not known: the weights are not all here", "mend the bundle")
        return
    yield _compared("the machine", need.machine, available(), "free some, raise the limit of the container, or take")
    for device in plan.llm.value if need.gpu else ():
        import torch

        free, _ = torch.cuda.mem_get_info(device)
        yield _compared(str(device), need.gpu, free, f"set {variable_name('llm', 'quantisation')}, or take")


def _compared(place: str, need: int, free: int | None, way: str) -> Finding:
    if free is None:
        return ok(NAME, f"about {need / 1e9:.1f} GB are needed on {place}; what is free cannot be told on this system")
    said = f"about {need / 1e9:.1f} GB are needed on {place} to load the bundle, and {free / 1e9:.1f} GB are free"
    if free >= _COMFORT * need:
        return ok(NAME, said)
    return (failure if free < need else warning)(NAME, said, f"{way} a smaller bundle ({variable_name('bundle')})")


def available(meminfo: Path = _MEMINFO, group: Path = _GROUP) -> int | None:
    """Bytes that this process could still take: of the machine, or of its control group if that is less."""
    try:
        lines = (line.split() for line in meminfo.read_text(encoding="ascii").splitlines())
        free = next(int(words[1]) * 1024 for words in lines if words[0] == "MemAvailable:")
    except (OSError, StopIteration, ValueError, IndexError):
        return None
    try:
        limit = int((group / "memory.max").read_text(encoding="ascii"))
        used = int((group / "memory.current").read_text(encoding="ascii"))
        stat = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
    except (OSError, ValueError):
        # There is no limit, or none that is written as in version 2.
        return free
    # File pages that were not used lately go when memory is asked for.
    return min(free, max(0, limit - used + int(stat.get("inactive_file", 0))))
