"""Checks the settings in the environment, and provides usable ones where some are wrong."""

from collections.abc import Iterator, Mapping

from pydantic import ValidationError

from service.diagnosis.finding import Finding, failure, ok
from service.settings import PREFIX, Settings, unknown_variables, variable_name


def look(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Report each variable that is unknown or has an invalid value."""
    unknown = unknown_variables(environment)
    faults = [
        failure(f"{name} is not a setting of drcap", f"unset it, or correct its name: {nearest} is the nearest")
        for name, nearest in unknown.items()
    ]
    faults += [
        failure(f"{name}: {said}", "correct or unset it; the checks below use the defaults of its group")
        for name, said in _invalid().items()
        if name not in unknown
    ]
    yield from faults
    if not faults:
        count = sum(name.upper().startswith(PREFIX) for name in environment)
        yield ok(f"{count} {PREFIX} variables are set, all of them valid")


def usable_settings() -> Settings:
    """Return the settings, with defaults for each group that has an invalid value."""
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
