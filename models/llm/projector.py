"""The projector turns an embedding into the LLM's audio token(s)."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

LAYERS = ("linear1.weight", "linear1.bias", "linear2.weight", "linear2.bias")


class Projector(nn.Module):
    """Linear - ReLU - Linear from the CLAP's d to `tokens` x the LLM's hidden size. DRCap has one token."""

    def __init__(self, embedding_dim: int, hidden: int, llm_dim: int, tokens: int) -> None:
        super().__init__()
        self.embedding_dim = embedding_dim
        self.llm_dim = llm_dim
        self.tokens = tokens
        self.linear1 = nn.Linear(embedding_dim, hidden)
        self.linear2 = nn.Linear(hidden, tokens * llm_dim)

    def forward(self, vectors: Tensor) -> Tensor:
        """Project [n, d] -> [n, tokens, llm_dim]."""
        out: Tensor = self.linear2(torch.relu(self.linear1(vectors)))
        return out.view(-1, self.tokens, self.llm_dim)

    @classmethod
    def load(cls, path: Path, embedding_dim: int, llm_dim: int) -> "Projector":
        """Read ``projector.safetensors``. Its sizes must fit the CLAP and the LLM; raises as `check_shapes` does."""
        weights = load_file(path)
        _, hidden, outputs = check_shapes(weights, path, embedding_dim, llm_dim)
        projector = cls(embedding_dim, hidden, llm_dim, outputs // llm_dim)
        projector.load_state_dict({name: tensor.float() for name, tensor in weights.items()}, strict=True)
        return projector.eval()


def check_shapes(
    weights: Mapping[str, Tensor], path: Path, embedding_dim: int | None, llm_dim: int | None
) -> tuple[int, int, int]:
    """Return the sizes of a projector: inputs, hidden, outputs.

    Args:
        weights: its tensors; shapes suffice.
        path: the file, for messages.
        embedding_dim: d of the CLAP, if it is known.
        llm_dim: hidden size of the LLM, if it is known.

    Raises:
        ValueError: a tensor is missing, unknown, or of another shape; the message names it.
    """
    if set(weights) != set(LAYERS):
        raise ValueError(f"{path} holds {', '.join(sorted(weights))}, a projector has {', '.join(LAYERS)}")
    for name in ("linear1.weight", "linear2.weight"):
        if weights[name].dim() != 2:
            raise ValueError(f"{path}: {name} is {list(weights[name].shape)}, not a matrix")
    hidden, inputs = weights["linear1.weight"].shape
    outputs, columns = weights["linear2.weight"].shape
    if embedding_dim is not None and inputs != embedding_dim:
        raise ValueError(f"{path}: linear1 takes {inputs} numbers, the CLAP gives {embedding_dim}")
    if columns != hidden or weights["linear1.bias"].shape != (hidden,) or weights["linear2.bias"].shape != (outputs,):
        found = ", ".join(f"{name} {list(weights[name].shape)}" for name in LAYERS)
        raise ValueError(f"{path}: its layers do not fit each other: {found}")
    if llm_dim is not None and (outputs == 0 or outputs % llm_dim):
        raise ValueError(f"{path}: linear2 gives {outputs} numbers, which is not a multiple of the LLM's {llm_dim}")
    return inputs, hidden, outputs
