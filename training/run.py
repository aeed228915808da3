"""A training run from corpora to bundle."""

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from peft.utils import set_peft_model_state_dict
from rich.console import Console
from rich.progress import Progress
from safetensors.torch import load_file

from models.bundle.config import ADAPTER, PROJECTOR, BundleConfig, read_config
from models.bundle.load import load_source, prompt_template
from models.clap.base import Clap
from models.llm.language_model import Llm
from models.llm.projector import Projector
from training.batches import Batch, BatchSource, CaptionLoss
from training.bundle_writer import check_output, write_bundle
from training.card import model_card
from training.checkpoint import Checkpoints
from training.corpora import Corpus, FloatArray, embed_corpus, hold_out
from training.examples import ExampleOptions, ExampleSource
from training.options import TrainOptions
from training.progress import RunLog, plot_losses
from training.similarity import SelectionRange, choose_range
from training.trainer import Trained, Trainer
from training.validation import HeardClip, audio_validation, text_validation

logger = logging.getLogger(__name__)

_LORA = ("q_proj", "v_proj")
_HALF_LORA = ("o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Job:
    """What is trained, from what, to where.

    Attributes:
        base: folder of the bundle whose CLAP, LLM, prompt and settings are kept, and whose weights it begins with.
        corpora: captions to train on.
        out: folder of the new bundle.
        work: folder for embeddings, checkpoints and the log; a run that was killed goes on from there.
        name: of the new bundle.
        licence: of the captions, for the card.
        examples: how examples are drawn; None for `selection` chooses the range.
        selection: similarity range.
        clips: recordings to validate with.
    """

    base: Path
    corpora: Sequence[Corpus]
    out: Path
    work: Path
    name: str
    licence: str
    options: TrainOptions
    examples: Callable[[SelectionRange], ExampleOptions] = ExampleOptions
    selection: SelectionRange | None = None
    clips: Sequence[HeardClip] = field(default=())


def train(job: Job, clap: Clap, console: Console, accelerator: Any) -> Trained:
    """Run a job to its bundle.

    Args:
        clap: the bundle's, loaded.
        accelerator: accelerate's; in several processes each calls this.

    Raises:
        OutputExists, CheckpointError: nothing was touched.
        ValueError: the corpora are too small, or the bundle's weights do not fit the options.
    """
    check_output(job.out)
    options, config = job.options, read_config(job.base)
    kept, held = hold_out(job.corpora, options.held_out, options.seed)
    # One process embeds, the others then read what it kept.
    with accelerator.main_process_first():
        vectors = _embedded([*kept, *held], clap, job.work, console)
    vectors, held_vectors = vectors[: len(kept)], vectors[len(kept) :]
    selection = job.selection or choose_range(vectors, options.seed)
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
            llm, template, job.clips, kept, vectors, temperature, config.retrieval.k, tokens
        )
    if held:
        steady = replace(examples, drop=0.0, restyle=0.0)
        validations["text"] = text_validation(llm, template, held, held_vectors, steady, tokens, options.seed + 1)
    if not validations:
        raise ValueError("there is nothing to validate with: a corpus of at least 8 captions is needed, or clips")
    source = ExampleSource(kept, vectors, examples, accelerator.device)
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
            console.print("no plot of the losses: matplotlib is not installed (pip install 'drcap[train]')")
    return trained


def caption_loss(llm: Llm, base: Path, embedding_dim: int, options: TrainOptions) -> CaptionLoss:
    """The LLM with a LoRA and a projector to train: the bundle's, or fresh ones.

    Layers that the bundle's LoRA does not adapt begin with one that changes nothing.

    Raises:
        ValueError: the bundle's LoRA has another rank, its projector does not fit, or the loss is not that of its LLM.
    """
    # The loss needs the layers apart from the output layer, and attention that takes any mask.
    apart = hasattr(llm.model, "model") and hasattr(llm.model, "lm_head")
    if not apart or llm.model.config._attn_implementation != "sdpa":
        raise ValueError(
            f"{type(llm.model).__name__} cannot be trained here; Llama, Mistral and Qwen and their like can"
        )
    torch.manual_seed(options.seed)
    half = max(1, options.rank // 2)
    lora = LoraConfig(
        r=options.rank,
        lora_alpha=2 * options.rank,
        lora_dropout=options.dropout,
        target_modules=[*_LORA, *_HALF_LORA],
        rank_pattern=dict.fromkeys(_HALF_LORA, half),
        alpha_pattern=dict.fromkeys(_HALF_LORA, 2 * half),
        task_type="CAUSAL_LM",
    )
    scale = float(llm.model.get_input_embeddings().weight.detach().float().std())
    model: Any = get_peft_model(llm.model, lora)
    if options.fresh:
        projector = Projector(embedding_dim, options.hidden, llm.hidden_size, options.audio_tokens)
        # Unit vectors in, vectors of the size of token embeddings out: the frozen LLM expects nothing else.
        torch.nn.init.normal_(projector.linear1.weight, std=1.0)
        torch.nn.init.normal_(projector.linear2.weight, std=scale / (options.hidden / 2) ** 0.5)
    else:
        projector = Projector.load(base / PROJECTOR, embedding_dim, llm.hidden_size)
        try:
            found: Any = set_peft_model_state_dict(model, load_file(base / ADAPTER / "adapter_model.safetensors"))
        except RuntimeError as error:
            raise ValueError(f"the LoRA of {base} does not have rank {options.rank}: {error}") from error
        if found.unexpected_keys:
            raise ValueError(f"the LoRA of {base} adapts layers that training does not: {found.unexpected_keys[0]}")
    return CaptionLoss(model, projector)


def _embedded(corpora: Sequence[Corpus], clap: Clap, work: Path, console: Console) -> list[FloatArray]:
    total = sum(len(corpus.captions) for corpus in corpora)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("embedding captions", total=total)
        return [embed_corpus(corpus, clap, work, lambda n: bar.advance(task, n)) for corpus in corpora]


def _run_name(job: Job, selection: SelectionRange, fingerprint: str, processes: int) -> str:
    """Names everything the losses depend on, so that no checkpoint goes on with something else."""
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
    config: BundleConfig = read_config(job.base)
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
