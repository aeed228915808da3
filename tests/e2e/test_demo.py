"""``drcap demo`` against a real process: the service over fakes, or programs that fail as services do."""

import os
import socket
import sys
from pathlib import Path

import httpx
import pytest

from cli import demo
from cli.common import service_process as child
from tests.e2e.fake_service import COMMAND

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture
def fake_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "server_command", lambda: COMMAND)


@pytest.fixture
def ports(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The ports that were handed out."""
    handed: list[int] = []
    free_port = child.free_port

    def noted() -> int:
        handed.append(free_port())
        return handed[-1]

    monkeypatch.setattr(child, "free_port", noted)
    return handed


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def program(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def test_the_demo_captions_every_sample_in_both_domains_and_stops_the_service(
    fake_service: None, ports: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo.demo() == 0
    said = capsys.readouterr().out
    for path in (ROOT / "examples" / "audio").glob("*.ogg"):
        assert f"\n{path.stem}, " in said
    for domain in demo.DOMAINS:
        captions = (ROOT / "examples" / "domains" / f"{domain}.txt").read_text(encoding="utf-8").splitlines()
        assert f"Domain {domain}: {len(captions)} captions" in said
        assert sum(f"  {caption}\n" in said for caption in captions) > 3
    for stage in demo.STAGES:
        assert f"{stage} " in said
    assert "make serve" in said
    assert len(ports) == 1
    assert not listens(ports[0])


def test_a_service_that_ends_fails_the_demo_with_the_end_of_its_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "import sys; print('line 1'); print('no weights [here]'); sys.exit(3)"
    monkeypatch.setattr(child, "server_command", lambda: program(text))
    assert demo.demo() == 1
    said = capsys.readouterr().out
    assert "exit code 3" in said
    assert "no weights [here]" in said


def test_a_service_that_never_gets_ready_is_given_up_and_stopped(tmp_path: Path, ports: list[int]) -> None:
    text = "import time; print('still loading', flush=True); time.sleep(600)"
    with (
        pytest.raises(child.StartError, match=r"not ready after 1 s:\nstill loading"),
        child.running_service(tmp_path, program(text), ready_seconds=1.0),
    ):
        pytest.fail("it was said to be ready")


def test_an_error_answer_fails_the_demo_with_its_detail_and_stops_the_service(
    fake_service: None,
    ports: list[int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DRCAP_AUDIO__MAX_SECONDS", "1")
    assert demo.demo() == 1
    said = capsys.readouterr().out
    assert "POST /caption was answered with 413" in said
    assert "DRCAP_AUDIO__MAX_SECONDS" in said
    assert not listens(ports[0])


def test_an_interrupt_stops_the_service(fake_service: None, ports: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        assert listens(ports[0])
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "register", interrupted)
    assert demo.demo() == 130
    assert not listens(ports[0])


def test_the_demo_can_keep_the_service_until_it_is_interrupted(
    fake_service: None, ports: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[httpx.Response] = []

    def look_and_return() -> None:
        answers.append(httpx.get(f"http://127.0.0.1:{ports[0]}/domains"))

    monkeypatch.setattr(demo, "captioned", lambda *_: iter(()))
    monkeypatch.setattr(demo, "_wait_for_interrupt", look_and_return)
    assert demo.demo(keep=True) == 0
    assert [one["name"] for one in answers[0].json()["domains"]] == sorted(demo.DOMAINS)
    assert not listens(ports[0])


def test_the_datastore_is_the_one_that_the_environment_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "import os, sys; sys.exit(os.environ['DRCAP_DATASTORE__PATH'])"
    with (
        pytest.raises(child.StartError, match=str(tmp_path / "domains")),
        child.running_service(tmp_path, program(text)),
    ):
        pass
    monkeypatch.setenv("DRCAP_DATASTORE__PATH", "/elsewhere")
    with pytest.raises(child.StartError, match="/elsewhere"), child.running_service(tmp_path, program(text)):
        pass
    assert os.environ["DRCAP_DATASTORE__PATH"] == "/elsewhere"
