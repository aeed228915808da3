"""The alignment head maps the output of the two audio towers into the space of the text tower.

    heard     = sentences of the classes, weighted by YAMNet's posteriors, minus their mean over recordings
    effects   = sentences of the categories, weighted by the posteriors of aisfx, minus their mean over recordings
    prior     = normalise(heard + 0.6 effects)
    written   = normalise(prior + network(prior))           moves towards captions; learnt from captions alone
    vector    = normalise(written + sum_i k(x, landmark_i) coefficient_i)

with k(x, z) = exp((cos(x, z) - 1) / bandwidth^2) over the features of both towers. Far from all training clips the
kernel vanishes, so the training does no harm to kinds of sound that it did not see.
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
# Frames whose posterior of silence reaches this are not used.
_SILENT = 0.5


class AlignmentHead(nn.Module):
    """Turns frames of both towers into unit vectors in the centred text space."""

    # Scales unit vectors of 384 dimensions to numbers of about 0.4, where the network is not linear.
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
        """Return the frames of a window: one a patch of YAMNet, joined with the block of aisfx around its middle.

        Args:
            posteriors: posteriors of YAMNet's classes [frames, CLASSES].
            features: features of YAMNet [frames, FEATURES].
            categories: posteriors of the categories [blocks, CATEGORIES].
            blocks: features and hidden layers of aisfx side by side [blocks, FEATURES + HIDDEN].

        Returns:
            [frames, FRAME]: posteriors, categories, reduced inputs.
        """
        reduced = inputs_of(features, blocks) @ self.reduction + self.reduction_bias
        return torch.cat([posteriors, _around(categories, len(posteriors)), reduced], dim=1)

    def heard(self, posteriors: Tensor) -> Tensor:
        """Weigh the sentences of the strongest classes: posteriors [frames, CLASSES] -> [TEXT_DIM], unit norm."""
        # The root mean square lies between the mean, which misses a short bark, and the maximum, which trusts errors.
        weights = posteriors.square().mean(dim=0).sqrt() * self.class_weights
        weakest = weights.topk(_STRONGEST).values[-1]
        return functional.normalize(torch.where(weights >= weakest, weights, 0.0) @ self.class_vectors, dim=0)

    def effects(self, categories: Tensor) -> Tensor:
        """Weigh the sentences of the categories: posteriors [frames, CATEGORIES] -> [TEXT_DIM], unit norm."""
        return functional.normalize(categories.mean(dim=0) @ self.category_vectors, dim=0)

    def prior(self, frames: Tensor) -> Tensor:
        """Join the sentences of both towers: frames [frames, FRAME] -> [TEXT_DIM], centred, unit norm."""
        posteriors, categories, _ = _split(frames)
        heard = functional.normalize(self.heard(posteriors) - self.class_mean, dim=0)
        effects = functional.normalize(self.effects(categories) - self.category_mean, dim=0)
        return functional.normalize(heard + _EFFECTS * effects, dim=0)

    def network(self, prior: Tensor) -> Tensor:
        """Move priors, unit vectors [..., TEXT_DIM], to where captions lie: unit vectors of the same shape."""
        hidden = functional.gelu(functional.linear(self.SPREAD * prior, self.hidden_weight, self.hidden_bias))
        return functional.normalize(prior + functional.linear(hidden, self.output_weight, self.output_bias), dim=-1)

    def written(self, prior: Tensor) -> Tensor:
        """Move priors, unit vectors [..., TEXT_DIM], halfway to where captions lie."""
        return functional.normalize(prior + self.network(prior), dim=-1)

    def direction(self, frames: Tensor) -> Tensor:
        """Return the unit vector [REDUCED] of frames [frames, FRAME] that the kernel compares."""
        return functional.normalize(_split(frames)[2].mean(dim=0), dim=0)

    def kernel(self, directions: Tensor, landmarks: Tensor) -> Tensor:
        """Compare unit vectors [n, REDUCED] and [m, REDUCED]: similarities [n, m] in 0 to 1."""
        return torch.exp((directions @ landmarks.T - 1.0) / self.bandwidth.square())

    def forward(self, frames: Tensor) -> Tensor:
        """Embed the frames of one stretch [frames, FRAME] -> unit vector [TEXT_DIM]."""
        frames = frames[sounding(frames)]
        written = self.written(self.prior(frames))
        residual = self.kernel(self.direction(frames)[None], self.landmarks)[0] @ self.coefficients
        return functional.normalize(written + residual, dim=0)

    def centre_text(self, vectors: Tensor) -> Tensor:
        """Centre vectors of the text tower [n, TEXT_DIM] -> unit vectors [n, TEXT_DIM]."""
        return functional.normalize(vectors - self.text_mean, dim=-1)

    def fingerprint(self) -> str:
        """Return ``embedded-`` and 8 hex digits of the SHA-256 over all weights in the order of their names."""
        digest = hashlib.sha256()
        for name, value in sorted(self.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().float().cpu().contiguous().numpy().tobytes())
        return f"embedded-{digest.hexdigest()[:8]}"

    @classmethod
    def from_file(cls, path: Path, device: torch.device) -> "AlignmentHead":
        """Load strictly. Raises `WrongWeights` if the file is unreadable or holds other tensors."""
        try:
            state = {name: value.float() for name, value in load_file(path).items()}
            head = cls(landmarks=state["landmarks"].shape[0])
            head.load_state_dict(state, strict=True)
        except (OSError, SafetensorError, KeyError, IndexError, RuntimeError) as error:
            raise WrongWeights(f"{path} does not hold an alignment head: {error}") from error
        return head.to(device).eval().requires_grad_(requires_grad=False)


def inputs_of(features: Tensor, blocks: Tensor) -> Tensor:
    """Join the inputs of the kernel before reduction [frames, INPUTS]; see `AlignmentHead.frames` for the arguments."""
    # YAMNet's features are at least 0 and have long tails, the longest in silence.
    return torch.cat([features.clamp(max=4.0).sqrt(), _around(blocks, len(features))], dim=1)


def sounding(frames: Tensor) -> Tensor:
    """Return which frames are not silent [frames]; all of them if all are silent.

    `frames` may also be posteriors alone, which come first in a frame.
    """
    kept = frames[:, yamnet.SILENCE] < _SILENT
    return kept if kept.any() else torch.ones_like(kept)


def _around(blocks: Tensor, frames: int) -> Tensor:
    """Return for each frame the row of the block around its middle: [blocks, n] -> [frames, n].

    Frames and blocks are spaced evenly over one window.
    """
    middles = torch.arange(frames, device=blocks.device) + 0.5
    return blocks[(middles * (len(blocks) / frames)).long()]


def _split(frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    posteriors, categories, reduced = torch.split(frames, [yamnet.CLASSES, len(CATEGORIES), REDUCED], dim=1)
    return posteriors, categories, reduced
