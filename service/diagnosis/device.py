"""Checks where and how the models would run, and says why."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from service.diagnosis.bundle import look_at_bundle
from service.diagnosis.finding import Finding, failure, ok
from service.settings import Settings, variable_name

if TYPE_CHECKING:
    from models.device.plan import DevicePlan


def look(settings: Settings) -> Iterator[Finding]:
    """Report each decision of the plan with its reason."""
    try:
        import torch  # noqa: F401 - models need it, and its own error says best why it does not load
    except (ImportError, OSError) as error:
        yield failure(f"torch cannot be loaded: {error}", "run `make install`, or install a torch for this machine")
        return
    try:
        plan = plan_of(settings)
    except ValueError as error:
        way = f"set {variable_name('device')} to auto, cpu or a GPU of this machine, and the other settings to match it"
        yield failure(str(error), way)
        return
    for line in plan.lines():
        yield ok(line)


def plan_of(settings: Settings) -> "DevicePlan":
    """Return the plan that the service would follow. Raises ValueError for settings that cannot be met."""
    from models.device.plan import Preferences, choose_plan
    from service.loading import wishes

    config = look_at_bundle(settings).config
    return choose_plan(wishes(settings), Preferences() if config is None else config.llm.preferences)
