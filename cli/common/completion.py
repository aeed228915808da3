"""Shell completion of the names of the service's domains."""

from typing import Annotated

import typer

from cli.common.client import checked, connect

_SECONDS = 1.0


def domain_names(context: typer.Context, incomplete: str) -> list[str]:
    """Return the domains whose names begin so, or nothing if the service does not answer within a second."""
    try:
        with connect(context.params.get("url"), timeout=_SECONDS) as client:
            found = checked(client.get("/domains")).json()["domains"]
        return [one["name"] for one in found if one["name"].startswith(incomplete)]
    except Exception:  # a shell cannot show an error during completion
        return []


Domain = Annotated[
    str | None, typer.Option(help="domain to caption in; needed if there are several", autocompletion=domain_names)
]
DomainName = Annotated[str, typer.Argument(help="name of the domain", autocompletion=domain_names)]
