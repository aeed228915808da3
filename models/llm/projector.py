"""The projector: one embedding becomes the LLM's audio token(s)."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn


class Projector(nn.Module):
    """Linear - ReLU - Linear from the CLAP's d to `tokens` x the LLM's hidden size (DRCap; one token there)."""

    def __init__(self, embedding_dim: int, hidden: int, llm_dim: int, tokens: int) -> None:
        super().__init__()
        self.embedding_dim = embedding_dim
        self.llm_dim = llm_dim
        self.tokens = tokens
        self.linear1 = nn.Linear(embedding_dim, hidden)
        self.linear2 = nn.Linear(hidden, tokens * llm_dim)

    def forward(self, vectors: Tensor) -> Tensor:
        """[n, d] -> [n, tokens, llm_dim]."""
        out: Tensor = self.linear2(torch.relu(self.linear1(vectors)))
        return out.view(-1, self.tokens, self.llm_dim)

    @classmethod
    def load(cls, path: Path, embedding_dim: int, llm_dim: int) -> "Projector":
        """Read `projector.safetensors`; sizes come from the file and must fit the CLAP and the LLM.

        Raises:
            ValueError: a tensor is missing, unknown, or of another shape; the message names it.
        """
        weights = load_file(path)
        expected = {"linear1.weight", "linear1.bias", "linear2.weight", "linear2.bias"}
        if set(weights) != expected:
            raise ValueError(f"{path} holds {sorted(weights)}, a projector has {sorted(expected)}")
        hidden, columns = weights["linear1.weight"].shape
        rows = weights["linear2.weight"].shape[0]
        if columns != embedding_dim:
            raise ValueError(f"{path}: linear1 takes {columns} numbers, the CLAP gives {embedding_dim}")
        if rows == 0 or rows % llm_dim:
            raise ValueError(f"{path}: linear2 gives {rows} numbers, no multiple of the LLM's {llm_dim}")
        projector = cls(embedding_dim, hidden, llm_dim, rows // llm_dim)
        projector.load_state_dict({name: tensor.float() for name, tensor in weights.items()}, strict=True)
        return projector.eval()
