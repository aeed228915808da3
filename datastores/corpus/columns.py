"""Chooses the columns of a table, or the keys of an object, that hold captions, and takes captions from a value."""

import json
import re
from collections.abc import Iterable, Sequence

from datastores.corpus.error import CorpusError

_SHOWN = 12
_SHOWN_CHARACTERS = 40


def choose_columns(names: Sequence[str], column: str | None) -> list[int]:
    """Positions of the columns with captions; an empty list if no column has any.

    A column that is asked for is found by its exact name, else by the one name that differs only in case. Otherwise it
    is ``caption``, else ``captions``, else all of ``caption_1``, ``caption_2``, ..., as in Clotho.
    """
    stripped = [name.strip() for name in names]
    lowered = [name.lower() for name in stripped]
    if column is not None:
        wanted = column.strip()
        if wanted in stripped:
            return [stripped.index(wanted)]
        return [lowered.index(wanted.lower())] if lowered.count(wanted.lower()) == 1 else []
    for name in ("caption", "captions"):
        if name in lowered:
            return [lowered.index(name)]
    return [at for at, name in enumerate(lowered) if re.fullmatch(r"caption_\d+", name)]


def no_column(names: Iterable[str], column: str | None, line: int | None = None) -> CorpusError:
    """The error for a header without a column that holds captions."""
    wanted = "caption, captions, or caption_1, caption_2, ..." if column is None else repr(column)
    return CorpusError(f"no column is called {wanted}; it has {_shown(names)}", "column", line)


def captions_of(value: object) -> list[str] | None:
    """A text, or a list of texts; None for anything else."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value
    return None


def captions_of_cell(cell: str) -> list[str]:
    """The cell, or the texts of a JSON list if it is one."""
    if cell.startswith("[") and cell.endswith("]"):
        try:
            return captions_of(json.loads(cell)) or [cell]
        except (ValueError, RecursionError):
            pass
    return [cell]


def captions_of_item(item: object, column: str | None, number: int, unit: str) -> list[str] | CorpusError:
    """The captions of one JSON value: a text, or an object with a text or a list of texts under a key."""
    if isinstance(item, dict):
        keys = list(item)
        chosen = [captions_of(item[keys[at]]) for at in choose_columns(keys, column)]
        if not chosen:
            wanted = "caption" if column is None else column
            return CorpusError(f'there is no key "{wanted}"; it has {_shown(keys)}', "row", number, unit)
        found = [texts for texts in chosen if texts is not None]
        if len(found) == len(chosen):
            return [text for texts in found for text in texts]
    elif isinstance(item, str) and column is None:
        return [item]
    wanted = "caption" if column is None else column
    return CorpusError(
        f'a caption must be a string or an object with a string, or a list of them, as "{wanted}"', "row", number, unit
    )


def _shown(names: Iterable[str]) -> str:
    listed = [name.strip()[:_SHOWN_CHARACTERS] for name in names]
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return (", ".join(listed[:_SHOWN]) or "none") + more
