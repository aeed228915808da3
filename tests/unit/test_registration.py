"""Registration over the embedded datastore and a CLAP of a few lines."""

from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from datastores.base import DomainNotFound, FloatArray
from datastores.corpus import CorpusError
from datastores.edge import EdgeStore
from datastores.moments import Moments
from datastores.registration import register
from tests.fakes import FakeClap

CAPTIONS = [f"tone {number}" for number in range(25)]


class FailingClap(FakeClap):
    """Fails at the second call."""

    calls = 0

    def embed_text(self, texts: Sequence[str]) -> FloatArray:
        self.calls += 1
        if self.calls == 2:
            raise RuntimeError("out of memory")
        return super().embed_text(texts)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EdgeStore]:
    store = await EdgeStore.open(tmp_path)
    yield store
    await store.close()


async def test_a_registered_domain_finds_its_captions(store: EdgeStore) -> None:
    clap = FakeClap()
    done = await register(store, "city", CAPTIONS, clap, batch=10)
    assert await store.resolve("city") == done.version
    assert (done.version.captions, done.version.fingerprint) == (25, "fake-1")
    [found] = await store.search(done.version, clap.embed_text(["tone 7"]), 1)
    assert found[0].caption == "tone 7"


async def test_the_moments_are_those_of_all_chunks(store: EdgeStore) -> None:
    done = await register(store, "city", CAPTIONS, FakeClap(), batch=7)
    vectors = FakeClap().embed_text(CAPTIONS).astype(np.float64)
    statistics = await store.statistics(done.version)
    np.testing.assert_allclose(statistics.mean, vectors.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(statistics.covariance, np.cov(vectors.T, bias=True), atol=1e-12)


def test_moments_are_exact_when_the_mean_is_large() -> None:
    vectors = np.random.default_rng(0).normal(1e3, 1e-2, size=(1000, 4)).astype(np.float32)
    moments = Moments(4)
    for start in range(0, 1000, 130):
        moments.add(vectors[start : start + 130])
    expected = np.cov(vectors.astype(np.float64).T, bias=True)
    np.testing.assert_allclose(moments.statistics().covariance, expected, rtol=1e-9, atol=1e-15)


def test_moments_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="no vectors"):
        Moments(4).statistics()


async def test_progress_counts_what_is_stored(store: EdgeStore) -> None:
    seen: list[int] = []
    with ThreadPoolExecutor(1) as executor:
        await register(store, "city", CAPTIONS, FakeClap(), batch=10, progress=seen.append, executor=executor)
    assert seen == [10, 20, 25]


async def test_repeated_captions_are_registered_once(store: EdgeStore) -> None:
    done = await register(store, "city", CAPTIONS + CAPTIONS[:3], FakeClap(), batch=10)
    assert (done.version.captions, done.repeated) == (25, 3)


async def test_captions_equal_only_in_embedding_are_all_registered(store: EdgeStore) -> None:
    done = await register(store, "city", ["a b", "b a", "A B"], FakeClap())
    assert done.version.captions == 3


async def test_a_failing_encoder_leaves_the_old_version_serving(store: EdgeStore) -> None:
    old = (await register(store, "city", CAPTIONS, FakeClap())).version
    with pytest.raises(RuntimeError, match="out of memory"):
        await register(store, "city", CAPTIONS, FailingClap(), batch=10)
    assert await store.resolve("city") == old


async def test_a_corpus_that_breaks_off_leaves_no_domain(store: EdgeStore) -> None:
    def captions() -> Iterator[str]:
        yield from CAPTIONS
        raise CorpusError("bad", "row", 26)

    with pytest.raises(CorpusError, match="line 26"):
        await register(store, "city", captions(), FakeClap(), batch=10)
    with pytest.raises(DomainNotFound):
        await store.resolve("city")


async def test_no_captions_are_refused(store: EdgeStore) -> None:
    with pytest.raises(CorpusError, match="no caption") as refused:
        await register(store, "city", iter([]), FakeClap())
    assert refused.value.kind == "empty"
