"""Each thing that can be wrong is found by its check, says what to do, and keeps no other check from looking."""

import json
import os
import shutil
import socket
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from datastores.edge.catalog import Catalog
from datastores.edge.store import EdgeStore
from datastores.moments import Moments
from models.checksums import seal
from service.cli import app as cli
from service.diagnosis import bundle, datastore, device, disk, hub, keys, memory, ports, variables, versions
from service.diagnosis.check import Check, Finding, Status, ok
from service.diagnosis.checks import all_checks
from service.keys import digest_of
from service.settings import AuthSettings, DatastoreSettings, ServerSettings, Settings
from tests.fakes import FakeClap
from tests.qdrant_wire import Wire
from tests.whole_bundle import edit_config, write_whole_bundle


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_whole_bundle(tmp_path_factory.mktemp("whole"))
    seal(folder)
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A bundle to damage."""
    return Path(shutil.copytree(whole, tmp_path / "bundle"))


def of(found: Any) -> list[Finding]:
    findings: list[Finding] = list(found)
    for one in findings:
        assert one.said
        assert bool(one.remedy) == (one.status is not Status.ok)
    return findings


def failures(found: Any) -> list[str]:
    return [f"{one.said} -> {one.remedy}" for one in of(found) if one.status is Status.failure]


def warnings(found: Any) -> list[str]:
    return [f"{one.said} -> {one.remedy}" for one in of(found) if one.status is Status.warning]


def all_good(found: Any) -> bool:
    findings = of(found)
    return bool(findings) and all(one.status is Status.ok for one in findings)


# The checks themselves.


def test_a_check_that_breaks_or_hangs_is_a_failure_and_what_it_found_before_stays() -> None:
    def broken() -> Iterator[Finding]:
        raise KeyError("weights")

    def hanging() -> Iterator[Finding]:
        yield ok("slow", "first")
        time.sleep(2)

    [one] = Check("broken", broken).run()
    assert one.status is Status.failure
    assert "KeyError: 'weights'" in one.said
    found = Check("slow", hanging, seconds=0.1).run()
    assert found[-1].status is Status.failure
    assert "within 0.1 s" in found[-1].said


def test_every_check_has_a_bound_and_a_name_of_its_own() -> None:
    checks = all_checks(Settings(), {})
    assert len({check.name for check in checks}) == len(checks)
    assert all(0 < check.seconds <= 30 for check in checks)


# Versions.


def test_the_versions_here_are_as_needed() -> None:
    assert all_good(versions.look())


def test_an_old_python_an_old_package_and_one_that_is_missing_are_told() -> None:
    assert "Python 3.10 -> set drcap up again with Python 3.11" in failures(versions._python((3, 10)))[0]
    wanted = ["torch>=99", "no-such-package>=1", "numpy>=1", 'faiss-cpu>=1; extra == "bench"']
    old, missing = failures(versions._packages(wanted))
    assert old.startswith("torch is 2")
    assert "drcap needs >=99 -> make install" in old
    assert missing.startswith("no-such-package is not installed")
    assert "not installed" in warnings(versions._packages([]))[0]


def test_a_libsndfile_that_cannot_read_mp3_or_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "_read_by", lambda: "1.0.31")
    assert "libsndfile 1.0.31 does not read MP3" in failures(versions.look())[0]

    def gone() -> str:
        raise OSError("sndfile library not found")

    monkeypatch.setattr(versions, "_read_by", gone)
    assert "sndfile library not found" in failures(versions.look())[0]


# Settings.


def test_every_unknown_variable_and_every_wrong_value_is_told_and_the_rest_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {
        "DRCAP_BUNDEL": "x",
        "DRCAP_SERVER__PROT": "1",
        "DRCAP_SERVER__PORT": "seventy",
        "DRCAP_AUDIO__MAX_SECONDS": "-1",
        "DRCAP_DEVICE": "cpu",
    }.items():
        monkeypatch.setenv(name, value)
    found = failures(variables.look(os.environ))
    named = ["DRCAP_BUNDEL", "DRCAP_SERVER__PROT", "DRCAP_SERVER__PORT", "DRCAP_AUDIO__MAX_SECONDS"]
    assert [line.split(" ")[0].rstrip(":") for line in found] == named
    assert "DRCAP_BUNDLE is the nearest" in found[0]
    usable = variables.usable_settings()
    assert (usable.device, usable.server.port, usable.audio.max_seconds) == ("cpu", 8000, 600.0)


def test_settings_that_are_valid_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRCAP_DEVICE", "cpu")
    assert all_good(variables.look({"DRCAP_DEVICE": "cpu", "HOME": "/"}))


# Keys.


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


# Ports.


def test_a_free_port_is_free_and_a_taken_one_is_told_with_what_has_it() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        [line] = failures(ports.look(ServerSettings(port=port)))
        assert f"another program listens at 127.0.0.1:{port}" in line
        assert "DRCAP_SERVER__PORT" in line
        [line] = failures(ports.look(ServerSettings(port=0, ops_port=port)))
        assert "DRCAP_SERVER__OPS_PORT" in line
    assert all_good(ports.look(ServerSettings(port=port)))


class _Alive(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"status": "alive"}')

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def living() -> Iterator[int]:
    """The port of a service that lives."""
    server = HTTPServer(("127.0.0.1", 0), _Alive)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_a_port_that_a_service_of_drcap_has_is_a_warning(living: int) -> None:
    found = of(ports.look(ServerSettings(port=living)))
    assert [one.status for one in found] == [Status.warning]
    assert "a drcap service listens" in found[0].said


def test_an_address_that_is_not_of_this_machine_is_told() -> None:
    [line] = failures(ports.look(ServerSettings(host="192.0.2.1", port=8000)))
    assert "cannot be listened at" in line
    assert "DRCAP_SERVER__HOST" in line


# Device.


def test_every_decision_is_shown_with_its_reason(folder: Path) -> None:
    found = of(device.look(Settings(bundle=str(folder), device="cpu")))
    assert all_good(found)
    assert any("LLM on cpu: as asked" in one.said for one in found)
    assert all(": " in one.said for one in found)


def test_a_device_that_is_not_there_and_a_torch_that_is_not_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    [line] = failures(device.look(Settings(device="toaster")))
    assert "DRCAP_DEVICE" in line
    assert "toaster" in warnings(memory.look(Settings(device="toaster")))[0]
    monkeypatch.setitem(sys.modules, "torch", None)
    [line] = failures(device.look(Settings()))
    assert "torch cannot be loaded" in line


# Bundle.


def test_a_whole_bundle_is_whole(folder: Path) -> None:
    settings = Settings(bundle=str(folder))
    for look in (bundle.look, bundle.look_at_sums, bundle.look_at_licences, hub.look, memory.look):
        assert all_good(look(settings)), list(look(settings))


def test_a_bundle_that_is_nowhere_is_told_by_all_that_need_it(tmp_path: Path) -> None:
    settings = Settings(bundle=str(tmp_path / "nowhere"))
    assert "there is no bundle" in failures(bundle.look(settings))[0]
    assert failures(bundle.look_at_licences(settings))
    assert "not known" in warnings(memory.look(settings))[0]
    assert warnings(bundle.look_at_sums(settings))


def test_a_part_that_is_missing_and_one_that_changed_are_told(folder: Path) -> None:
    settings = Settings(bundle=str(folder))
    with (folder / "projector.safetensors").open("ab") as file:
        file.write(b" ")
    [line] = failures(bundle.look_at_sums(settings))
    assert "projector.safetensors is not the file that was sealed" in line
    (folder / "projector.safetensors").unlink()
    assert "projector: there is no" in failures(bundle.look(settings))[0]
    assert "is missing" in failures(bundle.look_at_sums(settings))[0]
    (folder / "SHA256SUMS").write_text("nonsense\n")
    assert "line 1" in failures(bundle.look_at_sums(settings))[0]
    (folder / "SHA256SUMS").unlink()
    assert "drcap bundle seal" in warnings(bundle.look_at_sums(settings))[0]


def test_what_is_too_large_for_the_time_is_not_called_intact(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "_SUMS_SECONDS", -1.0)
    [one] = of(bundle.look_at_sums(Settings(bundle=str(folder))))
    assert one.said.startswith("0 files")
    assert "drcap bundle check" in one.said


def test_a_licence_that_is_not_stated_is_a_warning(folder: Path) -> None:
    edit_config(folder, licences={"LLM": "unknown"})
    [line] = warnings(bundle.look_at_licences(Settings(bundle=str(folder))))
    assert "that of LLM is not stated" in line


# Memory.


def test_a_gpu_holds_what_runs_on_it_and_a_cpu_both_forms_of_what_is_quantised(folder: Path) -> None:
    from models.bundle_check import look_at
    from models.device import Wishes, choose_plan
    from models.hardware import Gpu, Hardware
    from models.memory_need import estimate

    checked = look_at(folder)
    assert checked.llm is not None
    there = Hardware((Gpu("card", 10**9, (9, 0)),), int8=True, torchao=True)
    count = checked.llm.parameters

    def need(**wish: Any) -> Any:
        return estimate(checked, choose_plan(Wishes(**wish), hardware=there))

    plain, int8 = need(device="cpu"), need(device="cpu", quantisation="int8")
    assert int8.machine - plain.machine == count
    assert (plain.gpu, int8.gpu) == (0, 0)
    on_gpu, apart = need(device="cuda"), need(device="cuda", clap_device="cpu")
    assert apart.gpu == 2 * count
    assert on_gpu.gpu > apart.gpu
    assert need(device="cuda", clap_device="cpu", quantisation="int4").gpu == round(0.6 * count)


def test_too_little_memory_is_told_and_just_enough_is_a_warning(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(bundle=str(folder))
    monkeypatch.setattr(memory, "available", lambda: 100 * 10**6)
    assert "0.1 GB are free" in failures(memory.look(settings))[0]
    monkeypatch.setattr(memory, "available", lambda: 1_000 * 10**6)
    assert "1.0 GB are free" in warnings(memory.look(settings))[0]
    monkeypatch.setattr(memory, "available", lambda: None)
    assert all_good(memory.look(settings))


def test_the_limit_of_a_container_counts_where_it_is_less(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 100 kB\nMemAvailable:   50 kB\n")
    assert memory.available(meminfo, tmp_path) == 50 * 1024
    for name, content in (("memory.max", "40000\n"), ("memory.current", "30000"), ("memory.stat", "inactive_file 5\n")):
        (tmp_path / name).write_text(content)
    assert memory.available(meminfo, tmp_path) == 10_005
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.available(meminfo, tmp_path) == 50 * 1024
    assert memory.available(tmp_path / "nothing", tmp_path) is None


# Hub.


def test_the_hub_is_not_asked_where_nothing_is_needed_of_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **more: object) -> None:
        raise AssertionError

    monkeypatch.setattr(hub, "_reached", refuse)
    assert all_good(hub.look(Settings(bundle=str(folder))))


def test_what_is_needed_of_the_hub_and_not_to_be_had_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit_config(folder, clap={"backend": "huggingface", "source": "laion/clap-htsat-unfused", "revision": "main"})
    settings = Settings(bundle=str(folder))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    [line] = failures(hub.look(settings))
    assert "CLAP laion/clap-htsat-unfused cannot be had" in line
    assert "unset HF_HUB_OFFLINE" in line
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    [line] = failures(hub.look(settings))
    assert "http://127.0.0.1:9 cannot be reached" in line


def test_a_hub_that_answers_is_found(folder: Path, living: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{living}")
    assert all_good(hub.look(Settings(bundle=str(folder)), asked=True))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in of(hub.look(Settings(bundle=str(folder)), asked=True))[0].said


# Datastore.


async def _register(root: Path, domain: str, fingerprint: str) -> None:
    store, clap = await EdgeStore.open(root), FakeClap()
    vectors, moments = clap.embed_text(["a dog", "rain"]), Moments(clap.embedding_dim)
    moments.add(vectors)
    async with store.writer(domain, dimension=clap.embedding_dim, fingerprint=fingerprint) as writer:
        await writer.add(["a dog", "rain"], vectors)
        await writer.commit(moments.statistics())
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


# Disk.


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


# The command.


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int | str:
    """What the process would exit with."""
    monkeypatch.setattr(sys, "argv", ["drcap", "doctor", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code or 0


def test_the_command_passes_where_all_is_well(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv("DRCAP_BUNDLE", str(folder))
    monkeypatch.setenv("DRCAP_SERVER__PORT", "0")
    monkeypatch.setenv("DRCAP_CACHE", str(folder.parent))
    assert run(monkeypatch) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("0 failures")
    assert {line.split()[1] for line in lines[:-1]} == {check.name for check in all_checks(Settings(), {})}


def test_one_failure_is_the_commands_and_every_other_check_still_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DRCAP_BUNDEL", "x")
    monkeypatch.setenv("DRCAP_BUNDLE", str(tmp_path))
    monkeypatch.setenv("DRCAP_SERVER__PORT", "-1")
    assert run(monkeypatch, "--json") == 1
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is False
    looked = {one["check"] for one in document["findings"]}
    assert looked == {check.name for check in all_checks(Settings.model_construct(), {})}
    assert set(document["findings"][0]) == {"check", "status", "said", "remedy"}
