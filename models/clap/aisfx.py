"""The second audio tower of the embedded CLAP: the CNN and classifier heads of the package aisfx, from its checkpoint.

This module turns samples into log-mel blocks, blocks into 512 features, and features into posteriors of categories. It
knows nothing of text.
"""

import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.checkpoints import read_pickle
from models.clap.winograd import WinogradConv
from models.weights import WrongWeights, package_file

PACKAGE_FILE = ("aisfx", "models/checkpoint.pth")
SAMPLE_RATE = 44_100
FRAME = 2_048
HOP = 1_024
BANDS = 96
BLOCK = 100
FEATURES = 512
# Number of classes of the heads whose classes are categories of the Universal Category System in alphabetical order.
# A fourth head, soundstormBalanced, has 81 categories in an order of its own and is not used.
CATEGORY_HEADS = {"prosfx": 78, "soundlyTrain": 79, "ucsMixed": 69}
_HEAD_HIDDEN = 128
_HEAD_LAYERS = {0: "hidden.0", 2: "hidden.2", 4: "classes"}
HIDDEN = _HEAD_HIDDEN * len(CATEGORY_HEADS)
_LOG_RANGE = 9.457798957824707
_PEAK = 0.5
_SILENCE = 1e-9
_BATCH = 8


def mel_filters() -> Tensor:
    """Return triangular filters on the HTK mel scale, 0 Hz to Nyquist, unit sum: float32 [FRAME / 2 + 1, BANDS].

    mel(f) = 1127 ln(1 + f / 700) (Young et al., The HTK Book). Essentia's MelBands scales to unit sum in the same way.
    """
    top = 1127.0 * math.log(1.0 + SAMPLE_RATE / 2 / 700.0)
    edges = 700.0 * (np.exp(np.linspace(0.0, top, BANDS + 2) / 1127.0) - 1.0)
    bins = np.arange(FRAME // 2 + 1) * (SAMPLE_RATE / FRAME)
    rising = (bins[:, None] - edges[None, :-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[None, 2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    weights = np.clip(np.minimum(rising, falling), 0.0, None)
    # The lowest bands are narrower than a bin and may be empty; they must not divide by zero.
    return torch.from_numpy((weights / np.maximum(weights.sum(axis=0), 1e-12)).astype(np.float32))


class _ConvBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.bn2 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(x)))


class _EmbeddingNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv_block1 = _ConvBlock(1, 64)
        self.conv_block2 = _ConvBlock(64, 128)
        self.conv_block3 = _ConvBlock(128, 256)
        self.conv_block4 = _ConvBlock(256, FEATURES)

    def forward(self, blocks: Tensor) -> Tensor:
        x = blocks.unsqueeze(1)
        for block in (self.conv_block1, self.conv_block2, self.conv_block3):
            x = functional.max_pool2d(block(x), 2)
        return torch.as_tensor(self.conv_block4(x).mean(dim=3).amax(dim=2))


class FastNet(nn.Module):
    """Computes `_EmbeddingNet` faster on a CPU, with norms folded into Winograd convolutions."""

    def __init__(self, net: _EmbeddingNet) -> None:
        super().__init__()
        folded = [
            _fold(conv, norm)
            for block in (net.conv_block1, net.conv_block2, net.conv_block3, net.conv_block4)
            for conv, norm in ((block.conv1, block.bn1), (block.conv2, block.bn2))
        ]
        weight, bias = folded[0]
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("bias", bias, persistent=False)
        self.convs = nn.ModuleList([WinogradConv(weight, bias) for weight, bias in folded[1:]])

    def forward(self, blocks: Tensor) -> Tensor:
        second, *middle, last, end = self.convs
        # The first layers run one block at a time, because the activations of several do not fit into the cache.
        x = torch.cat([second(self._first(block), 2) for block in torch.split(blocks, 1)])
        for conv, pooled in zip(middle[::2], middle[1::2], strict=True):
            x = pooled(conv(x), 2)
        return torch.as_tensor(end(last(x)).mean(dim=2).amax(dim=1))

    def _first(self, block: Tensor) -> Tensor:
        """Convolve one channel [1, BLOCK, BANDS] -> [1, BLOCK, BANDS, 64] as a matrix product."""
        patches = functional.unfold(block[:, None], 3, padding=1).transpose(1, 2)
        weight, bias = cast(Tensor, self.weight), cast(Tensor, self.bias)
        return torch.addmm(bias, patches[0], weight.view(len(weight), -1).T).relu_().view(*block.shape, -1)


def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Fold a convolution without bias and its norm into weight and bias of one convolution."""
    mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    scale = norm.weight * torch.rsqrt(variance + norm.eps)
    return (conv.weight * scale[:, None, None, None]).detach(), (norm.bias - mean * scale).detach()


class AisfxTower(nn.Module):
    """The log-mel front end, the CNN and three category heads of the checkpoint of aisfx, frozen."""

    filters: Tensor
    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.embedding_net: nn.Module = _EmbeddingNet()
        self.heads = nn.ModuleDict(
            {
                name: nn.ModuleDict(
                    {
                        "hidden": nn.Sequential(
                            nn.Linear(FEATURES, 256), nn.ReLU(), nn.Linear(256, _HEAD_HIDDEN), nn.ReLU()
                        ),
                        "classes": nn.Linear(_HEAD_HIDDEN, classes),
                    }
                )
                for name, classes in CATEGORY_HEADS.items()
            }
        )
        self.register_buffer("filters", mel_filters(), persistent=False)
        self.register_buffer("window", torch.hann_window(FRAME, periodic=False), persistent=False)

    @classmethod
    def from_package(cls, device: torch.device, *, exact: bool = False) -> "AisfxTower":
        """Load from the installed package `aisfx`.

        On a CPU the CNN has a faster form that rounds differently, unless `exact` is set.

        Raises `MissingWeights` or `WrongWeights`.
        """
        tower = cls.from_file(package_file(*PACKAGE_FILE), device)
        if device.type == "cpu" and not exact:
            tower.embedding_net = FastNet(cast(_EmbeddingNet, tower.embedding_net))
        return tower

    @classmethod
    def from_file(cls, path: Path, device: torch.device) -> "AisfxTower":
        """Load a checkpoint (weights, {head: (index, classes)}) without unpickling code. Raises `WrongWeights`."""
        weights, heads = _read(path)
        tower = cls()
        state = {name: value for name, value in weights.items() if name.startswith("embedding_net.")}
        for name, classes in CATEGORY_HEADS.items():
            index, found = (int(number) for number in heads.get(name, (-1, -1)))
            if found != classes:
                raise WrongWeights(f"{path} has no head {name} of {classes} classes")
            for layer, ours in _HEAD_LAYERS.items():
                for part in ("weight", "bias"):
                    state[f"heads.{name}.{ours}.{part}"] = weights[f"fc.{index}.{layer}.{part}"]
        tower.load_state_dict(state, strict=True)
        return tower.to(device).eval().requires_grad_(requires_grad=False)

    def log_mel(self, samples: Tensor) -> Tensor:
        """Turn mono samples [n] at SAMPLE_RATE, n >= 1, into log-mel [n // HOP + 1, BANDS] of about 0 to 1.

        The window is scaled to a peak of 0.5, so gain does not matter and levels are as in the checkpoint's training.
        The chain is Essentia's: Hann frames, power spectrum, unit-sum mel bands, log10(10000 x + 1).
        """
        peak = samples.abs().amax()
        level = torch.where(peak > _SILENCE, _PEAK / peak.clamp(min=_SILENCE), torch.zeros_like(peak))
        padded = functional.pad(samples * level, (FRAME // 2, FRAME // 2))
        frames = padded.unfold(0, FRAME, HOP) * self.window
        power = torch.fft.rfft(frames).abs().square()
        return torch.log10(power @ self.filters * 10_000.0 + 1.0) / _LOG_RANGE

    def features(self, samples: Tensor) -> Tensor:
        """Turn mono samples [n], n >= 1, into one feature vector a block [blocks, FEATURES]."""
        blocks = split_blocks(self.log_mel(samples))
        return torch.cat([self.embedding_net(blocks[row : row + _BATCH]) for row in range(0, len(blocks), _BATCH)])

    def classify(self, features: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Run all heads on features [blocks, FEATURES].

        Returns:
            The last hidden layers of all heads side by side [blocks, HIDDEN], and the log-posteriors of each head
            [blocks, classes].
        """
        hidden = {name: head["hidden"](features) for name, head in self._heads()}
        posteriors = {
            name: functional.log_softmax(head["classes"](hidden[name]), dim=-1) for name, head in self._heads()
        }
        return torch.cat([hidden[name] for name in CATEGORY_HEADS], dim=-1), posteriors

    def _heads(self) -> list[tuple[str, nn.ModuleDict]]:
        return [(name, cast(nn.ModuleDict, head)) for name, head in self.heads.items()]


def split_blocks(mel: Tensor) -> Tensor:
    """Split log-mel [frames, BANDS] into blocks of about BLOCK frames [blocks, frames a block, BANDS].

    Blocks have equal length, as near to BLOCK as possible, at even distances, so every frame is heard and nothing is
    padded. A clip shorter than a block is repeated until it fills one. For one-second clips of the ESC-10 dev fold this
    gave an accuracy of 0.75; filling up with silence gave 0.60.
    """
    frames = mel.shape[0]
    if frames <= BLOCK:
        return mel[torch.arange(BLOCK, device=mel.device) % frames].unsqueeze(0)
    count = round(frames / BLOCK)
    length = -(-frames // count)
    starts = [round(index * (frames - length) / max(1, count - 1)) for index in range(count)]
    return torch.stack([mel[start : start + length] for start in starts])


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        weights, heads = cast(Any, read_pickle(path))
        return dict(weights), dict(heads)
    except (TypeError, ValueError) as error:
        raise WrongWeights(f"{path} is not a checkpoint of aisfx") from error
