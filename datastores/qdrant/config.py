"""How a Qdrant server is reached and how it keeps a version: the choices of who runs it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SETTING = "DRCAP_DATASTORE__"
"""Errors name a choice by the setting it comes from."""


@dataclass(frozen=True)
class QdrantConfig:
    """Where the server is, what opens it, how long to wait, and what a version's collection is made of.

    Attributes:
        url: ``http://`` or ``https://``, host and port (6333 when left out).
        read_key, write_key: API keys for serving and for registering; the one that is missing is the other.
        ca_file: certificates that an ``https`` server's is checked against, instead of the system's.
        prefix: starts the name of every collection and alias, so that two services can share a server.
        timeout_seconds: for one answer to a search or another read.
        retry_seconds: for how long a read that failed is tried again.
        write_timeout_seconds, write_retry_seconds: the same for registrations.
        upload_parallel: requests of one registration under way at a time.
        shards: of a version's collection; None lets the server choose.
        replication: copies of each shard.
        write_consistency: copies that must confirm a write.
        quantisation: copies of the vectors in fewer bits to search in; the full vectors rescore what it finds.
        memory: ``cached`` keeps vectors and index in memory, ``cold`` leaves them on disk until asked for.
        exact_below: versions of up to this many captions are searched exactly, without an index.
        index_wait_seconds: how long a switch waits for the index of a larger version. What is not indexed by
            then is scanned, which is slower and as right.
        lease_seconds: after a registration was killed, its domain is busy for this long. Clocks of replicas
            may differ by less.
    """

    url: str
    read_key: str | None = None
    write_key: str | None = None
    ca_file: Path | None = None
    prefix: str = "drcap"
    timeout_seconds: float = 10.0
    retry_seconds: float = 3.0
    write_timeout_seconds: float = 60.0
    write_retry_seconds: float = 60.0
    upload_parallel: int = 4
    shards: int | None = None
    replication: int = 1
    write_consistency: int = 1
    quantisation: Literal["none", "int8", "binary"] = "none"
    memory: Literal["cached", "cold"] = "cached"
    exact_below: int = 100_000
    index_wait_seconds: float = 600.0
    lease_seconds: float = 30.0
