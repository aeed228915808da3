"""``drcap caption --local`` with the embedded bundle."""

import json
import sys
from pathlib import Path

import pytest

from tests.api.test_cli import run

pytestmark = pytest.mark.embedded

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_recordings_are_captioned_in_a_file_of_captions(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out.ndjson"
    recordings = [str(EXAMPLES / "audio" / f"{name}.ogg") for name in ("rain", "siren", "church-bell")]
    corpus = str(EXAMPLES / "domains" / "field-notes.txt")
    assert run(monkeypatch, "caption", *recordings, "--local", "--corpus", corpus, "--out", str(out)) == 0
    found = {Path(row["path"]).stem: row for row in map(json.loads, out.read_text().splitlines())}
    assert {row["domain"] for row in found.values()} == {"field-notes"}
    assert "rain" in str(found["rain"]["caption"]).lower()
    said = capsys.readouterr()
    assert said.out == ""
    print(said.err, *(f"{name}: {row['caption']}" for name, row in found.items()), sep="\n", file=sys.stderr)
