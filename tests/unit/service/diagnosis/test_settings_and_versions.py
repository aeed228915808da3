"""Versions and settings that are not as they should be are told, and the rest is used."""

import os

import pytest

from service.diagnosis import variables, versions
from tests.unit.service.diagnosis.findings import all_good, failures, warnings


def test_the_versions_here_are_as_needed() -> None:
    assert all_good(versions.look())


def test_an_old_python_an_old_package_and_one_that_is_missing_are_told() -> None:
    assert "Python 3.10 -> set drcap up again with Python 3.11" in failures(versions._python((3, 10)))[0]
    wanted = ["torch>=99", "no-such-package>=1", "numpy>=1", 'faiss-cpu>=1; extra == "bench"']
    old, missing = failures(versions._packages(wanted))
    assert old.startswith("torch is 2")
    assert "drcap needs >=99 -> run `make install`" in old
    assert missing.startswith("no-such-package is not installed")
    assert "not installed" in warnings(versions._packages([]))[0]


def test_a_libsndfile_that_cannot_read_mp3_or_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "_read_by", lambda: "1.0.31")
    assert "libsndfile 1.0.31 does not read MP3" in failures(versions.look())[0]

    def gone() -> str:
        raise OSError("sndfile library not found")

    monkeypatch.setattr(versions, "_read_by", gone)
    assert "sndfile library not found" in failures(versions.look())[0]


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
