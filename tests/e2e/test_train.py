"""Training from the real embedded bundle."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from models.bundle.load import load_bundle
from models.decoder import GenerationOptions
from models.prompt import Prompt

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.embedded


def test_the_embedded_bundle_is_trained_further_and_captions(tmp_path: Path) -> None:
    corpus = ROOT / "examples" / "domains" / "field-notes.txt"
    options = ["--out", str(tmp_path / "new"), "--steps", "2", "--every", "2", "--batch", "1", "--targets", "2"]
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", "from cli.app import main; main()", "train", str(corpus), *options],
        cwd=ROOT,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    bundle = load_bundle(str(tmp_path / "new"))
    prompt = Prompt(bundle.clap.embed_text(["Rain falls on a roof."])[0], ("Rain drips from leaves.",))
    (written,) = bundle.decoder.generate([prompt], GenerationOptions(max_new_tokens=12))
    assert len(written.text.split()) > 2
