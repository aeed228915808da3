"""Runs a training from corpora to bundle."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

from models.bundle.config import PROJECTOR, read_config
from models.bundle.load import load_source, prompt_template
from models.clap.base import Clap
from models.clap.sounds import Sounds
from training.batches import Batch, BatchSource
from training.bundle_writer import check_output, write_bundle
from training.card import model_card
from training.checkpoint import Checkpoints
from training.corpora import EmbeddedCorpus, TrainingCorpus, embed_corpus, hold_out
from training.examples import ExampleOptions, ExampleSource
from training.loss import CaptionLoss, caption_loss
from training.options import TrainOptions
from training.progress import RunLog, plot_losses
from training.similarity import SelectionRange, choose_range
from training.trainer import Trained, Trainer
from training.validation import HeardClip, audio_validation, text_validation


@dataclass(frozen=True)
class Job:
    """A training to run.

    Attributes:
        base: folder of the bundle to begin with; its CLAP, LLM, prompt and settings are kept.
        corpora: captions to train on.
        out: folder of the new bundle.
        work: folder for embeddings, checkpoints and the log; a killed run continues from there.
        name: of the new bundle.
        licence: of the captions, for the model card.
        options: how the decoder is trained.
        examples: makes the options of the examples from the similarity range.
        selection: similarity range; None chooses it from the corpora.
        clips: recordings to validate with.
    """

    base: Path
    corpora: Sequence[TrainingCorpus]
    out: Path
    work: Path
    name: str
    licence: str
    options: TrainOptions
    examples: Callable[[SelectionRange], ExampleOptions] = ExampleOptions
    selection: SelectionRange | None = None
    clips: Sequence[HeardClip] = field(default=())


def train(job: Job, clap: Clap, console: Console, accelerator: Any) -> Trained:
    """Run a job and write its bundle.

    Args:
        clap: of the base bundle, loaded.
        console: shows progress.
        accelerator: accelerate's; each of several processes calls this function.

    Raises:
        OutputExists, CheckpointError: before anything is changed.
        ValueError: the corpora are too small, or the bundle's weights do not fit the options.
        FloatingPointError: the loss is not finite.
    """
    check_output(job.out)
    options, config = job.options, read_config(job.base)
    kept, held = hold_out(job.corpora, options.held_out, options.seed)
    # One process embeds; the others then read its cache.
    with accelerator.main_process_first():
        embedded = _embedded([*kept, *held], clap, job.work, console)
    sounds = Sounds.read_by(clap)
    taught, checked = embedded[: len(kept)], embedded[len(kept) :]
    selection = job.selection or choose_range([one.vectors for one in taught], options.seed)
    chosen = "as asked" if job.selection else "chosen from the corpora"
    console.print(f"similar captions have similarity {selection.low:.3f} to {selection.high:.3f} ({chosen})")
    examples = job.examples(selection)
    llm = load_source(config.llm, job.base)
    loss = caption_loss(llm, job.base, clap.embedding_dim, options)
    template = prompt_template(config.prompt, llm)
    tokens = loss.projector.tokens
    validations: dict[str, list[Batch]] = {}
    if job.clips:
        temperature = config.projection.temperature or clap.temperature
        validations["audio"] = audio_validation(
            llm, template, job.clips, taught, temperature, config.retrieval.k, tokens
        )
    if checked:
        steady = replace(examples, drop=0.0, restyle=0.0)
        validations["text"] = text_validation(llm, template, checked, sounds, steady, tokens, options.seed + 1)
    if not validations:
        raise ValueError("there is nothing to validate with: pass a corpus of at least 8 captions, or clips")
    source = ExampleSource(taught, sounds, examples, accelerator.device)
    batches = BatchSource(llm, template, source, options.batch, tokens, options.seed)
    checkpoints = Checkpoints(job.work, _run_name(job, selection, clap.fingerprint, accelerator.num_processes))
    log = job.work / "log.jsonl"
    with RunLog(log, options.steps, console) as watcher:
        trained = Trainer(loss, batches, validations, options, checkpoints, watcher, accelerator).run()
    if accelerator.is_main_process:
        _restore(loss, trained)
        facts = _facts(job, selection, trained, clap.fingerprint)
        write_bundle(job.out, job.base, job.name, loss, config.llm.revision, facts, model_card(job.name, facts))
        try:
            plot_losses(log, job.out / "loss.png")
        except ImportError:
            console.print("no plot of the losses: matplotlib is missing (pip install 'drcap[train]')")
    return trained


def _embedded(corpora: Sequence[TrainingCorpus], clap: Clap, work: Path, console: Console) -> list[EmbeddedCorpus]:
    total = sum(len(corpus.captions) for corpus in corpora)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("embedding captions", total=total)
        return [embed_corpus(corpus, clap, work, lambda n: bar.advance(task, n)) for corpus in corpora]


def _run_name(job: Job, selection: SelectionRange, fingerprint: str, processes: int) -> str:
    """Return a digest of everything the losses depend on, so that a checkpoint continues only its own run."""
    said = {
        "options": job.options.as_dict(),
        "examples": asdict(job.examples(selection)),
        "corpora": [(corpus.digest(), corpus.weight) for corpus in job.corpora],
        "clips": [(clip.references, clip.vector.tobytes().hex()) for clip in job.clips],
        "clap": fingerprint,
        "base": "fresh" if job.options.fresh else _digest(job.base / PROJECTOR),
        "bundle": read_config(job.base).model_dump(mode="json"),
        "processes": processes,
    }
    return hashlib.blake2b(json.dumps(said, sort_keys=True).encode(), digest_size=12).hexdigest()


def _digest(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=12).hexdigest()


def _restore(loss: CaptionLoss, trained: Trained) -> None:
    with torch.no_grad():
        for name, parameter in loss.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(trained.weights[name])


def _facts(job: Job, selection: SelectionRange, trained: Trained, fingerprint: str) -> dict[str, Any]:
    config = read_config(job.base)
    return {
        "base": config.name,
        "clap": fingerprint,
        "llm": config.llm.revision,
        "options": job.options.as_dict(),
        "examples": asdict(job.examples(selection)),
        "range_chosen": job.selection is None,
        "corpora": [
            {
                "name": corpus.name,
                "captions": len(corpus.captions),
                "cut_by_the_clap": corpus.cut,
                "weight": corpus.weight,
                "digest": corpus.digest(),
                "licence": job.licence,
            }
            for corpus in job.corpora
        ],
        "validated_with": f"{len(job.clips)} recordings" if job.clips else "captions held out",
        "steps": trained.progressed.step,
        "best_step": trained.progressed.best_step,
        "best_loss": trained.progressed.best,
        "stopped_early": trained.early,
    }
