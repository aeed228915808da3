"""The checks every backend asks of a new version."""

import numpy as np
import pytest

from datastores.base import DatastoreError, Neighbour
from datastores.draft import Draft
from tests.contract.versions import DIMENSION, statistics_of, unit_vectors

CAPTIONS = [f"caption {row}" for row in range(1000)]


def filled(count: int = 1000) -> Draft:
    draft = Draft("city", DIMENSION, "fake-1")
    draft.add(CAPTIONS[:count], unit_vectors(count))
    return draft


def test_a_committed_draft_describes_its_version_and_takes_no_more() -> None:
    draft = filled(3)
    version = draft.commit(statistics_of(unit_vectors(3)))
    assert (version.domain, version.captions, version.fingerprint) == ("city", 3, "fake-1")
    with pytest.raises(DatastoreError, match="committed or discarded"):
        draft.add(["rain"], unit_vectors(1))


def test_captions_whose_digests_end_in_zeros_are_told_apart() -> None:
    draft = filled(2)
    draft.digests[:] = bytes([1, *[0] * 15, 1, 1, *[0] * 14])
    assert draft.commit(statistics_of(unit_vectors(2))).captions == 2


def test_a_few_samples_are_kept_with_their_vectors() -> None:
    draft = filled()
    captions, vectors = draft.samples()
    assert 4 < len(captions) <= 16
    rows = [CAPTIONS.index(caption) for caption in captions]
    np.testing.assert_array_equal(vectors, unit_vectors(1000)[rows])


def test_a_sample_must_find_its_own_vector() -> None:
    draft = filled(1)
    [vector] = unit_vectors(1)
    [other] = unit_vectors(1, seed=1)
    draft.verify_samples([vector], [[Neighbour("a caption of the same vector", 1.0, vector)]])
    with pytest.raises(DatastoreError, match="does not find itself"):
        draft.verify_samples([vector], [[Neighbour("caption 0", 1.0, other)]])
    with pytest.raises(DatastoreError, match="was not stored as it was given"):
        draft.verify_samples([None], [[Neighbour("caption 0", 1.0, vector)]])
