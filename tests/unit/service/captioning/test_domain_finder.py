import pytest

from datastores.base import FingerprintMismatch
from service.captioning.domain_finder import DomainFinder
from service.errors import BadField, UnknownDomain
from tests.fakes import FakeClap
from tests.memory_store import MemoryStore

CLAP = FakeClap()


async def put(store: MemoryStore, name: str) -> None:
    await store.put(name, ["a bell"], CLAP.embed_text(["a bell"]), CLAP.fingerprint)


async def test_a_domain_of_another_clap_is_refused() -> None:
    store = MemoryStore()
    await put(store, "city")
    with pytest.raises(FingerprintMismatch, match=r"'fake-1'.*'other'"):
        await DomainFinder(store, "other").resolve("city")


async def test_the_only_domain_that_a_caller_reaches_needs_no_name() -> None:
    store = MemoryStore()
    domains = DomainFinder(store, CLAP.fingerprint)
    with pytest.raises(UnknownDomain, match=r"PUT /domains/\{name\}"):
        await domains.only(lambda _: True)
    await put(store, "city")
    await put(store, "forest")
    assert await domains.only(lambda name: name == "forest") == "forest"
    with pytest.raises(BadField, match=r"city, forest"):
        await domains.only(lambda _: True)
