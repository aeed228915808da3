"""A datastore that cannot be opened, reached or trusted is told."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from datastores.edge.catalog import Catalog
from datastores.edge.store import EdgeStore
from datastores.statistics import RunningStatistics
from service.diagnosis import datastore
from service.diagnosis.finding import Finding, Status
from service.settings import DatastoreSettings, ServerSettings, Settings
from tests.fakes import FakeClap
from tests.qdrant_wire import Wire
from tests.unit.service.diagnosis.findings import all_good, failures, of, warnings


async def _register(root: Path, domain: str, fingerprint: str) -> None:
    store, clap = await EdgeStore.open(root), FakeClap()
    vectors, running = clap.embed_text(["a dog", "rain"]), RunningStatistics(clap.embedding_dim)
    running.add(vectors)
    async with store.writer(domain, dimension=clap.embedding_dim, fingerprint=fingerprint) as writer:
        await writer.add(["a dog", "rain"], vectors)
        await writer.commit(running.statistics())
    await store.close()


def _stored(root: Path) -> Settings:
    return Settings(datastore=DatastoreSettings(path=root), server=ServerSettings(port=9))


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    assert all_good(datastore.look(_stored(tmp_path / "new")))
    assert not (tmp_path / "new").exists()


async def test_domains_are_counted_and_those_of_two_claps_told(tmp_path: Path) -> None:
    await _register(tmp_path, "city", "fake-1")
    found = of(datastore.look(_stored(tmp_path)))
    assert [one.status for one in found] == [Status.ok]
    assert "with 1 domains" in found[0].said
    await _register(tmp_path, "forest", "other-2")
    assert "embedded by 2 CLAPs: fake-1, other-2" in warnings(datastore.look(_stored(tmp_path)))[0]


async def test_a_damaged_domain_is_named_and_the_others_counted(tmp_path: Path) -> None:
    await _register(tmp_path, "city", "fake-1")
    await _register(tmp_path, "forest", "fake-1")
    (tmp_path / "domains" / "city" / "current").write_text("{")
    found = of(datastore.look(_stored(tmp_path)))
    assert "domain city: " in failures(found)[0]
    assert "with 1 domains" in found[-1].said


def test_a_folder_in_use_is_a_failure_unless_a_service_runs(tmp_path: Path, living: int) -> None:
    held = Catalog(tmp_path)
    try:
        assert "in use by another process" in failures(datastore.look(_stored(tmp_path)))[0]
        running = Settings(datastore=DatastoreSettings(path=tmp_path), server=ServerSettings(port=living))
        assert "a running service has" in warnings(datastore.look(running))[0]
    finally:
        held.release()
    assert all_good(datastore.look(_stored(tmp_path)))


def test_a_path_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be used" in failures(datastore.look(_stored(tmp_path / "file")))[0]


async def _asked(wire: Wire, **changes: Any) -> list[Finding]:
    return of(await datastore._server(Settings(datastore=DatastoreSettings(url=wire.url, **changes))))


async def test_a_server_that_answers_to_both_keys_is_named_with_its_version() -> None:
    wire = Wire("reading", "writing")
    await wire.start()
    try:
        given = {"read_key": SecretStr("reading"), "write_key": SecretStr("writing")}
        found = await _asked(wire, **given)
        assert [one.status for one in found] == [Status.ok]
        assert f"at {wire.url} answers" in found[0].said
        [line] = failures(await _asked(wire, read_key=SecretStr("reading"), write_key=SecretStr("reading")))
        assert "domains cannot be registered" in line
        [line] = failures(await _asked(wire, read_key=SecretStr("wrong")))
        assert "READ_KEY" in line
        wire.fault = 500
        assert "answered 500" in failures(await _asked(wire, **given))[0]
    finally:
        await wire.stop()
    assert "cannot be reached" in failures(await _asked(wire, **given))[0]


async def test_a_server_that_does_not_answer_in_time_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datastore, "_SECONDS", 0.2)
    wire = Wire()
    await wire.start()
    wire.fault = "hang"
    try:
        assert "did not answer within 0.2 s" in failures(await _asked(wire))[0]
    finally:
        wire.fault = None
        await wire.stop()


def test_an_old_server_is_told_and_an_odd_version_is_not() -> None:
    assert "Qdrant 1.9.2, and 1.10 or newer is needed" in failures(datastore._version("1.9.2"))[0]
    assert datastore._version("1.10.0") == datastore._version("1.15.1") == datastore._version("dev") == []


async def test_a_key_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    settings = DatastoreSettings(url="http://127.0.0.1:9", read_key_file=tmp_path / "nowhere")
    [line] = failures(await datastore._server(Settings(datastore=settings)))
    assert "DRCAP_DATASTORE__READ_KEY_FILE" in line
