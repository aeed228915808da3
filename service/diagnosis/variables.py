"""The settings as the environment has them, and what is left of them where some are wrong."""

from collections.abc import Iterator, Mapping

from pydantic import ValidationError

from service.diagnosis.check import Finding, failure, ok
from service.settings import PREFIX, Settings, unknown_variables, variable_name

NAME = "settings"


def look(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Each variable that is unknown or has no valid value."""
    unknown = unknown_variables(environment)
    faults = [
        failure(NAME, f"{name} is no setting of drcap", f"unset it, or correct its name: {nearest} is the nearest")
        for name, nearest in unknown.items()
    ]
    faults += [
        failure(NAME, f"{name}: {said}", "correct or unset it; the checks below take the defaults of its group")
        for name, said in _invalid().items()
        if name not in unknown
    ]
    yield from faults
    if not faults:
        count = sum(name.upper().startswith(PREFIX) for name in environment)
        yield ok(NAME, f"{count} {PREFIX} variables are set, all of them valid")


def usable_settings() -> Settings:
    """The settings; in place of a group with a wrong value, its defaults."""
    try:
        return Settings()
    except ValidationError as error:
        wrong = {str(item["loc"][0]) for item in error.errors()}
        defaults = {name: field.default for name, field in Settings.model_fields.items() if name in wrong}
        return Settings(**defaults)


def _invalid() -> dict[str, str]:
    try:
        Settings()
    except ValidationError as error:
        return {variable_name(*map(str, item["loc"])): item["msg"] for item in error.errors()}
    return {}
