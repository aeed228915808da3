"""Recordings that a command line names."""

import io
import os
import sys
from pathlib import Path

import pytest

from cli.common.recordings import RecordingFile, find, hold
from cli.common.stdin import STDIN


def made(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def found(*arguments: Path) -> list[str]:
    return [str(one.path) for one in find(arguments).recordings]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_folders_are_walked_in_order_without_what_is_hidden_or_no_audio(here: Path) -> None:
    made(here / "r", "b.WAV", "a.ogg", "notes.txt", ".c.wav", ".git/d.wav", "z/e.flac", "z/deep/f.mp3", "k/g.aiff")
    assert found(Path("r")) == ["r/a.ogg", "r/b.WAV", "r/k/g.aiff", "r/z/e.flac", "r/z/deep/f.mp3"]


def test_a_file_that_is_named_is_taken_whatever_it_is_called(here: Path) -> None:
    made(here, "take 7", ".hidden.wav")
    assert found(Path("take 7"), Path(".hidden.wav")) == ["take 7", ".hidden.wav"]


def test_what_is_named_twice_is_taken_once(here: Path) -> None:
    made(here / "r", "x/a.wav", "b.wav")
    assert found(Path("r/x"), Path("r"), Path("r/b.wav"), STDIN, STDIN, here / "r" / "b.wav") == [
        "r/x/a.wav",
        "r/b.wav",
        "-",
    ]


def test_links_are_followed_once_and_in_no_circle(here: Path) -> None:
    made(here, "r/x/a.wav", "elsewhere/b.wav")
    (here / "r" / "x" / "up").symlink_to(here / "r")
    (here / "r" / "there").symlink_to(here / "elsewhere")
    (here / "r" / "again").symlink_to(here / "elsewhere")
    (here / "r" / "same.wav").symlink_to(here / "r" / "x" / "a.wav")
    assert found(Path("r")) == ["r/same.wav", "r/again/b.wav"]


def test_a_pipe_in_a_folder_is_left_and_a_broken_link_is_taken_to_be_reported(here: Path) -> None:
    made(here / "r", "a.wav")
    os.mkfifo(here / "r" / "pipe.wav")
    (here / "r" / "gone.wav").symlink_to(here / "nowhere")
    assert found(Path("r")) == ["r/a.wav", "r/gone.wav"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_cannot_be_looked_into_is_told(here: Path) -> None:
    made(here / "r", "closed/a.wav", "b.wav")
    (here / "r" / "closed").chmod(0)
    everything = find([Path("r")])
    (here / "r" / "closed").chmod(0o700)
    assert [str(path) for path, _ in everything.unreadable] == ["r/closed"]
    assert [str(one) for one in everything.recordings] == ["r/b.wav"]


def test_a_name_that_is_no_unicode_can_be_shown(here: Path) -> None:
    (here / os.fsdecode(b"r\xff.wav")).write_bytes(b"x")
    (one,) = find([Path()]).recordings
    assert str(one).encode() == b"r\xef\xbf\xbd.wav"


def test_a_recording_knows_its_place_below_the_folder_that_was_named(here: Path) -> None:
    made(here / "r", "x/a.wav")
    assert [one.below for one in find([Path("r")]).recordings] == [Path("x/a.wav")]
    assert [one.below for one in find([Path("r/x/a.wav")]).recordings] == [Path("a.wav")]


def test_stdin_is_kept_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"12345")))
    assert hold(RecordingFile(STDIN), 5).data == b"12345"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"123456")))
    held = hold(RecordingFile(STDIN), 5)
    assert held.data is None
    assert "5 bytes are allowed (DRCAP_AUDIO__MAX_BYTES)" in str(held.problem)


def test_a_file_is_left_where_it_is_and_one_that_is_gone_is_a_problem(tmp_path: Path) -> None:
    made(tmp_path, "a.wav")
    assert hold(RecordingFile(tmp_path / "a.wav"), 5).data is None
    assert "No such file" in str(hold(RecordingFile(tmp_path / "b.wav"), 5).problem)
