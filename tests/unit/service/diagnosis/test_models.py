"""A device, a bundle, memory and a hub that are not as they should be are told."""

import sys
from pathlib import Path
from typing import Any

import pytest

from service.diagnosis import bundle, device, hub, memory
from service.settings import Settings
from tests.unit.service.diagnosis.findings import all_good, failures, of, warnings
from tests.whole_bundle import edit_config


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
    assert "projector.safetensors differs from the file that was sealed" in line
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


def test_a_gpu_holds_what_runs_on_it_and_a_cpu_both_forms_of_what_is_quantised(folder: Path) -> None:
    from models.bundle.check import look_at
    from models.bundle.memory_need import estimate
    from models.device.hardware import Gpu, Hardware
    from models.device.plan import Wishes, choose_plan

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
    assert "CLAP laion/clap-htsat-unfused cannot be fetched" in line
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
