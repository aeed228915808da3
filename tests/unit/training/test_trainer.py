import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.bundle.config import read_config
from models.bundle.load import load_source
from tests.fakes import FakeClap
from tests.tiny_bundle import tiny_captions
from tests.training_parts import OPTIONS, QUIET, TEMPLATE, DoubleLoss, example, in_double, job, losses, run
from training.accelerator import make_accelerator
from training.batches import collate
from training.checkpoint import Checkpoints
from training.loss import caption_loss
from training.options import TrainOptions
from training.trainer import Trainer

pytestmark = pytest.mark.slow


class Silent:
    """A watcher that ignores the run."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def parts(base: Path, options: TrainOptions) -> tuple[Any, list[Any], Any]:
    """A loss and batches of the same examples, `options.batch` in each."""
    llm = load_source(read_config(base).llm, base)
    clap, captions = FakeClap(), tiny_captions(8)
    vectors = clap.embed_text(captions)
    examples = [example(v, (captions[-1],), (c,)) for v, c in zip(vectors[:4], captions, strict=False)]
    batches = [
        collate(llm, TEMPLATE, examples[i : i + options.batch], 4) for i in range(0, len(examples), options.batch)
    ]
    return DoubleLoss(caption_loss(llm, base, clap.embedding_dim, options)), batches, batches[0]


@pytest.mark.kernels
def test_two_batches_accumulated_are_as_good_as_one_of_both(base: Path, tmp_path: Path) -> None:
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
        "from tests.training_parts import in_double, job, run\n"
        f"with in_double(): run(job(Path(sys.argv[1]), Path(sys.argv[2]), {options!r}))\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = os.environ | {"PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"}
    arguments = [str(program), str(base), str(tmp_path / "two")]
    subprocess.run([*command, *arguments], env=environment, timeout=180, check=True, capture_output=True)  # noqa: S603
    with in_double():
        run(job(base, tmp_path / "one", replace(options, accumulate=2)))
    two, one = losses(tmp_path / "two"), losses(tmp_path / "one")
    assert [step for step, _ in two] == [1, 2, 3, 4]
    np.testing.assert_allclose([loss for _, loss in two], [loss for _, loss in one], rtol=1e-4)
