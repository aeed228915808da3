"""Writes the page of all settings: ``python -m service.settings_page > docs/settings.md``, or ``make settings``."""

from pydantic import BaseModel

from service.settings import Settings, concerns, variable_name

_HEAD = """\
# Settings

The service reads its settings from environment variables. It refuses to start with an unknown `DRCAP_` variable, and
names the nearest known one. `make settings` writes this page.
"""
_TITLES = {"clap": "CLAP", "llm": "LLM"}


def settings_page() -> str:
    """Return the page as Markdown: a table for each concern, with each variable, its default and its description."""
    inner = concerns()
    own = {name: field for name, field in Settings.model_fields.items() if name not in inner}
    parts = [_HEAD, _section("General", Settings, {name: variable_name(name) for name in own})]
    for concern, settings in inner.items():
        variables = {name: variable_name(concern, name) for name in settings.model_fields}
        parts.append(_section(_TITLES.get(concern, concern.capitalize()), settings, variables))
    return "\n".join(parts)


def _section(title: str, settings: type[BaseModel], variables: dict[str, str]) -> str:
    lines = [f"## {title}", "", (settings.__doc__ or "").replace("``", "`"), ""]
    lines += ["| variable | default | description |", "|---|---|---|"]
    for name, variable in variables.items():
        field = settings.model_fields[name]
        lines.append(f"| `{variable}` | {_shown(field.default)} | {field.description} |")
    return "\n".join([*lines, ""])


def _shown(default: object) -> str:
    if default is None:
        return "not set"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


if __name__ == "__main__":
    print(settings_page(), end="")
