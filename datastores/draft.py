"""The draft of a new version: its id, what was added to it, and the checks it must pass before it may serve.

Every backend keeps one while it writes. The backend stores, counts and finds; the rules and their messages are here.
"""

import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from datastores.base import DatastoreError, DomainVersion, FloatArray, Neighbour, Statistics
from datastores.checks import caption_digest, checked_vectors

_SELF_SIMILARITY = 0.999
"""A stored caption asked for by its own vector scores at least this; a lower score means that it was stored wrongly."""

_SAMPLES = 16
_SAMPLE_EVERY = 256


class Draft:
    """Notes what is added to a version. It holds 16 bytes for each caption and a few samples.

    Attributes:
        about: the version; it has 0 captions until `commit`.
        count: captions added so far.
        digests: of the captions in the order they came, 16 bytes each.
        over: nothing more may be added.
    """

    def __init__(self, domain: str, dimension: int, fingerprint: str) -> None:
        created = datetime.now(UTC)
        # Sorts by time; the random part keeps two of one microsecond apart.
        identifier = f"{created:%Y%m%dT%H%M%S%f}-{secrets.token_hex(4)}"
        self.about = DomainVersion(domain, identifier, 0, dimension, fingerprint, created)
        self.count = 0
        self.digests = bytearray()
        self.over = False
        self._samples: dict[str, FloatArray] = {}

    def add(self, captions: Sequence[str], vectors: FloatArray) -> FloatArray:
        """Note captions [n] with their unit vectors [n, d]; return the vectors as float32.

        Raises:
            DatastoreError: the draft is over, or a vector is missing or is not of unit norm.
        """
        self.check_open()
        vectors = checked_vectors(captions, vectors, self.about.dimension)
        for caption in captions:
            self.digests += caption_digest(caption)
        for row in {*range(0, len(captions), _SAMPLE_EVERY), *range(len(captions))[-1:]}:
            self._samples[captions[row]] = vectors[row].copy()
        while len(self._samples) > _SAMPLES:
            self._samples = dict(list(self._samples.items())[::2])
        self.count += len(captions)
        return vectors

    def check_open(self) -> None:
        """Raise `DatastoreError` when the draft is over."""
        if self.over:
            raise DatastoreError("this version is committed or discarded; open another writer")

    def commit(self, statistics: Statistics) -> DomainVersion:
        """End the draft and return the version with its number of captions. Blocks for a second per million captions.

        Raises:
            DatastoreError: there are no captions, the statistics are of other captions, or one was added twice.
        """
        self.check_open()
        if not self.count:
            raise DatastoreError("a version of no captions cannot serve")
        if statistics.count != self.count:
            raise DatastoreError(f"the statistics are of {statistics.count} captions and {self.count} were added")
        distinct = len(np.unique(np.frombuffer(self.digests, "S16")))
        if distinct != self.count:
            raise DatastoreError(f"{self.count} captions were added and only {distinct} differ; add each caption once")
        self.over = True
        self.about = replace(self.about, captions=self.count)
        return self.about

    def samples(self) -> tuple[list[str], FloatArray]:
        """Some of the captions [s] and the vectors [s, d] they were added with."""
        return list(self._samples), np.stack(list(self._samples.values()))

    def verify_count(self, stored: int) -> None:
        """Raise `DatastoreError` unless the backend counts as many captions as were added."""
        if stored != self.count:
            raise DatastoreError(f"{self.count} captions were added and {stored} are stored")

    def verify_samples(self, stored: Sequence[FloatArray | None], nearest: Sequence[Sequence[Neighbour]]) -> None:
        """Raise `DatastoreError` unless every sample is stored with its vector and finds itself.

        Args:
            stored: the vector [d] that the backend holds for each sample, None where it lacks the caption.
            nearest: what the backend finds for the vector of each sample, best first.
        """
        for (caption, vector), found, best in zip(self._samples.items(), stored, nearest, strict=True):
            if found is None or not np.allclose(found, vector, atol=1e-6):
                raise DatastoreError(f"the caption {caption!r} was not stored as it was given")
            # Another caption may have the very same vector, so the vector must come back.
            if best[0].score < _SELF_SIMILARITY or float(best[0].vector @ vector) < _SELF_SIMILARITY:
                raise DatastoreError(f"the stored caption {caption!r} does not find itself")
