"""Whether an LLM can be run in batches at all: tried on a few tokens when it is loaded, whatever its architecture.

Not every causal model of transformers keeps its past as keys and values, or takes the positions and masks it is given.
One that does not would write captions that depend on their batch mates, and nobody would notice.
"""

from typing import Any

import torch
from torch import Tensor

from models.llm.decoder import Begin
from models.llm.language_model import Llm
from models.weights import WrongWeights

_SHORT, _LONG = 3, 7
# Mean difference of two runs over the spread of their scores: the rounding of each type, with room to spare.
_SAME = {torch.float32: 1e-3}
_SAME_IN_HALF = 0.05
# Of a quantised LLM from itself before; one that is broken gives scores of its own.
_ALIKE = 0.5
# Of a quantised LLM that reads token by token from itself reading all at once: where one number is rounded to the level
# beside, all that follows is rounded anew. What was seen is 0.3 to 0.5.
_ROUNDED_ANEW = 0.9


class LlmCheck:
    """Made of an LLM before it is quantised or its layers taken out, and asked once that is done."""

    @torch.inference_mode()
    def __init__(self, llm: Llm) -> None:
        self._name = type(llm.model).__name__
        self._table: Any = llm.model.get_input_embeddings()
        size = min(len(llm.tokenizer), self._table.weight.shape[0])
        # Any tokens do; these lie far apart.
        self._ids = [(7 + 7919 * at) % size for at in range(_LONG + 1)]
        self._same = _SAME.get(self._table.weight.dtype, _SAME_IN_HALF)
        self._before = self._alone(llm.model)

    @torch.inference_mode()
    def __call__(self, begin: Begin, quantised: bool = False) -> None:
        """Raises `WrongWeights` if batches that `begin` this way are not to be trusted; the message says why."""
        try:
            self._compare(begin, _ROUNDED_ANEW if quantised else self._same)
        except (WrongWeights, torch.OutOfMemoryError):
            raise
        except (TypeError, AttributeError, RuntimeError, ValueError, IndexError) as error:
            raise WrongWeights(f"{self._name} cannot be run in batches here: {error}") from error

    def _compare(self, begin: Begin, kept: float) -> None:
        none = torch.tensor([], dtype=torch.long)
        short, long, *_ = self._prompts()
        batch = begin([short, long], none)
        together = batch.start()
        self._expect(
            together[:1], begin([short], none).start(), self._same, "a prompt's answer changes beside a longer"
        )
        self._expect(together[:1], self._before, _ALIKE, "what it writes is not what it wrote before it was set up")
        token = torch.tensor(self._ids[-1:])
        following = batch.step(torch.tensor([0, 1]), token.repeat(2))
        longer = torch.cat([short, self._table(token.to(self._table.weight.device))])
        self._expect(
            following[:1], begin([longer], none).start(), kept, "what it keeps of a prompt is not all it needs"
        )

    def _expect(self, found: Tensor, wanted: Tensor, tolerance: float, otherwise: str) -> None:
        found, wanted = found.cpu(), wanted.cpu()
        if not (found.isfinite().all() and wanted.isfinite().all()):
            raise WrongWeights(
                f"{self._name} gives scores that are not finite: its numbers overflow (DRCAP_LLM__DTYPE=float32 helps)"
            )
        off = float((found - wanted).abs().mean() / wanted.std().clamp(min=1e-6))
        if off > tolerance:
            raise WrongWeights(
                f"{self._name} cannot be run in batches here: {otherwise} (by {off:.2g}, {tolerance} is allowed)"
            )

    def _prompts(self) -> tuple[Tensor, Tensor]:
        ids = torch.tensor(self._ids, device=self._table.weight.device)
        return self._table(ids[:_SHORT]), self._table(ids[:_LONG])

    def _alone(self, model: Any) -> Tensor:
        """Log-probabilities after the short prompt, as the model itself has them [1, vocabulary]."""
        try:
            logits = model(inputs_embeds=self._prompts()[0][None], use_cache=False).logits[:, -1]
        except (TypeError, AttributeError, ValueError) as error:
            raise WrongWeights(f"{self._name} takes no embeddings as input: {error}") from error
        scores: Tensor = torch.log_softmax(logits.float(), dim=-1)
        return scores
