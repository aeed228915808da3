"""Training runs on a tiny language model: losses, checkpoints and the bundle."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from models.bundle.config import read_config
from models.bundle.load import load_source, merge_adapter
from models.llm.projector import Projector
from tests.fakes import FakeClap
from tests.training_parts import OPTIONS, job, losses, run
from training.bundle_writer import OutputExists
from training.checkpoint import CheckpointError
from training.options import TrainOptions
from training.progress import RunLog, read_log
from training.validation import HeardClip

pytestmark = pytest.mark.slow


def test_the_loss_falls_and_the_bundle_loads_strictly(base: Path, tmp_path: Path) -> None:
    options = TrainOptions(steps=60, batch=4, every=30, warmup=5, fresh=True, rank=8, hidden=32, rate=1e-2)
    trained = run(job(base, tmp_path, options))
    course = [loss for _, loss in losses(tmp_path)]
    assert np.mean(course[-5:]) < 0.8 * np.mean(course[:5])
    config = read_config(tmp_path / "bundle")
    assert config.name == "mine"
    assert config.licences["captions of tiny (projector and adapter)"] == "CC0"
    llm = load_source(config.llm, tmp_path)
    before = llm.model.model.layers[0].self_attn.q_proj.weight.clone()
    merge_adapter(llm, tmp_path / "bundle" / "adapter")
    assert not torch.equal(before, llm.model.model.layers[0].self_attn.q_proj.weight)
    assert Projector.load(tmp_path / "bundle" / "projector.safetensors", 64, llm.hidden_size).tokens == 4
    facts = json.loads((tmp_path / "bundle" / "training.json").read_text())
    assert facts["best_loss"] == trained.progressed.best
    assert "| tiny | 80 | 1 | 0 | CC0 |" in (tmp_path / "bundle" / "README.md").read_text()


@pytest.mark.kernels
def test_a_run_that_is_killed_goes_on_to_the_same_losses(base: Path, tmp_path: Path) -> None:
    whole = run(job(base, tmp_path / "whole"))

    class Killed(Exception):
        pass

    def stepped(log: RunLog, step: int, *rest: Any) -> None:
        real(log, step, *rest)
        if step == 6:
            raise Killed

    real = RunLog.stepped
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunLog, "stepped", stepped)
        with pytest.raises(Killed):
            run(job(base, tmp_path / "cut"))
    assert len(losses(tmp_path / "cut")) == 6
    resumed = run(job(base, tmp_path / "cut"))
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    assert resumed.progressed == whole.progressed
    assert all(torch.equal(resumed.weights[name], tensor) for name, tensor in whole.weights.items())


# Prints every step, and waits before the last two until it is killed.
STOPPING_SHORT = """
import sys
from dataclasses import replace
from pathlib import Path
from rich.console import Console
from tests.training_parts import OPTIONS, job, run
from training.progress import RunLog

class Short(Console):
    def print(self, text, *rest, **options):
        print(text, flush=True)
        if text.startswith(f"step {OPTIONS.steps - 2}: validation"):
            sys.stdin.read()

run(job(Path(sys.argv[1]), Path(sys.argv[2]), replace(OPTIONS, every=1)), Short())
"""


def test_a_kill_at_any_moment_leaves_a_run_that_can_go_on(base: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", STOPPING_SHORT, str(base), str(tmp_path)]
    # In its own group, so that nothing outlives the test; it writes a checkpoint after every step.
    with subprocess.Popen(  # noqa: S603
        command, start_new_session=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout is not None
            told = next((line for line in child.stdout if line.startswith("step 5: validation")), None)
        finally:
            os.killpg(child.pid, signal.SIGKILL)
    assert told is not None
    assert 0 < len(losses(tmp_path)) < OPTIONS.steps
    run(job(base, tmp_path, replace(OPTIONS, every=1)))
    run(job(base, tmp_path / "whole", replace(OPTIONS, every=1)))
    assert losses(tmp_path) == losses(tmp_path / "whole")


def test_a_checkpoint_of_other_options_is_refused_and_kept(base: Path, tmp_path: Path) -> None:
    run(job(base, tmp_path))
    with pytest.raises(CheckpointError, match="other options"):
        run(job(base, tmp_path, TrainOptions(steps=12, fresh=True, rank=4, hidden=8, seed=9)))
    assert len(losses(tmp_path)) == OPTIONS.steps


def test_a_folder_that_is_no_trained_bundle_is_not_overwritten(base: Path, tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "diary.txt").write_text("mine")
    with pytest.raises(OutputExists, match="no bundle"):
        run(job(base, tmp_path))
    assert (tmp_path / "bundle" / "diary.txt").read_text() == "mine"


def test_training_stops_when_recordings_are_no_longer_captioned_better(base: Path, tmp_path: Path) -> None:
    clap = FakeClap()
    clips = [HeardClip(clap.embed_text(["A dog barks"])[0], ("zzzz qqqq.", "xxxx jjjj."))]
    options = TrainOptions(steps=400, batch=2, every=2, patience=3, fresh=True, rank=4, hidden=8, rate=3e-2)
    trained = run(job(base, tmp_path, options, clips=clips))
    rows = [row for row in read_log(tmp_path / "work" / "log.jsonl") if "validation" in row]
    assert trained.early
    assert trained.progressed.step < 400
    assert list(rows[0]["validation"]) == ["audio", "text"]
    best = min(rows, key=lambda row: row["validation"]["audio"])
    assert (best["step"], best["validation"]["audio"]) == (trained.progressed.best_step, trained.progressed.best)
    assert trained.progressed.step == best["step"] + 3 * options.every


def test_training_goes_on_from_the_weights_of_a_bundle(base: Path, tmp_path: Path) -> None:
    run(job(base, tmp_path / "one"))
    first = tmp_path / "one" / "bundle"
    options = TrainOptions(steps=1, batch=2, every=1, warmup=0, rank=4, rate=1e-12)
    run(job(first, tmp_path / "two", options))
    for name in ("projector.safetensors", "adapter/adapter_model.safetensors"):
        old, new = load_file(first / name), load_file(tmp_path / "two" / "bundle" / name)
        assert all(torch.allclose(old[key], new[key], atol=1e-3) for key in old)
    with pytest.raises(ValueError, match="rank 8"):
        run(job(first, tmp_path / "three", TrainOptions(steps=1, rank=8)))
