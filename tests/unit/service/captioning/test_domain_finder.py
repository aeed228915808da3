import pytest

from datastores.base import FingerprintMismatch
from service.auth.guard import Caller
from service.auth.keys import Key, Scope
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
    anybody = Caller(None)
    with pytest.raises(UnknownDomain, match=r"PUT /domains/\{name\}"):
        await domains.find(None, anybody)
    await put(store, "city")
    await put(store, "forest")
    key = Key(name="a", digest="sha256:" + "0" * 64, scopes=frozenset({Scope.caption}), domains=["forest"])
    for_forest = Caller(key)
    assert (await domains.find(None, for_forest)).domain == "forest"
    with pytest.raises(BadField, match=r"city, forest"):
        await domains.find(None, anybody)
