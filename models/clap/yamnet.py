"""The first audio tower of the embedded CLAP: YAMNet, from the ONNX file in the package sead.

YAMNet (Google, Apache-2.0; github.com/tensorflow/models, research/audioset/yamnet) is MobileNet v1 (arXiv 1704.04861)
over log-mel patches of 0.96 s, trained on the 521 classes of AudioSet. This module turns samples into log-mel patches,
patches into 1,024 features, and features into logits of the classes. It knows nothing of text.

The file holds a network quantised to 8 bits for one accelerator, stored as float32 tensors. Here they are read as plain
tensors, so activations stay in float32, logits are no longer multiples of 0.76, and no other runtime is needed.
"""

import math
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.clap.onnx_tensors import read_tensors
from models.weights import WrongWeights, package_file

PACKAGE_FILE = ("sead", "data/YamNet_w8a8.onnx.zip")
SAMPLE_RATE = 16_000
PATCH = 96
HOP = 48
BANDS = 64
FEATURES = 1_024
CLASSES = 521
# Index of the class `Silence` in YAMNet's class map.
SILENCE = 494

_FRAME, _STEP, _FFT = 400, 160, 512
STEP_SECONDS = _STEP / SAMPLE_RATE
_LOWEST, _HIGHEST = 125.0, 7_500.0
_OFFSET = 1e-3
# A window is scaled to this peak, because YAMNet takes a quiet recording for silence.
_PEAK = 0.5
_NOTHING = 1e-9
# Output channels and stride of the 13 depthwise separable layers (MobileNet v1, table 1), after one plain convolution.
_LAYERS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1_024, 2), (1_024, 1))
_FIRST = 32


def mel_filters() -> Tensor:
    """Return triangular filters on the HTK mel scale, 125 to 7,500 Hz, peak 1: float32 [FFT / 2 + 1, BANDS].

    They are triangles over mel, not over Hz, as in TensorFlow's `linear_to_mel_weight_matrix`.
    """
    from transformers.audio_utils import mel_filter_bank

    filters = mel_filter_bank(
        num_frequency_bins=_FFT // 2 + 1,
        num_mel_filters=BANDS,
        min_frequency=_LOWEST,
        max_frequency=_HIGHEST,
        sampling_rate=SAMPLE_RATE,
        # The HTK scale of transformers is the same but rounded differently.
        mel_scale="kaldi",
        triangularize_in_mel_space=True,
    )
    return torch.from_numpy(np.asarray(filters, dtype=np.float32))


def split_patches(mel: Tensor) -> Tensor:
    """Split log-mel [steps, BANDS] into [patches, PATCH, BANDS] at even distances of at most HOP.

    Every step is in a patch. Audio shorter than a patch is repeated until it fills one.
    """
    steps = mel.shape[0]
    if steps <= PATCH:
        return mel[torch.arange(PATCH, device=mel.device) % steps].unsqueeze(0)
    count = math.ceil((steps - PATCH) / HOP) + 1
    starts = [round(index * (steps - PATCH) / (count - 1)) for index in range(count)]
    return torch.stack([mel[start : start + PATCH] for start in starts])


class _Separable(nn.Module):
    """A depthwise convolution of 3 x 3 and a pointwise one, each with ReLU and its norm folded in."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        # TensorFlow pads stride 2 with one zero behind and none before.
        self.behind = stride == 2
        self.depthwise = nn.Conv2d(inputs, inputs, 3, stride, padding=0 if self.behind else 1, groups=inputs)
        self.pointwise = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        if self.behind:
            x = functional.pad(x, (0, 1, 0, 1))
        x = functional.relu_(self.depthwise(x))
        # With channels last, pixels by channels are a matrix, and BLAS is fastest at matrix products.
        patches, channels, height, width = x.shape
        pixels = x.permute(0, 2, 3, 1).reshape(-1, channels)
        mixed = functional.linear(pixels, self.pointwise.weight.flatten(1), self.pointwise.bias).relu_()
        return mixed.view(patches, height, width, -1).permute(0, 3, 1, 2)


class YamnetTower(nn.Module):
    """The log-mel front end and the network, frozen."""

    filters: Tensor
    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, _FIRST, 3, 2)
        widths = [_FIRST, *(outputs for outputs, _ in _LAYERS)]
        self.layers = nn.Sequential(
            *(_Separable(inputs, outputs, stride) for inputs, (outputs, stride) in zip(widths, _LAYERS, strict=False))
        )
        self.classes = nn.Linear(FEATURES, CLASSES)
        self.register_buffer("filters", mel_filters(), persistent=False)
        self.register_buffer("window", torch.hann_window(_FRAME), persistent=False)

    @classmethod
    def from_package(cls, device: torch.device) -> "YamnetTower":
        """Load from the installed package `sead`. Raises `MissingWeights` or `WrongWeights`."""
        return cls.from_file(package_file(*PACKAGE_FILE), device)

    @classmethod
    def from_file(cls, path: Path, device: torch.device) -> "YamnetTower":
        """Load a zip with an ONNX model and its file of tensors. Raises `WrongWeights`."""
        tower = cls()
        try:
            weights, biases = _in_order(_unpack(path))
            tensors = [tensor for pair in zip(weights, biases, strict=True) for tensor in pair]
            tower.load_state_dict(dict(zip(_names(), tensors, strict=True)), strict=True)
        except (OSError, KeyError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
            raise WrongWeights(f"{path} does not hold YAMNet: {str(error)[:200]}") from error
        return tower.to(device).eval().requires_grad_(requires_grad=False)

    def log_mel(self, samples: Tensor) -> Tensor:
        """Turn mono samples [n] at SAMPLE_RATE, n >= 1, into log-mel [steps, BANDS] with a step of 10 ms.

        The window is scaled to a peak of 0.5, so gain does not matter. Frames of 25 ms under a Hann window, magnitudes
        of an FFT of 512 points, log(mel + 0.001).
        """
        peak = samples.abs().amax()
        samples = samples * torch.where(peak > _NOTHING, _PEAK / peak.clamp(min=_NOTHING), 1.0)
        padded = functional.pad(samples, (0, max(0, _FRAME - samples.shape[0])))
        frames = padded.unfold(0, _FRAME, _STEP) * self.window
        return torch.log(torch.fft.rfft(frames, n=_FFT).abs() @ self.filters + _OFFSET)

    def features(self, samples: Tensor) -> Tensor:
        """Turn mono samples [n] at SAMPLE_RATE, n >= 1, into the features of each patch [patches, FEATURES]."""
        patches = split_patches(self.log_mel(samples)).unsqueeze(1)
        x = functional.pad(patches.contiguous(memory_format=torch.channels_last), (0, 1, 0, 1))
        return torch.as_tensor(self.layers(functional.relu_(self.first(x))).mean(dim=(2, 3)))

    def logits(self, features: Tensor) -> Tensor:
        """Turn features [patches, FEATURES] into logits [patches, CLASSES]; several classes may sound at once."""
        return torch.as_tensor(self.classes(features))


def _unpack(path: Path) -> dict[str, Tensor]:
    with zipfile.ZipFile(path) as archive:
        files = {PurePosixPath(name).suffix: name for name in archive.namelist() if not name.endswith("/")}
        return read_tensors(archive.read(files[".onnx"]), archive.read(files[".data"]))


def _in_order(tensors: dict[str, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Return weights and biases in the order of the network, in which the exporter numbered them."""
    numbered = sorted(
        (int(name.removeprefix("onnx::Conv_")), tensor)
        for name, tensor in tensors.items()
        if name.startswith("onnx::Conv_") and name.removeprefix("onnx::Conv_").isdigit()
    )
    weights = [tensor for _, tensor in numbered if tensor.ndim == 4]
    biases = [tensor for _, tensor in numbered if tensor.ndim == 1]
    return [*weights, tensors["model.classifier.weight"]], [*biases, tensors["model.classifier.bias"]]


def _names() -> list[str]:
    """Return the parameters of `YamnetTower` in the order of the network."""
    layers = [f"layers.{row}.{kind}" for row in range(len(_LAYERS)) for kind in ("depthwise", "pointwise")]
    return [f"{module}.{part}" for module in ("first", *layers, "classes") for part in ("weight", "bias")]
