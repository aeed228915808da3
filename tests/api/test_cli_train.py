"""``drcap train`` on a tiny bundle with a fake CLAP."""

import csv
import json
import sys
from pathlib import Path

import pytest
import torch

from cli import app as cli
from models.bundle.checksums import read_sums, verify
from models.clap.base import Clap
from tests.fakes import FakeClap
from tests.recordings import wav
from tests.tiny_bundle import tiny_captions, write_tiny_bundle

QUICK = ["--fresh", "--rank", "4", "--steps", "2", "--every", "1", "--batch", "1"]


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def load(section: object, folder: Path, device: torch.device) -> Clap:
        return FakeClap()

    monkeypatch.setattr("models.bundle.load.load_clap", load)
    monkeypatch.setenv("DRCAP_DEVICE", "cpu")
    monkeypatch.chdir(tmp_path)
    write_tiny_bundle(tmp_path / "tiny")
    (tmp_path / "mine.txt").write_text("\n".join(tiny_captions(60)))


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int | str:
    """What the process would exit with: a code, or a line for stderr, which means 1."""
    monkeypatch.setattr(sys, "argv", ["drcap", "train", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code or 0


def test_captions_become_a_bundle_of_that_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    options = ["--bundle", "tiny", "--out", "new", "--weight", "mine=2", "--licence", "CC0", *QUICK]
    assert run(monkeypatch, "mine.txt", *options) == 0
    facts = json.loads((tmp_path / "new" / "training.json").read_text())
    assert facts["range_chosen"]
    assert [(c["name"], c["weight"], c["licence"]) for c in facts["corpora"]] == [("mine", 2.0, "CC0")]
    assert json.loads((tmp_path / "new" / "bundle.json").read_text())["name"] == "new"
    assert (tmp_path / "new" / "loss.png").read_bytes().startswith(b"\x89PNG")
    sums = read_sums(tmp_path / "new") or {}
    assert {"projector.safetensors", "adapter/adapter_model.safetensors"} <= set(sums)
    assert sorted(verify(tmp_path / "new", sums).intact) == sorted(sums)


def test_recordings_validate_where_there_are_some(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav())
    with (tmp_path / "clips.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["file", "caption"], ["a.wav", "A dog barks at night."]])
    assert run(monkeypatch, "mine.txt", "--bundle", "tiny", "--out", "new", "--clips", "clips.csv", *QUICK) == 0
    rows = [json.loads(line) for line in (tmp_path / "new.work" / "log.jsonl").read_text().splitlines()]
    assert [list(row["validation"]) for row in rows if "validation" in row] == [["audio", "text"]] * 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--similarity", "0.9,0.1"], "low < high"),
        (["--similarity", "high"], "--similarity takes two numbers"),
        (["--similar", "5,2"], "fewest <= most"),
        (["--weight", "yours=2"], "no such corpus"),
        (["--weight", "mine=never"], "CORPUS=NUMBER"),
        (["--mishear", "1.5"], "mishear is a share"),
        (["--steps", "0"], "steps is at least 1"),
        (["--precision", "half"], "precision is one of"),
        (["--bundle", "nowhere"], "no bundle at nowhere"),
    ],
)
def test_options_that_cannot_be_are_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: list[str], said: str
) -> None:
    ended = run(monkeypatch, "mine.txt", "--bundle", "tiny", "--out", "new", *QUICK, *options)
    assert isinstance(ended, str)
    assert said in ended
    assert "\n" not in ended
    assert not (tmp_path / "new").exists()


def test_a_corpus_too_small_to_validate_with_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "few.txt").write_text("A dog barks.\nRain falls.\n")
    assert "at least 8 captions" in str(run(monkeypatch, "few.txt", "--bundle", "tiny", "--out", "new", *QUICK))
