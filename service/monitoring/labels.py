"""Bounds the values of metric labels, so that no client can make the number of series grow without end."""

from collections.abc import Mapping

OTHER = "other"

RETRIES = ("error", "memory", "death")
OUTCOMES = ("succeeded", "failed", "cancelled")
SOURCES = ("embedded", "reused")
MODEL = ("bundle", "clap", "llm", "device", "version")
JOB_STATES = ("queued", "running", *OUTCOMES)

BY_STATUS: Mapping[int, str] = {
    401: "key",
    403: "key",
    408: "slow",
    413: "too-large",
    429: "rate",
    499: "client-gone",
    504: "deadline",
}
"""Reason of a rejection by its status."""

BY_SLUG: Mapping[str, str] = {
    "overloaded": "full",
    "not-ready": "not-ready",
    "model-failed": "model",
    # A stream that ends this way has begun with status 200.
    "client-gone": "client-gone",
    "deadline-passed": "deadline",
}
"""Reason of a rejection by the slug of its problem document. It comes before the status."""

REASONS = tuple(dict.fromkeys((*BY_SLUG.values(), *BY_STATUS.values())))
DATASTORE_SLUG = "datastore-unavailable"


class FirstComers:
    """Keeps the first `limit` values of a label and maps all later ones to `OTHER`.

    A value is never forgotten, since a series must not change its meaning.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seen: set[str] = set()

    def of(self, value: str) -> str:
        """Return the label of a value."""
        if value not in self._seen:
            if len(self._seen) >= self._limit:
                return OTHER
            self._seen.add(value)
        return value
