"""``drcap doctor``: whether everything is there that the service needs, and what to do where it is not."""

import json
import os
from collections.abc import Iterable
from typing import Annotated

import typer

from cli.common.client import Json
from service.diagnosis.check import Check, Finding, Status

_MARKS = {Status.ok: "ok  ", Status.warning: "warn", Status.failure: "FAIL"}


def doctor(
    as_json: Json = False,
    hub: Annotated[bool, typer.Option("--hub", help="also look whether the model hub answers")] = False,
) -> None:
    """Look at versions, settings, keys, ports, device, bundle, memory, hub, datastore and disk.

    Nothing is changed and nothing is loaded. What fails comes with what to do, and the command ends with 1.
    """
    from service.diagnosis.checks import all_checks
    from service.diagnosis.variables import usable_settings

    found = diagnose(all_checks(usable_settings(), os.environ, ask_hub=hub), quiet=as_json)
    counts = {status: sum(one.status is status for one in found) for status in Status}
    if as_json:
        document = {"ok": not counts[Status.failure], "findings": [vars(one) for one in found]}
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        typer.echo(f"{counts[Status.failure]} failures, {counts[Status.warning]} warnings")
    raise typer.Exit(1 if counts[Status.failure] else 0)


def diagnose(checks: Iterable[Check], *, quiet: bool = False) -> list[Finding]:
    """Run the checks one after the other, each line printed when it is known."""
    found = []
    for check in checks:
        for one in check.run():
            found.append(one)
            if not quiet:
                to_do = f". To do: {one.remedy}" if one.remedy else ""
                typer.echo(f"{_MARKS[one.status]} {one.check:<10} {' '.join(one.said.split())}{to_do}")
    return found
