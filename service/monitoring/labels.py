"""Labels of metrics: what they may say, so that no client can make the number of series grow without end."""

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
"""Why a request was turned away, where its status says so."""

BY_SLUG: Mapping[str, str] = {
    "overloaded": "full",
    "not-ready": "not-ready",
    "model-failed": "model",
    # A stream has begun with 200 when it ends so.
    "client-gone": "client-gone",
    "deadline-passed": "deadline",
}
"""Why a request was turned away, where only the slug of its problem document says so."""

REASONS = tuple(dict.fromkeys((*BY_SLUG.values(), *BY_STATUS.values())))
DATASTORE_SLUG = "datastore-unavailable"


class FirstComers:
    """A label of any value, of which the first `limit` keep theirs and all later ones are `OTHER`.

    A value is never forgotten: a series that changed its meaning would be worse than one that is not told apart.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seen: set[str] = set()

    def of(self, value: str) -> str:
        """The label of a value."""
        if value not in self._seen:
            if len(self._seen) >= self._limit:
                return OTHER
            self._seen.add(value)
        return value
