"""A file of keys that changes under a service that runs."""

import json
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from service.auth.key_watch import KeyWatch, watched
from service.auth.keys import Keyring, digest_of


def text(*names: str) -> str:
    keys = [{"name": name, "digest": digest_of(name), "scopes": ["caption"]} for name in names]
    return json.dumps({"keys": keys})


class Watched:
    """A file of keys with a watch on it."""

    def __init__(self, path: Path) -> None:
        path.write_text(text("studio", "archive"))
        self.path = path
        self.keyring = Keyring.from_file(path)
        self.stale: list[bool] = []
        self.taken = 0
        self.watch = KeyWatch(path, self.keyring, self._take, self.stale.append)

    def _take(self, keyring: Keyring) -> None:
        self.keyring = keyring
        self.taken += 1

    def knows(self, name: str) -> bool:
        return self.keyring.find(name) is not None


@pytest.fixture
def file(tmp_path: Path) -> Watched:
    return Watched(tmp_path / "keys.json")


def replace(file: Path, content: str) -> None:
    new = file.with_suffix(".new")
    new.write_text(content)
    new.replace(file)


@pytest.mark.parametrize("write", [Path.write_text, replace])
def test_what_is_added_and_removed_is_taken_over(
    file: Watched, write: Callable[[Path, str], object], caplog: pytest.LogCaptureFixture
) -> None:
    file.watch.check()
    assert file.taken == 0
    write(file.path, text("studio", "radio"))
    with caplog.at_level(logging.INFO, "service.auth.key_watch"):
        file.watch.check()
    assert (file.knows("studio"), file.knows("radio"), file.knows("archive")) == (True, True, False)
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == ["added radio; removed archive"]


def test_what_changed_before_the_first_look_is_taken_over(file: Watched) -> None:
    file.path.write_text(text("studio"))
    file.watch.check()
    assert not file.knows("archive")


def test_a_change_that_keeps_size_and_time_is_seen(file: Watched) -> None:
    file.watch.check()
    about = file.path.stat()
    replace(file.path, text("studiO", "archive"))
    os.utime(file.path, ns=(about.st_atime_ns, about.st_mtime_ns))
    file.watch.check()
    assert not file.knows("studio")


def test_a_file_that_did_not_change_is_not_read(file: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    file.watch.check()
    monkeypatch.setattr(Keyring, "from_file", None)
    file.watch.check()
    assert file.stale == [False]


@pytest.mark.parametrize("broken", ["", "{", text("studio")[:-9], '{"keys": []}', text("studio", "studio"), None])
def test_a_broken_file_leaves_the_keys_and_says_so_once(
    file: Watched, broken: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    file.watch.check()
    if broken is None:
        file.path.unlink()
    else:
        file.path.write_text(broken)
    file.watch.check()
    file.watch.check()
    assert file.knows("archive")
    assert file.stale[-1]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "keys.json" in caplog.text
    file.path.write_text(text("studio"))
    file.watch.check()
    assert not file.knows("archive")
    assert not file.stale[-1]


def test_a_file_that_becomes_readable_is_read_though_its_content_is_the_same(
    file: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.watch.check()
    replace(file.path, text("studio"))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", lambda *_, **__: (_ for _ in ()).throw(PermissionError(13, "denied")))
        file.watch.check()
    assert file.knows("archive")
    file.watch.check()
    assert not file.knows("archive")


def test_a_thread_looks_again_and_again_and_ends(file: Watched, caplog: pytest.LogCaptureFixture) -> None:
    looked, go_on = threading.Event(), threading.Event()
    check = file.watch.check

    def looking() -> None:
        check()
        if not looked.is_set():
            looked.set()
            raise RuntimeError("a mistake")
        go_on.set()

    file.watch.check = looking  # type: ignore[method-assign]
    with watched(file.watch, 0.01):
        assert looked.wait(10)
        file.path.write_text(text("studio"))
        assert go_on.wait(10)
        until = time.monotonic() + 10
        while file.knows("archive"):
            assert time.monotonic() < until
            time.sleep(0.01)
    assert "could not be checked" in caplog.text
    assert not [thread for thread in threading.enumerate() if thread.name == "keys"]
