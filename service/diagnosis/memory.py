"""Compares free memory with what the bundle needs."""

from collections.abc import Iterator
from pathlib import Path

from service.diagnosis.bundle import look_at_bundle
from service.diagnosis.device import plan_of
from service.diagnosis.finding import Finding, failure, ok, warning
from service.settings import Settings, variable_name

_MEMINFO = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")
# Free memory below this multiple of the need is a warning, since the estimate is rough.
_COMFORT = 1.2


def look(settings: Settings) -> Iterator[Finding]:
    """Estimate the need from the sizes of the weights. A service that already runs has taken its own."""
    from models.bundle.memory_need import estimate

    try:
        plan = plan_of(settings)
    except ValueError as error:
        yield warning(f"the need is not known: {error}", "fix the device")
        return
    need = estimate(look_at_bundle(settings), plan)
    if need is None:
        yield warning("the need is not known: some weights are not on this machine", "fix the bundle")
        return
    yield _compared("the machine", need.machine, available(), "free some, raise the limit of the container, or take")
    for device in plan.llm.value if need.gpu else ():
        import torch

        free, _ = torch.cuda.mem_get_info(device)
        yield _compared(str(device), need.gpu, free, f"set {variable_name('llm', 'quantisation')}, or take")


def _compared(place: str, need: int, free: int | None, way: str) -> Finding:
    if free is None:
        return ok(f"the bundle needs about {need / 1e9:.1f} GB on {place}; this system does not tell what is free")
    said = f"the bundle needs about {need / 1e9:.1f} GB on {place}, and {free / 1e9:.1f} GB are free"
    if free >= _COMFORT * need:
        return ok(said)
    return (failure if free < need else warning)(said, f"{way} a smaller bundle ({variable_name('bundle')})")


def available(meminfo: Path = _MEMINFO, group: Path = _GROUP) -> int | None:
    """Return the bytes that this process could still take: the machine's or its control group's, whichever is less."""
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
        # There is no limit, or the control group is not of version 2.
        return free
    # The kernel drops file pages without recent use when a process asks for memory.
    return min(free, max(0, limit - used + int(stat.get("inactive_file", 0))))
