"""The command: every check looks whatever became of the others, and one failure is that of the command."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli import app as cli
from service.diagnosis.checks import Check, all_checks
from service.diagnosis.finding import Finding, Status, ok
from service.settings import Settings


def test_a_check_that_breaks_or_hangs_is_a_failure_and_what_it_found_before_stays() -> None:
    def broken() -> Iterator[Finding]:
        raise KeyError("weights")

    def hanging() -> Iterator[Finding]:
        yield ok("first")
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
