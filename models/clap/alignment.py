"""The head that brings what two audio towers hear into the space of the text tower.

    heard     = classes' sentences, weighted by YAMNet's posteriors, less their mean over recordings
    effects   = categories' sentences, weighted by the posteriors of aisfx, less theirs
    prior     = normalise(heard + 0.6 effects)
    written   = normalise(prior + network(prior))           how captions speak of what is heard, learnt from captions
    vector    = normalise(written + sum_i k(x, landmark_i) coefficient_i)

with k(x, z) = exp((cos(x, z) - 1) / bandwidth^2) over the features of both towers. Far from all training clips the
kernel vanishes: kinds of sound that were never trained on are heard no worse for the training.
"""

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from models.clap import yamnet
from models.clap.aisfx import FEATURES, HIDDEN
from models.clap.categories import CATEGORIES
from models.weights import WrongWeights

TEXT_DIM = 384
INPUTS = yamnet.FEATURES + FEATURES + HIDDEN
REDUCED = 256
FRAME = yamnet.CLASSES + len(CATEGORIES) + REDUCED
NETWORK = 512

_STRONGEST = 20
_EFFECTS = 0.6
# A frame that YAMNet takes for silence speaks for no sound.
_SILENT = 0.5


class AlignmentHead(nn.Module):
    """Frames of what both towers hear -> unit vectors in the centred text space."""

    # Brings unit vectors of 384 dimensions to numbers of about 0.4, where the network is not linear.
    SPREAD = 8.0

    text_mean: Tensor
    class_vectors: Tensor
    class_weights: Tensor
    class_mean: Tensor
    category_vectors: Tensor
    category_mean: Tensor
    hidden_weight: Tensor
    hidden_bias: Tensor
    output_weight: Tensor
    output_bias: Tensor
    reduction: Tensor
    reduction_bias: Tensor
    landmarks: Tensor
    coefficients: Tensor
    bandwidth: Tensor

    def __init__(self, landmarks: int) -> None:
        super().__init__()
        self.register_buffer("text_mean", torch.zeros(TEXT_DIM))
        self.register_buffer("class_vectors", torch.zeros(yamnet.CLASSES, TEXT_DIM))
        self.register_buffer("class_weights", torch.ones(yamnet.CLASSES))
        self.register_buffer("class_mean", torch.zeros(TEXT_DIM))
        self.register_buffer("category_vectors", torch.zeros(len(CATEGORIES), TEXT_DIM))
        self.register_buffer("category_mean", torch.zeros(TEXT_DIM))
        self.register_buffer("hidden_weight", torch.zeros(NETWORK, TEXT_DIM))
        self.register_buffer("hidden_bias", torch.zeros(NETWORK))
        self.register_buffer("output_weight", torch.zeros(TEXT_DIM, NETWORK))
        self.register_buffer("output_bias", torch.zeros(TEXT_DIM))
        self.register_buffer("reduction", torch.zeros(INPUTS, REDUCED))
        self.register_buffer("reduction_bias", torch.zeros(REDUCED))
        self.register_buffer("landmarks", torch.zeros(landmarks, REDUCED))
        self.register_buffer("coefficients", torch.zeros(landmarks, TEXT_DIM))
        self.register_buffer("bandwidth", torch.ones(()))

    def frames(self, posteriors: Tensor, features: Tensor, categories: Tensor, blocks: Tensor) -> Tensor:
        """What is kept of a window: one row a patch of YAMNet, with what aisfx says of the block around its middle.

        Args:
            posteriors: of YAMNet's classes [frames, CLASSES].
            features: of YAMNet [frames, FEATURES].
            categories: posteriors of the categories [blocks, CATEGORIES].
            blocks: features and hidden layers of aisfx side by side [blocks, FEATURES + HIDDEN].

        Returns:
            [frames, FRAME]: posteriors, categories, reduced inputs.
        """
        reduced = inputs_of(features, blocks) @ self.reduction + self.reduction_bias
        return torch.cat([posteriors, _around(categories, len(posteriors)), reduced], dim=1)

    def heard(self, posteriors: Tensor) -> Tensor:
        """YAMNet's posteriors [frames, CLASSES] -> sentences of the strongest classes [TEXT_DIM], unit norm."""
        # The root of the mean square: between the mean, which forgets a bark, and the largest, which trusts every slip.
        weights = posteriors.square().mean(dim=0).sqrt() * self.class_weights
        weakest = weights.topk(_STRONGEST).values[-1]
        return functional.normalize(torch.where(weights >= weakest, weights, 0.0) @ self.class_vectors, dim=0)

    def effects(self, categories: Tensor) -> Tensor:
        """Posteriors of aisfx [frames, CATEGORIES] -> sentences of the categories [TEXT_DIM], unit norm."""
        return functional.normalize(categories.mean(dim=0) @ self.category_vectors, dim=0)

    def prior(self, frames: Tensor) -> Tensor:
        """Frames [frames, FRAME] -> what both towers say in words [TEXT_DIM], centred, unit norm."""
        posteriors, categories, _ = _split(frames)
        heard = functional.normalize(self.heard(posteriors) - self.class_mean, dim=0)
        effects = functional.normalize(self.effects(categories) - self.category_mean, dim=0)
        return functional.normalize(heard + _EFFECTS * effects, dim=0)

    def network(self, prior: Tensor) -> Tensor:
        """Unit vectors [..., TEXT_DIM] -> unit vectors: where captions of such a prior lie."""
        hidden = functional.gelu(functional.linear(self.SPREAD * prior, self.hidden_weight, self.hidden_bias))
        return functional.normalize(prior + functional.linear(hidden, self.output_weight, self.output_bias), dim=-1)

    def written(self, prior: Tensor) -> Tensor:
        """Unit vectors [..., TEXT_DIM] -> unit vectors halfway to where captions lie."""
        return functional.normalize(prior + self.network(prior), dim=-1)

    def direction(self, frames: Tensor) -> Tensor:
        """Frames [frames, FRAME] -> the unit vector [REDUCED] that the kernel compares."""
        return functional.normalize(_split(frames)[2].mean(dim=0), dim=0)

    def kernel(self, directions: Tensor, landmarks: Tensor) -> Tensor:
        """Unit vectors [n, REDUCED] and [m, REDUCED] -> similarities [n, m] in 0 to 1."""
        return torch.exp((directions @ landmarks.T - 1.0) / self.bandwidth.square())

    def forward(self, frames: Tensor) -> Tensor:
        """Frames of one stretch [frames, FRAME] -> unit vector [TEXT_DIM]."""
        frames = frames[sounding(frames)]
        written = self.written(self.prior(frames))
        residual = self.kernel(self.direction(frames)[None], self.landmarks)[0] @ self.coefficients
        return functional.normalize(written + residual, dim=0)

    def centre_text(self, vectors: Tensor) -> Tensor:
        """Vectors of the text tower [n, TEXT_DIM] -> centred unit vectors [n, TEXT_DIM]."""
        return functional.normalize(vectors - self.text_mean, dim=-1)

    def fingerprint(self) -> str:
        """``embedded-`` and 8 hex digits of the SHA-256 over all weights in the order of their names."""
        digest = hashlib.sha256()
        for name, value in sorted(self.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().float().cpu().contiguous().numpy().tobytes())
        return f"embedded-{digest.hexdigest()[:8]}"

    @classmethod
    def from_file(cls, path: Path, device: torch.device) -> "AlignmentHead":
        """Load strictly. Raises `WrongWeights` if the file is unreadable or holds other tensors than these."""
        try:
            state = {name: value.float() for name, value in load_file(path).items()}
            head = cls(landmarks=state["landmarks"].shape[0])
            head.load_state_dict(state, strict=True)
        except (OSError, SafetensorError, KeyError, IndexError, RuntimeError) as error:
            raise WrongWeights(f"{path} does not hold an alignment head: {error}") from error
        return head.to(device).eval().requires_grad_(requires_grad=False)


def inputs_of(features: Tensor, blocks: Tensor) -> Tensor:
    """What the kernel is made from, before it is reduced; see `AlignmentHead.frames` -> [frames, INPUTS]."""
    # Features of YAMNet are at least 0 and have long tails, the longest in silence.
    return torch.cat([features.clamp(max=4.0).sqrt(), _around(blocks, len(features))], dim=1)


def sounding(frames: Tensor) -> Tensor:
    """Frames, or posteriors alone, which stand first in a frame -> whether something sounds in each [frames].

    Where nothing sounds at all, all are taken.
    """
    kept = frames[:, yamnet.SILENCE] < _SILENT
    return kept if kept.any() else torch.ones_like(kept)


def _around(blocks: Tensor, frames: int) -> Tensor:
    """Rows of blocks [blocks, n] -> of the block around the middle of each frame [frames, n].

    Frames and blocks are spaced evenly over one window.
    """
    middles = torch.arange(frames, device=blocks.device) + 0.5
    return blocks[(middles * (len(blocks) / frames)).long()]


def _split(frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    posteriors, categories, reduced = torch.split(frames, [yamnet.CLASSES, len(CATEGORIES), REDUCED], dim=1)
    return posteriors, categories, reduced
