"""Checks that an LLM can run in batches: tries a few tokens when it is loaded, whatever its architecture.

Not every causal model of transformers keeps its past as keys and values, or uses the positions and masks it is given.
Captions of such a model would silently depend on the other captions of the batch.
"""

from typing import Any

import torch
from torch import Tensor

from models.llm.decoder import Begin
from models.llm.language_model import Llm
from models.weights import WrongWeights

_SHORT, _LONG = 3, 7
# Allowed mean difference of two runs, divided by the spread of their scores: the rounding of each type, with a margin.
_SAME = {torch.float32: 1e-3}
_SAME_IN_HALF = 0.05
# Allowed difference of a quantised LLM from itself before. A broken one gives unrelated scores.
_ALIKE = 0.5
# Allowed difference of a quantised LLM that reads token by token from itself that reads all at once: if one number is
# rounded to the next level, all later numbers are rounded differently. Differences of 0.3 to 0.5 were seen.
_ROUNDED_DIFFERENTLY = 0.9


class LlmCheck:
    """Records an LLM's scores before it is set up, and compares its batches with them afterwards."""

    @torch.inference_mode()
    def __init__(self, llm: Llm, dtype_setting: str = "dtype") -> None:
        """Args: llm: before it is set up. dtype_setting: what messages call the setting of its type."""
        self._dtype_setting = dtype_setting
        self._name = type(llm.model).__name__
        self._table: Any = llm.model.get_input_embeddings()
        size = min(len(llm.tokenizer), self._table.weight.shape[0])
        # Any tokens would do; these lie far apart.
        self._ids = [(7 + 7919 * at) % size for at in range(_LONG + 1)]
        self._same = _SAME.get(self._table.weight.dtype, _SAME_IN_HALF)
        self._before = self._alone(llm.model)

    @torch.inference_mode()
    def __call__(self, begin: Begin, quantised: bool = False) -> None:
        """Raise `WrongWeights` if batches that `begin` starts are wrong; the message says why."""
        try:
            self._compare(begin, _ROUNDED_DIFFERENTLY if quantised else self._same)
        except (WrongWeights, torch.OutOfMemoryError):
            raise
        except (TypeError, AttributeError, RuntimeError, ValueError, IndexError) as error:
            raise WrongWeights(f"{self._name} cannot run in batches here: {error}") from error

    def _compare(self, begin: Begin, kept: float) -> None:
        none = torch.tensor([], dtype=torch.long)
        short, long, *_ = self._prompts()
        batch = begin([short, long], none)
        together = batch.start()
        self._expect(
            together[:1], begin([short], none).start(), self._same, "a prompt's answer changes beside a longer one"
        )
        self._expect(together[:1], self._before, _ALIKE, "its scores differ from those before it was set up")
        token = torch.tensor(self._ids[-1:])
        following = batch.step(torch.tensor([0, 1]), token.repeat(2))
        longer = torch.cat([short, self._table(token.to(self._table.weight.device))])
        self._expect(following[:1], begin([longer], none).start(), kept, "it does not keep all it needs of a prompt")

    def _expect(self, found: Tensor, wanted: Tensor, tolerance: float, otherwise: str) -> None:
        found, wanted = found.cpu(), wanted.cpu()
        if not (found.isfinite().all() and wanted.isfinite().all()):
            raise WrongWeights(
                f"{self._name} gives scores that are not finite: its numbers overflow "
                f"({self._dtype_setting}=float32 helps)"
            )
        off = float((found - wanted).abs().mean() / wanted.std().clamp(min=1e-6))
        if off > tolerance:
            raise WrongWeights(
                f"{self._name} cannot run in batches here: {otherwise} (by {off:.2g}, {tolerance} is allowed)"
            )

    def _prompts(self) -> tuple[Tensor, Tensor]:
        ids = torch.tensor(self._ids, device=self._table.weight.device)
        return self._table(ids[:_SHORT]), self._table(ids[:_LONG])

    def _alone(self, model: Any) -> Tensor:
        """Return the model's own log-probabilities after the short prompt [1, vocabulary]."""
        try:
            logits = model(inputs_embeds=self._prompts()[0][None], use_cache=False).logits[:, -1]
        except (TypeError, AttributeError, ValueError) as error:
            raise WrongWeights(f"{self._name} takes no embeddings as input: {error}") from error
        scores: Tensor = torch.log_softmax(logits.float(), dim=-1)
        return scores
