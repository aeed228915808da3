from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app


@pytest.mark.parametrize("subject", ["projection", "datastore", "registration"])
def test_every_subject_explains_its_options(subject: str) -> None:
    shown = CliRunner().invoke(app, [subject, "--help"], env={"COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb"})
    assert shown.exit_code == 0
    assert all(option in shown.output for option in ("--json", "--corpus", "--captions"))


def test_a_corpus_that_is_too_small_ends_with_a_message(tmp_path: Path) -> None:
    corpus = tmp_path / "few.txt"
    corpus.write_text("Rain falls.\n")
    failed = CliRunner().invoke(app, ["registration", "--corpus", str(corpus)], env={"COLUMNS": "200"})
    assert failed.exit_code == 2
    assert "holds 1 captions" in failed.output
