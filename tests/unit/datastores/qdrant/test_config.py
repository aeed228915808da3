"""The settings of the datastore's server become its configuration."""

from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from datastores.base import DatastoreUnavailable
from datastores.edge.store import EdgeStore
from datastores.qdrant.config import QdrantConfig
from datastores.qdrant.store import QdrantStore
from service import loading
from service.loading import open_store, qdrant_config
from service.settings import DatastoreSettings, Settings, SettingsError, known_variables, load_settings
from tests.storage import server_config

URL = "http://127.0.0.1:1"


def test_every_choice_comes_from_the_setting_of_its_name() -> None:
    settings = DatastoreSettings(url=URL, shards=6, quantisation="int8", exact_below=7)
    config = qdrant_config(settings)
    constants = {field.name for field in fields(QdrantConfig) if field.default is not MISSING}
    assert constants & DatastoreSettings.model_fields.keys() == set()
    for name in {field.name for field in fields(QdrantConfig)} - constants - {"setting_of"}:
        assert getattr(config, name) == getattr(settings, name)
        assert config.setting_of(name) in known_variables()


def test_keys_are_read_from_files(tmp_path: Path) -> None:
    (tmp_path / "read").write_text("may-read\n")
    settings = DatastoreSettings.model_validate(
        {"url": URL, "read_key_file": tmp_path / "read", "write_key": "may-write"}
    )
    config = qdrant_config(settings)
    assert (config.read_key, config.write_key) == ("may-read", "may-write")
    assert "may-write" not in repr(settings)


@pytest.mark.parametrize("content", [None, " \n"])
def test_a_key_file_without_a_key_is_named_with_its_setting(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "read").write_text(content)
    settings = DatastoreSettings(url=URL, read_key_file=tmp_path / "read")
    with pytest.raises(DatastoreUnavailable, match=r"read.*DRCAP_DATASTORE__READ_KEY_FILE"):
        qdrant_config(settings)


async def test_missing_certificates_are_named_with_their_setting(tmp_path: Path) -> None:
    settings = DatastoreSettings(url="https://127.0.0.1:1", ca_file=tmp_path / "ca.pem")
    with pytest.raises(DatastoreUnavailable, match=r"ca\.pem.*DRCAP_DATASTORE__CA_FILE"):
        await open_store(Settings(datastore=settings))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DRCAP_DATASTORE__URL", "qdrant:6333"),
        ("DRCAP_DATASTORE__QUANTISATION", "int4"),
        ("DRCAP_DATASTORE__PREFIX", "a.b"),
    ],
)
def test_a_wrong_value_is_refused_with_the_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name):
        load_settings()


def test_a_key_and_its_file_exclude_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRCAP_DATASTORE__READ_KEY", "secret")
    monkeypatch.setenv("DRCAP_DATASTORE__READ_KEY_FILE", "/run/secrets/key")
    with pytest.raises(SettingsError, match=r"READ_KEY and .*READ_KEY_FILE") as refused:
        load_settings()
    assert "secret;" not in str(refused.value)


async def test_a_url_picks_the_server_and_its_absence_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "qdrant_config", lambda _: server_config(URL, retry_seconds=0))
    on_server = await open_store(Settings(datastore=DatastoreSettings(url=URL)))
    assert isinstance(on_server, QdrantStore)
    await on_server.close()
    embedded = await open_store(Settings(datastore=DatastoreSettings(path=tmp_path)))
    assert isinstance(embedded, EdgeStore)
    await embedded.close()
