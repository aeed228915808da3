"""Where and how the models would run, and why."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from service.diagnosis.bundle import look_at_bundle
from service.diagnosis.check import Finding, failure, ok
from service.settings import Settings, variable_name

if TYPE_CHECKING:
    from models.device.plan import DevicePlan

NAME = "device"


def look(settings: Settings) -> Iterator[Finding]:
    """The plan, a decision a line, each with its reason."""
    try:
        import torch  # noqa: F401 - models need it, and it says best what keeps it from loading
    except (ImportError, OSError) as error:
        yield failure(NAME, f"torch cannot be loaded: {error}", "make install, or a torch built for this machine")
        return
    try:
        plan = plan_of(settings)
    except ValueError as error:
        way = f"set {variable_name('device')} to auto, cpu, or a GPU that is there; the other settings to what it has"
        yield failure(NAME, str(error), way)
        return
    for line in plan.lines():
        yield ok(NAME, line)


def plan_of(settings: Settings) -> "DevicePlan":
    """The plan that the service would follow. Raises ValueError for a wish that cannot be had."""
    from models.device.plan import Preferences, choose_plan
    from service.loading import wishes

    config = look_at_bundle(settings).config
    return choose_plan(wishes(settings), Preferences() if config is None else config.llm.preferences)
