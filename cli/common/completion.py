"""What a shell completes: the names of the service's domains."""

from typing import Annotated

import typer

from cli.common.client import checked, connect

_SECONDS = 1.0


def domain_names(context: typer.Context, incomplete: str) -> list[str]:
    """The domains whose names begin so; none when the service does not say within a second."""
    try:
        with connect(context.params.get("url"), timeout=_SECONDS) as client:
            found = checked(client.get("/domains")).json()["domains"]
        return [one["name"] for one in found if one["name"].startswith(incomplete)]
    except Exception:  # a shell has no place for what went wrong
        return []


Domain = Annotated[
    str | None, typer.Option(help="to caption in; needed when there are several", autocompletion=domain_names)
]
DomainName = Annotated[str, typer.Argument(help="of the domain", autocompletion=domain_names)]
