"""``drcap caption`` as a process: on a terminal, stopped, killed and started again, beside a service in another."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cli.common.service_process import running_service
from tests.e2e.fake_service import COMMAND, HOLD
from tests.recordings import wav

COUNT = 150
PROGRAM = [sys.executable, "-c", "from cli.app import main; main()", "caption", "r"]


@pytest.fixture(scope="module")
def hold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that is not there; while it is, the service captions no more than some recordings."""
    return tmp_path_factory.mktemp("hold") / "hold"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, hold: Path) -> Iterator[str]:
    """The service over fakes, in a process of its own, with one domain."""
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setenv(HOLD, str(hold))
        url = stack.enter_context(running_service(tmp_path_factory.mktemp("service"), COMMAND))
        corpus = {"captions": [f"tone {number}" for number in range(20)]}
        httpx.put(f"{url}/domains/city", params={"wait": "true"}, json=corpus).raise_for_status()
        yield url


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a folder of recordings."""
    (tmp_path / "r").mkdir()
    for number in range(COUNT):
        (tmp_path / "r" / f"{number:03}.wav").write_bytes(wav(0.1, 100 * (1 + number % 19)))
    return tmp_path


@contextlib.contextmanager
def held(hold: Path) -> Iterator[None]:
    """No command comes to its end meanwhile."""
    hold.touch()
    try:
        yield
    finally:
        hold.unlink()


def start(folder: Path, url: str, *arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": ":".join(filter(None, sys.path))}
    return subprocess.Popen(  # noqa: S603 - our own interpreter
        [*PROGRAM, "--url", url, "--parallel", "2", *arguments],
        cwd=folder,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_some(process: subprocess.Popen[str], done: list[Path] | Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        some = [done] if isinstance(done, Path) else done
        if any(path.exists() and path.stat().st_size for path in some):
            return
        time.sleep(0.002)
    raise AssertionError("nothing came of it")


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_table_is_finished_by_the_same_command(folder: Path, url: str, hold: Path, stop: signal.Signals) -> None:
    out = folder / "out.ndjson"
    with held(hold):
        process = start(folder, url, "--out", "out.ndjson")
        wait_for_some(process, out)
        process.send_signal(stop)
        _, said = process.communicate(timeout=60)
    assert process.returncode == (130 if stop is signal.SIGINT else -stop)
    if stop is signal.SIGINT:
        assert said.startswith("interrupted: ")
        assert said.count("\n") == 1
    before = out.read_bytes().count(b"\n")
    assert 0 < before < COUNT
    with out.open("ab") as file:
        file.write(b'{"path": "r/149.wav", "capti')
    again = start(folder, url, "--out", "out.ndjson")
    _, said = again.communicate(timeout=60)
    assert again.returncode == 0, said
    assert f"{COUNT - before} captioned, {before} done before in " in said
    paths = [json.loads(line)["path"] for line in out.read_text().splitlines()]
    assert sorted(paths) == [f"r/{number:03}.wav" for number in range(COUNT)]


def test_files_beside_are_finished_by_the_same_command(folder: Path, url: str, hold: Path) -> None:
    with held(hold):
        process = start(folder, url, "--format", "srt", "--beside")
        wait_for_some(process, [folder / "r" / f"{number:03}.srt" for number in range(10)])
        process.kill()
        process.communicate(timeout=60)
    made = sorted((folder / "r").glob("*.srt"))
    assert 0 < len(made) < COUNT
    stamps = {path: path.stat().st_mtime_ns for path in made}
    again = start(folder, url, "--format", "srt", "--beside")
    assert again.wait(60) == 0
    assert len(list((folder / "r").glob("*.srt"))) == COUNT
    assert {path: path.stat().st_mtime_ns for path in made} == stamps
    assert all(path.read_text().startswith("1\n00:00:00,000 --> ") for path in (folder / "r").glob("*.srt"))


def test_the_bar_is_for_the_terminal_and_the_captions_for_the_pipe(folder: Path, url: str) -> None:
    ours, its = pty.openpty()
    process = subprocess.Popen(  # noqa: S603 - our own interpreter
        [*PROGRAM, "--url", url],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": ":".join(filter(None, sys.path)), "TERM": "xterm", "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=its,
        text=True,
    )
    os.close(its)
    shown: list[bytes] = []

    def look() -> None:
        # Linux answers the end of a terminal with an error.
        with contextlib.suppress(OSError):
            while data := os.read(ours, 4096):
                shown.append(data)

    looking = threading.Thread(target=look)
    looking.start()
    said, _ = process.communicate(timeout=60)
    looking.join()
    os.close(ours)
    assert process.returncode == 0
    assert [line.split(":")[0] for line in said.splitlines()] == [f"r/{number:03}.wav" for number in range(COUNT)]
    on_terminal = b"".join(shown).decode()
    assert f"/{COUNT}" in on_terminal
    assert f"{COUNT} captioned in " in on_terminal
    assert "Heard" not in on_terminal
