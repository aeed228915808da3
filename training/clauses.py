"""Clauses: the parts of a caption that say what is heard first and what follows."""

import re

_THEN = re.compile(r",?\s+(?:and\s+|,\s*)?(?:then|followed\s+(?:\w+\s+)?by|before|until)\s+", re.IGNORECASE)


def clauses(caption: str) -> tuple[str, ...]:
    """Return the clauses of an English caption in the order of time; one clause if it states no order.

    "A dog barks, followed by a siren." has the clauses "A dog barks" and "a siren.".
    """
    parts = [part.strip() for part in _THEN.split(caption)]
    return tuple(parts) if len(parts) > 1 and all(parts) else (caption,)
