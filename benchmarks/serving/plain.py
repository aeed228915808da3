"""The same models, called as one would without this project: float32, transformers' `generate`, numpy retrieval."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import torch

from models.bundle.config import ADAPTER, EMBEDDED, PROJECTOR, bundle_folder, read_config
from models.bundle.load import load_source, merge_adapter, prompt_template
from models.clap.embedded import EmbeddedClap
from models.llm.projector import Projector
from models.prompt import Prompt, encode_prompt
from models.vectors import FloatArray, mean_direction


class PlainCaptioner:
    """Captions recordings in padded batches."""

    def __init__(self, captions: Sequence[str], vectors: FloatArray) -> None:
        """Args:
        captions: of the domain.
        vectors: their embeddings [n, d].
        """
        folder = bundle_folder(EMBEDDED)
        self._config = read_config(folder)
        self._captions, self._vectors = captions, vectors
        # `exact` omits the faster forms of its networks that the service runs.
        self._clap = EmbeddedClap.load(folder / self._config.clap.source, torch.device("cpu"), exact=True)
        self._llm = load_source(self._config.llm, folder)
        merge_adapter(self._llm, folder / ADAPTER)
        self._projector = Projector.load(folder / PROJECTOR, self._clap.embedding_dim, self._llm.hidden_size)

    def hear(self, recording: bytes) -> Prompt:
        """Decode and embed a recording, project it on all captions of the domain, and find the nearest captions."""
        samples, rate = soundfile.read(io.BytesIO(recording), dtype="float32", always_2d=True)
        mono = soxr.resample(samples.mean(axis=1), rate, self._clap.sample_rate)
        longest = int(self._clap.window_seconds * self._clap.sample_rate)
        windows = np.array_split(mono, max(1, -(-len(mono) // longest)))
        heard = mean_direction(self._clap.embed_audio(windows))
        scores = self._vectors @ heard
        weights = np.exp((scores - scores.max()) / (self._config.projection.temperature or self._clap.temperature))
        projected = weights @ self._vectors
        nearest = np.argsort(-scores)[: self._config.retrieval.k]
        return Prompt(projected / np.linalg.norm(projected), tuple(self._captions[row] for row in nearest))

    @torch.inference_mode()
    def write(self, prompts: Sequence[Prompt]) -> list[str]:
        """Write a caption for each prompt with the beam search of transformers and the bundle's settings."""
        rows = [self._embedded(prompt) for prompt in prompts]
        length = max(len(row) for row in rows)
        embeds = torch.zeros(len(rows), length, self._llm.hidden_size)
        mask = torch.zeros(len(rows), length, dtype=torch.long)
        for number, row in enumerate(rows):
            embeds[number, length - len(row) :] = row
            mask[number, length - len(row) :] = 1
        generation = self._config.generation
        tokens = self._llm.model.generate(
            inputs_embeds=embeds,
            attention_mask=mask,
            num_beams=generation.num_beams,
            max_new_tokens=generation.max_new_tokens,
            no_repeat_ngram_size=3,
            do_sample=False,
            eos_token_id=[self._llm.end_token, *self._llm.tokenize("\n")[-1:]],
            pad_token_id=self._llm.end_token,
        )
        texts: list[str] = self._llm.tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return [text.strip() for text in texts]

    def _embedded(self, prompt: Prompt) -> torch.Tensor:
        before, after = encode_prompt(self._llm, prompt_template(self._config.prompt, self._llm), prompt)
        table: Any = self._llm.model.get_input_embeddings()
        audio = self._projector(torch.as_tensor(prompt.vector).float()[None])[0]
        return torch.cat([table(torch.tensor(before)), audio, table(torch.tensor(after))])


def load_domain(path: Path) -> tuple[list[str], FloatArray]:
    """Read captions and their embeddings [n, d] from a file of `save_domain`."""
    with np.load(path, allow_pickle=False) as domain:
        return [str(caption) for caption in domain["captions"]], domain["vectors"]


def save_domain(path: Path, captions: Sequence[str], vectors: FloatArray) -> None:
    """Write a domain for the servers without a datastore."""
    np.savez(path, captions=np.array(captions), vectors=vectors)
