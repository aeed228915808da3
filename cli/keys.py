"""``drcap keys``: make keys, and keep the file that the service reads them from."""

import json
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from cli.common.errors import CommandError
from service.auth.keys import Key, Keyring, KeysError, Scope, digest_of, new_key

keys = typer.Typer(no_args_is_help=True, help="Make keys, and keep the file of them.")

File = Annotated[Path, typer.Option("--file", help="file of keys, as DRCAP_AUTH__KEYS_FILE names it", dir_okay=False)]
Name = Annotated[str, typer.Argument(help="of the key, as logs show it")]


@keys.command("new")
def new(
    name: Name,
    scope: Annotated[list[Scope], typer.Option(help="what it is for; may be repeated")],
    domain: Annotated[list[str] | None, typer.Option(help="the only domain it reaches; may be repeated")] = None,
    rate: Annotated[float | None, typer.Option(help="requests a minute; by default any number")] = None,
    file: Annotated[Path | None, typer.Option(help="add it to this file, which may be new", dir_okay=False)] = None,
) -> None:
    """Make a key and print it, this once: only its digest is kept.

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
        typer.echo(f"{file}: {name} is added; a service that runs takes it over in seconds", err=True)
    else:
        typer.echo(f'add this to "keys" in the file of keys: {json.dumps(_plain(entry))}', err=True)
    typer.echo(key)


@keys.command("list")
def show(file: File) -> None:
    """What each key is for."""
    for key in _read(file):
        domains = "every domain" if key.domains is None else ", ".join(sorted(key.domains))
        rate = "any rate" if key.requests_per_minute is None else f"{key.requests_per_minute:g} a minute"
        typer.echo("\t".join((key.name, ", ".join(sorted(key.scopes)), domains, rate)))


@keys.command("rm")
def remove(name: Name, file: File) -> None:
    """Remove a key from the file. A service that runs refuses it some seconds later."""
    found = _read(file)
    kept = [key for key in found if key.name != name]
    if len(kept) == len(found):
        raise CommandError(f"{file} has no key {name!r}; it has {', '.join(key.name for key in found)}")
    if not kept:
        raise CommandError(f"{name!r} is the last key in {file}; a file of keys has at least one")
    _write(file, kept)
    typer.echo(f"{file}: {name} is removed; a service that runs refuses it in seconds", err=True)


def _read(file: Path) -> list[Key]:
    try:
        return list(Keyring.from_file(file).keys)
    except KeysError as error:
        raise CommandError(str(error)) from None


def _write(file: Path, entries: list[Key]) -> None:
    """Replace the file at once, readable by whom it was readable before; a new one by its owner only."""
    try:
        Keyring(entries)
        # A new file of tempfile's is 0600.
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        try:
            if file.exists():
                Path(name).chmod(stat.S_IMODE(file.stat().st_mode))
            with os.fdopen(handle, "w", encoding="utf-8") as target:
                json.dump({"keys": [_plain(entry) for entry in entries]}, target, indent=2)
                target.write("\n")
                target.flush()
                os.fsync(target.fileno())
            Path(name).replace(file)
        except BaseException:
            with suppress(FileNotFoundError):
                Path(name).unlink()
            raise
    except KeysError as error:
        raise CommandError(f"{file}: {error}") from None
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror}") from error


def _plain(entry: Key) -> dict[str, object]:
    plain: dict[str, object] = {"name": entry.name, "digest": entry.digest, "scopes": sorted(entry.scopes)}
    if entry.domains is not None:
        plain["domains"] = sorted(entry.domains)
    if entry.requests_per_minute is not None:
        plain["requests_per_minute"] = entry.requests_per_minute
    return plain
