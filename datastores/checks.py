"""Checks of names, captions, vectors and queries that every backend shares."""

import hashlib
import re
from collections.abc import Sequence

import numpy as np

from datastores.base import DOMAIN_NAME, DatastoreError, DomainVersion, FloatArray, InvalidDomainName

_UNIT_TOLERANCE = 1e-3


def caption_digest(caption: str) -> bytes:
    """Sixteen bytes that name a caption."""
    return hashlib.blake2b(caption.encode(), digest_size=16).digest()


def check_name(domain: str) -> None:
    """Raise `InvalidDomainName` unless the whole of `domain` follows `DOMAIN_NAME`."""
    # fullmatch, because `$` would let a trailing newline through.
    if not re.fullmatch(DOMAIN_NAME, domain):
        raise InvalidDomainName(
            f"{domain!r} cannot be a domain's name: use 1 to 64 lower-case letters, digits, '-' and '_', "
            "first and last a letter or a digit"
        )


def checked_vectors(captions: Sequence[str], vectors: FloatArray, dimension: int) -> FloatArray:
    """Return the vectors [n, d] as float32. Raises `DatastoreError` unless each caption has one of unit norm."""
    vectors = np.asarray(vectors, dtype=np.float32)
    if vectors.shape != (len(captions), dimension):
        shape = "x".join(map(str, vectors.shape))
        raise DatastoreError(f"{len(captions)} captions of dimension {dimension} came with {shape} numbers")
    # This form of the comparison also refuses NaN.
    if not np.all(np.abs(np.linalg.norm(vectors, axis=1) - 1) < _UNIT_TOLERANCE):
        raise DatastoreError("a caption's vector is not of unit norm")
    return vectors


def check_query(version: DomainVersion, vectors: FloatArray, limit: int) -> None:
    """Raise `ValueError` for a limit below one or vectors of another dimension than the version's."""
    if limit < 1:
        raise ValueError(f"a search for {limit} captions")
    if vectors.ndim != 2 or vectors.shape[1] != version.dimension:
        raise ValueError(f"vectors {vectors.shape} for a domain of dimension {version.dimension}")


def unit_norm(vectors: FloatArray) -> FloatArray:
    """Return the vectors [n, d] scaled to unit norm; zero stays zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, np.finfo(np.float32).tiny), dtype=np.float32)
