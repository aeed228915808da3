"""Fakes for the bundle, its domain and its decoder; a machine without Java."""

import pytest

from evaluation.domains import Domain, open_domain
from models.bundle.config import RetrievalSection
from models.bundle.loaded import LoadedBundle
from models.conditioning.projection import Projection
from models.decoder import GenerationOptions
from tests.evaluation_parts import (
    CAPTIONS,
    CITY,
    CLAP,
    ReadingDecoder,
    SearchedStore,
    domain_of,
)
from tests.fakes import FakeBundle


@pytest.fixture
def no_java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluation.java.which", lambda _: None)


@pytest.fixture
async def city() -> Domain:
    return await domain_of(CITY, "city")


@pytest.fixture
def decoder() -> ReadingDecoder:
    return ReadingDecoder()


@pytest.fixture
def bundle(decoder: ReadingDecoder) -> LoadedBundle:
    return FakeBundle(
        clap=CLAP,
        decoder=decoder,
        projection=Projection(0.1),
        retrieval=RetrievalSection(k=3, neighbours=20),
        generation=GenerationOptions(num_beams=4, max_new_tokens=40),
    )


@pytest.fixture
async def store() -> SearchedStore:
    store = SearchedStore()
    await store.put("city", CAPTIONS, CLAP.embed_text(CAPTIONS), CLAP.fingerprint)
    return store


@pytest.fixture
async def domain(store: SearchedStore) -> Domain:
    return await open_domain(store, "city", CLAP)
