"""A whole training run on a tiny language model: losses, checkpoints, the bundle it leaves."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from models.bundle.config import read_config
from models.bundle.load import load_source, merge_adapter
from models.llm.projector import Projector
from tests.fakes import FakeClap
from tests.tiny_bundle import tiny_captions, write_tiny_bundle
from training.bundle_writer import OutputExists
from training.checkpoint import CheckpointError
from training.corpora import Corpus
from training.device import make_accelerator
from training.options import TrainOptions
from training.progress import RunLog, read_log
from training.run import Job, train
from training.trainer import Trained
from training.validation import HeardClip

QUIET = Console(quiet=True)
OPTIONS = TrainOptions(steps=12, batch=2, every=4, warmup=2, fresh=True, rank=4, hidden=8, dropout=0.1, rate=5e-3)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("tiny"))


def job(base: Path, folder: Path, options: TrainOptions = OPTIONS, **changes: Any) -> Job:
    corpus = Corpus("tiny", tuple(tiny_captions(80)))
    fields: dict[str, Any] = {
        "base": base,
        "corpora": [corpus],
        "out": folder / "bundle",
        "work": folder / "work",
        "name": "mine",
        "licence": "CC0",
        "options": options,
    }
    return Job(**(fields | changes))


def run(job: Job) -> Trained:
    return train(job, FakeClap(), QUIET, make_accelerator(job.options, "cpu", QUIET))


def losses(folder: Path) -> list[tuple[int, float]]:
    return [(row["step"], row["loss"]) for row in read_log(folder / "work" / "log.jsonl") if "loss" in row]


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


def test_a_kill_at_any_moment_leaves_a_run_that_can_go_on(base: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from dataclasses import replace;"
        "import tests.unit.training.test_run as t;"
        "t.run(t.job(Path(sys.argv[1]), Path(sys.argv[2]), replace(t.OPTIONS, every=1)))"
    )
    log = tmp_path / "work" / "log.jsonl"
    command = [sys.executable, "-c", program, str(base), str(tmp_path)]
    # Its own group, so that nothing outlives the test; killed while it writes a checkpoint after every step.
    child = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)  # noqa: S603
    try:
        deadline = time.monotonic() + 120
        while len(read_log(log)) < 5 and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
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


@pytest.mark.kernels
def test_two_batches_accumulated_are_as_good_as_one_of_both(base: Path, tmp_path: Path) -> None:
    from training.checkpoint import Checkpoints
    from training.trainer import Trainer

    class Silent:
        def __getattr__(self, name: str) -> Any:
            return lambda *_: None

    ends = []
    for batch, accumulate in ((2, 1), (1, 2)):
        options = TrainOptions(steps=2, batch=batch, accumulate=accumulate, every=2, fresh=True, rank=4, hidden=8)
        loss, source, check = parts(base, options)
        accelerator = make_accelerator(options, "cpu", QUIET)
        checkpoints = Checkpoints(tmp_path / str(batch), "one")
        ends.append(Trainer(loss, source, {"text": [check]}, options, checkpoints, Silent(), accelerator).run().weights)
    for name, tensor in ends[0].items():
        torch.testing.assert_close(tensor, ends[1][name], atol=1e-6, rtol=1e-4)


@pytest.mark.kernels
def test_two_processes_train_as_one_that_accumulates(base: Path, tmp_path: Path) -> None:
    options = replace(OPTIONS, steps=4, dropout=0.0)
    program = tmp_path / "program.py"
    program.write_text(
        "import sys; from pathlib import Path; from training.options import TrainOptions\n"
        "import tests.unit.training.test_run as t\n"
        f"t.run(t.job(Path(sys.argv[1]), Path(sys.argv[2]), {options!r}))\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = os.environ | {"PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"}
    arguments = [str(program), str(base), str(tmp_path / "two")]
    subprocess.run([*command, *arguments], env=environment, timeout=180, check=True, capture_output=True)  # noqa: S603
    run(job(base, tmp_path / "one", replace(options, accumulate=2)))
    two, one = losses(tmp_path / "two"), losses(tmp_path / "one")
    assert [step for step, _ in two] == [1, 2, 3, 4]
    np.testing.assert_allclose([loss for _, loss in two], [loss for _, loss in one], rtol=1e-4)


def parts(base: Path, options: TrainOptions) -> tuple[Any, list[Any], Any]:
    """A loss and batches of the same examples, `options.batch` in each."""
    from models.prompt import PromptTemplate
    from training.batches import collate
    from training.examples import Example
    from training.run import caption_loss

    llm = load_source(read_config(base).llm, base)
    clap, captions = FakeClap(), tiny_captions(8)
    vectors = clap.embed_text(captions)
    examples = [Example(v, (captions[-1],), (c,)) for v, c in zip(vectors[:4], captions, strict=False)]
    template = PromptTemplate("{similar}\n{audio}:", "- {caption}", "\n", "-")
    batches = [
        collate(llm, template, examples[i : i + options.batch], 4) for i in range(0, len(examples), options.batch)
    ]
    return caption_loss(llm, base, clap.embedding_dim, options), batches, batches[0]
