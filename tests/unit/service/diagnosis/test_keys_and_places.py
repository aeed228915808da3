"""Files of keys, ports and folders that are not as they should be are told."""

import json
import os
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from service.auth.keys import digest_of
from service.diagnosis import disk, keys, ports
from service.diagnosis.finding import Status
from service.settings import AuthSettings, DatastoreSettings, ServerSettings, Settings
from tests.unit.service.diagnosis.findings import all_good, failures, of, warnings


def _keys_file(path: Path, mode: int = 0o600) -> Path:
    entry = {"name": "a", "digest": digest_of("x"), "scopes": ["caption"]}
    path.write_text(json.dumps({"keys": [entry]}))
    path.chmod(mode)
    return path


def test_keys_that_are_well_kept_are_counted(tmp_path: Path) -> None:
    auth = AuthSettings(keys_file=_keys_file(tmp_path / "keys.json"))
    [one] = of(keys.look(Settings(auth=auth)))
    assert one.said.startswith("1 in ")


@pytest.mark.parametrize(("mode", "kind", "said"), [(0o666, failures, "chmod go-w"), (0o644, warnings, "chmod 600")])
def test_a_file_of_keys_that_is_open_to_others_is_told(tmp_path: Path, mode: int, kind: Any, said: str) -> None:
    tmp_path.chmod(0o755)
    auth = AuthSettings(keys_file=_keys_file(tmp_path / "keys.json", mode))
    [line] = kind(keys.look(Settings(auth=auth)))
    assert f"mode {mode:04o}" in line
    assert said in line


def test_a_folder_that_nobody_else_enters_may_hold_files_that_all_read(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    auth = AuthSettings(keys_file=_keys_file(tmp_path / "keys.json", 0o644))
    assert all_good(keys.look(Settings(auth=auth)))


def test_keys_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text("{")
    for auth in (
        AuthSettings(keys_file=tmp_path / "nowhere.json"),
        AuthSettings(keys_file=tmp_path / "keys.json"),
        AuthSettings(keys=SecretStr("{")),
    ):
        [line] = failures(keys.look(Settings(auth=auth)))
        assert "keys" in line.lower()


def test_an_open_address_without_keys_is_told() -> None:
    [line] = failures(keys.look(Settings(server=ServerSettings(host="192.0.2.1"))))
    assert "drcap keys new" in line


def test_secrets_of_the_datastore_are_looked_at(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    empty, shared = tmp_path / "empty", tmp_path / "shared"
    empty.write_text("\n")
    shared.write_text("secret")
    shared.chmod(0o640)
    settings = DatastoreSettings(
        url="http://localhost", read_key_file=empty, write_key_file=shared, ca_file=tmp_path / "nowhere"
    )
    found = of(keys.look(Settings(datastore=settings)))
    assert [one.status for one in found if "is empty" in one.said or "cannot be read" in one.said] == [
        Status.failure
    ] * 2
    assert "mode 0640" in warnings(found)[0]


def test_a_free_port_is_free_and_a_taken_one_is_told_with_what_has_it() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        [line] = failures(ports.look(ServerSettings(port=port)))
        assert f"another program listens on 127.0.0.1:{port}" in line
        assert "DRCAP_SERVER__PORT" in line
        [line] = failures(ports.look(ServerSettings(port=0, ops_port=port)))
        assert "DRCAP_SERVER__OPS_PORT" in line
    assert all_good(ports.look(ServerSettings(port=port)))


def test_a_port_that_a_service_of_drcap_has_is_a_warning(living: int) -> None:
    found = of(ports.look(ServerSettings(port=living)))
    assert [one.status for one in found] == [Status.warning]
    assert "a drcap service listens" in found[0].said


def test_an_address_that_is_not_of_this_machine_is_told() -> None:
    [line] = failures(ports.look(ServerSettings(host="192.0.2.1", port=8000)))
    assert "cannot listen on" in line
    assert "DRCAP_SERVER__HOST" in line


def test_folders_with_room_are_shown_and_the_servers_is_none_of_ours(tmp_path: Path) -> None:
    found = of(disk.look(Settings(cache=tmp_path)))
    assert len(found) == 3
    assert len(of(disk.look(Settings(datastore=DatastoreSettings(url="http://localhost"))))) == 2


@pytest.mark.parametrize(("free", "kind"), [(10**6, failures), (5 * 10**8, warnings)])
def test_little_room_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, kind: Any) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": free}))
    assert any("make room" in line for line in kind(disk.look(Settings(cache=tmp_path))))


def test_a_folder_that_may_not_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    found = of(disk.look(Settings(datastore=DatastoreSettings(path=tmp_path / "file" / "domains"), cache=tmp_path)))
    assert any("cannot write" in line for line in failures(found))
    monkeypatch.setattr(os, "access", lambda *_: False)
    # Without its cache the service only starts slower.
    assert len(warnings(disk.look(Settings()))) == 1
    assert len(failures(disk.look(Settings()))) == 2


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:9"),
        ("0.0.0.0", "http://127.0.0.1:9"),  # noqa: S104
        ("::", "http://[::1]:9"),
        ("[::1]", "http://[::1]:9"),
        ("box.local", "http://box.local:9"),
    ],
)
def test_a_service_is_reached_where_it_listens(host: str, url: str) -> None:
    assert ports.url_of(host, 9) == url
