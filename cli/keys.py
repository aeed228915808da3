"""``drcap keys``: makes keys, and keeps the file that the service reads them from."""

import json
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from cli.common.errors import CommandError, reported
from cli.common.files import replacing
from service.auth.keys import Key, Keyring, KeysError, Scope, digest_of, new_key
from service.settings import variable_name

keys = typer.Typer(no_args_is_help=True, help="Make keys, and keep the file of them.")

File = Annotated[
    Path,
    typer.Option("--file", help=f"file of keys, the one of {variable_name('auth', 'keys_file')}", dir_okay=False),
]
Name = Annotated[str, typer.Argument(help="name of the key, as logs show it")]


@keys.command("new")
def new(
    name: Name,
    scope: Annotated[list[Scope], typer.Option(help="what the key allows; repeatable")],
    domain: Annotated[list[str] | None, typer.Option(help="limit the key to this domain; repeatable")] = None,
    rate: Annotated[float | None, typer.Option(help="requests a minute; by default without a limit")] = None,
    file: Annotated[Path | None, typer.Option(help="add the key to this file, or create it", dir_okay=False)] = None,
) -> None:
    """Make a key and print it once: only its digest is kept.

    Example: drcap keys new studio --scope caption --domain city --rate 60 --file keys.json
    """
    key = new_key()
    try:
        entry = Key(
            name=name,
            digest=digest_of(key),
            scopes=frozenset(scope),
            domains=frozenset(domain) if domain else None,
            requests_per_minute=rate,
        )
    except ValidationError as error:
        raise CommandError("; ".join(f"{item['loc'][0]}: {item['msg']}" for item in error.errors())) from None
    if file is not None:
        _write(file, [*(_read(file) if file.exists() else []), entry])
        typer.echo(f"{file}: {name} is added; a running service accepts it in seconds", err=True)
    else:
        typer.echo(f'add this to "keys" in the file of keys: {json.dumps(_plain(entry))}', err=True)
    typer.echo(key)


@keys.command("list")
def show(file: File) -> None:
    """List the keys with their scopes, domains and rates."""
    for key in _read(file):
        domains = "every domain" if key.domains is None else ", ".join(sorted(key.domains))
        rate = "any rate" if key.requests_per_minute is None else f"{key.requests_per_minute:g} a minute"
        typer.echo("\t".join((key.name, ", ".join(sorted(key.scopes)), domains, rate)))


@keys.command("rm")
def remove(name: Name, file: File) -> None:
    """Remove a key from the file. A running service refuses it some seconds later."""
    found = _read(file)
    kept = [key for key in found if key.name != name]
    if len(kept) == len(found):
        raise CommandError(f"{file} has no key {name!r}; it has {', '.join(key.name for key in found)}")
    if not kept:
        raise CommandError(f"{name!r} is the last key in {file}; a file of keys needs at least one")
    _write(file, kept)
    typer.echo(f"{file}: {name} is removed; a running service refuses it in seconds", err=True)


def _read(file: Path) -> list[Key]:
    with reported(KeysError):
        return list(Keyring.from_file(file).keys)


def _write(file: Path, entries: list[Key]) -> None:
    """Replace the file and keep its mode. Only its owner can read a new one."""
    try:
        Keyring(entries)
    except KeysError as error:
        raise CommandError(f"{file}: {error}") from None
    with replacing(file, mode=0o600) as target:
        target.write(f"{json.dumps({'keys': [_plain(entry) for entry in entries]}, indent=2)}\n".encode())


def _plain(entry: Key) -> dict[str, object]:
    plain = entry.model_dump(mode="json", exclude_none=True)
    return {name: sorted(value) if isinstance(value, list) else value for name, value in plain.items()}
