"""The operator's choices for a Qdrant server: how to reach it and how it keeps a version."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class QdrantConfig:
    """Says where the server is, its keys, how long to wait, and how the collection of a version is laid out.

    The service takes the fields without a default from its settings. No setting changes the others.

    Attributes:
        url: ``http://`` or ``https://``, host and port (6333 when omitted).
        read_key, write_key: API keys for serving and for registering; a missing one is the same as the other.
        ca_file: certificates to check an ``https`` server's against, instead of the system's.
        prefix: starts the name of every collection and alias, so that two services can share a server.
        timeout_seconds: for one answer to a search or another read.
        shards: of a version's collection; None lets the server choose.
        replication: copies of each shard.
        write_consistency: copies that must confirm a write.
        quantisation: copies of the vectors in fewer bits to search in; the full vectors rescore the results.
        memory: ``cached`` keeps vectors and index in memory, ``cold`` leaves them on disk until asked for.
        exact_below: versions of up to this many captions are searched exactly, without an index.
        setting_of: the name of the setting behind one of these fields; errors name it.
        retry_seconds: for how long a failed read is tried again.
        write_timeout_seconds, write_retry_seconds: the same for registrations.
        upload_parallel: requests of one registration under way at a time.
        index_wait_seconds: how long a switch waits for the index of a larger version. Captions that are not indexed
            by then are scanned, which is slower and gives the same results.
        lease_seconds: after a registration was killed, its domain is busy for this long. Clocks of replicas
            may differ by less.
    """

    url: str
    read_key: str | None
    write_key: str | None
    ca_file: Path | None
    prefix: str
    timeout_seconds: float
    shards: int | None
    replication: int
    write_consistency: int
    quantisation: Literal["none", "int8", "binary"]
    memory: Literal["cached", "cold"]
    exact_below: int
    setting_of: Callable[[str], str]
    retry_seconds: float = 3.0
    write_timeout_seconds: float = 60.0
    write_retry_seconds: float = 60.0
    upload_parallel: int = 4
    index_wait_seconds: float = 600.0
    lease_seconds: float = 30.0
