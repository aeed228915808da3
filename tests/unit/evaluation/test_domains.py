from collections.abc import Sequence
from pathlib import Path

import pytest

from datastores.base import FingerprintMismatch
from datastores.corpus.error import CorpusError
from evaluation.domains import Domain, corpus_domain, open_domain
from models.vectors import FloatArray
from tests.evaluation_parts import CITY, quiet
from tests.fakes import FakeClap
from tests.storage import limits


async def test_a_domain_of_another_clap_is_refused(city: Domain) -> None:
    other = FakeClap()
    other.fingerprint = "other"
    with pytest.raises(FingerprintMismatch, match=r"'fake-1'.*'other'"):
        await open_domain(city.store, "city", other)


class CountingClap(FakeClap):
    """Counts the texts it embeds."""

    def __init__(self) -> None:
        self.embedded = 0

    def embed_text(self, texts: Sequence[str]) -> FloatArray:
        self.embedded += len(texts)
        return super().embed_text(texts)


async def test_a_corpus_is_embedded_once_as_long_as_its_content_and_the_clap_stay(tmp_path: Path) -> None:
    file, clap = tmp_path / "city.txt", CountingClap()
    file.write_text("\n".join(CITY))

    async def captions() -> int:
        async with corpus_domain(file, tmp_path / "cache", clap, limits(), quiet()) as made:
            return made.version.captions

    assert (await captions(), clap.embedded) == (40, 40)
    assert (await captions(), clap.embedded) == (40, 40)
    file.write_text("tone 1\ntone 2\n")
    assert (await captions(), clap.embedded) == (2, 42)
    clap.fingerprint = "fake-2"
    assert (await captions(), clap.embedded) == (2, 44)


async def test_a_damaged_corpus_is_named_and_nothing_of_it_is_embedded(tmp_path: Path) -> None:
    file, clap = tmp_path / "city.txt", CountingClap()
    file.write_bytes("\n".join(CITY).encode() + b"\n\xff\xfe\n")
    with pytest.raises(CorpusError, match=r"city\.txt: "):
        async with corpus_domain(file, tmp_path / "cache", clap, limits(), quiet()):
            pass
    assert clap.embedded == 0
