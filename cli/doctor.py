"""``drcap doctor``: checks everything that the service needs, and says what to do about each fault."""

import json
import os
from typing import Annotated

import typer

from cli.common.client import Json
from service.diagnosis.finding import Status

_MARKS = {Status.ok: "ok  ", Status.warning: "warn", Status.failure: "FAIL"}


def doctor(
    as_json: Json = False,
    hub: Annotated[bool, typer.Option("--hub", help="also check that the model hub answers")] = False,
) -> None:
    """Check versions, settings, keys, ports, device, bundle, memory, hub, datastore and disk.

    The checks change nothing and load nothing. Each fault comes with what to do; a failure ends the command with 1.
    """
    from service.diagnosis.checks import all_checks
    from service.diagnosis.variables import usable_settings

    found = []
    for check in all_checks(usable_settings(), os.environ, ask_hub=hub):
        for one in check.run():
            found.append((check.name, one))
            if not as_json:
                to_do = f". To do: {one.remedy}" if one.remedy else ""
                typer.echo(f"{_MARKS[one.status]} {check.name:<10} {' '.join(one.said.split())}{to_do}")
    failures, warnings = (sum(one.status is kind for _, one in found) for kind in (Status.failure, Status.warning))
    if as_json:
        findings = [{"check": name} | vars(one) for name, one in found]
        typer.echo(json.dumps({"ok": not failures, "findings": findings}, indent=2, ensure_ascii=False))
    else:
        typer.echo(f"{failures} failures, {warnings} warnings")
    raise typer.Exit(1 if failures else 0)
