"""WavCaps' ASE once more, in numpy from the formulas of the papers, to hold `models.clap.wavcaps` against.

Swin: Liu et al., arXiv 2103.14030; HTSAT: Chen et al., arXiv 2202.00874; RoBERTa: Liu et al., arXiv 1907.11692.
"""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

Floats = NDArray[np.float64]


class AseInNumpy:
    """The forward passes over a state dict of ASE."""

    def __init__(self, weights: Mapping[str, Floats], floor: float) -> None:
        self._weights = weights
        self._floor = floor

    def hear(self, window: Floats) -> Floats:
        """Ten seconds at 32 kHz -> unit vector."""
        at = "audio_encoder.audio_enc."
        mel = self._log_mel(window)
        scale = self._of(f"{at}bn0.weight") / np.sqrt(self._of(f"{at}bn0.running_var") + 1e-5)
        mel = (mel - self._of(f"{at}bn0.running_mean")) * scale + self._of(f"{at}bn0.bias")
        mel = _stretch(mel, 1024)
        # Four pieces in time lie below each other: 4 x 64 bands high, 256 frames wide.
        image = np.concatenate([mel[256 * piece : 256 * (piece + 1)].T for piece in range(4)])
        grid = self._patches(image, f"{at}patch_embed.")
        stage = 0
        while f"{at}layers.{stage}.blocks.0.norm1.weight" in self._weights:
            block = 0
            while f"{at}layers.{stage}.blocks.{block}.norm1.weight" in self._weights:
                shift = 4 if block % 2 and len(grid) > 8 else 0
                grid = self._block(grid, f"{at}layers.{stage}.blocks.{block}.", shift)
                block += 1
            if f"{at}layers.{stage}.downsample.norm.weight" in self._weights:
                grid = self._merge(grid, f"{at}layers.{stage}.downsample.")
            stage += 1
        pooled = self._norm(grid, f"{at}norm").mean(axis=(0, 1))
        return self._projected(pooled, "audio_proj")

    def read(self, ids: list[int]) -> Floats:
        """Tokens of one caption -> unit vector. Positions count from 2, as RoBERTa pads with token 1."""
        at = "text_encoder.text_encoder."
        rows = self._of(f"{at}embeddings.word_embeddings.weight")[ids]
        rows = rows + self._of(f"{at}embeddings.position_embeddings.weight")[2 : 2 + len(ids)]
        rows = self._norm(
            rows + self._of(f"{at}embeddings.token_type_embeddings.weight")[0], f"{at}embeddings.LayerNorm"
        )
        layer = 0
        while f"{at}encoder.layer.{layer}.output.dense.weight" in self._weights:
            one = f"{at}encoder.layer.{layer}."
            names = [f"{one}attention.self.{name}" for name in ("query", "key", "value")]
            query, key, value = (self._linear(rows, name) for name in names)
            mixed = np.empty_like(rows)
            for start in range(0, rows.shape[1], 64):
                head = slice(start, start + 64)
                mixed[:, head] = _softmax(query[:, head] @ key[:, head].T / 8) @ value[:, head]
            attended = self._linear(mixed, f"{one}attention.output.dense")
            rows = self._norm(rows + attended, f"{one}attention.output.LayerNorm")
            inner = _gelu(self._linear(rows, f"{one}intermediate.dense"))
            rows = self._norm(rows + self._linear(inner, f"{one}output.dense"), f"{one}output.LayerNorm")
            layer += 1
        return self._projected(rows[0], "text_proj")

    def _log_mel(self, window: Floats) -> Floats:
        """Frames of 1024 every 320, periodic Hann, 64 bands of Slaney from 50 to 14,000 Hz, in dB [1001, 64]."""
        padded = np.pad(window, 512, mode="reflect")
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024)
        frames = np.stack([padded[start : start + 1024] for start in range(0, len(padded) - 1023, 320)]) * hann
        power = np.abs(np.fft.rfft(frames)) ** 2
        edges = _from_slaney(np.linspace(_to_slaney(50.0), _to_slaney(14_000.0), 66))
        bins = np.arange(513) * 32_000 / 1024
        rising = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
        falling = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
        filters = np.maximum(0, np.minimum(rising, falling)) * 2 / (edges[2:] - edges[:-2])
        return np.asarray(10 * np.log10(np.maximum(power @ filters, self._floor)))

    def _patches(self, image: Floats, at: str) -> Floats:
        kernel = self._of(f"{at}proj.weight").reshape(-1, 16)
        squares = image.reshape(64, 4, 64, 4).transpose(0, 2, 1, 3).reshape(64, 64, 16)
        return self._norm(squares @ kernel.T + self._of(f"{at}proj.bias"), f"{at}norm")

    def _block(self, grid: Floats, at: str, shift: int) -> Floats:
        side = len(grid)
        normed = np.roll(self._norm(grid, f"{at}norm1"), (-shift, -shift), (0, 1))
        # Where the rolled edges meet, squares that were apart share a window and must not see each other.
        band = np.digitize(np.arange(side), [side - 8, side - shift]) if shift else np.zeros(side, int)
        regions = band[:, None] * 3 + band[None, :]
        out = np.empty_like(grid)
        for top in range(0, side, 8):
            for left in range(0, side, 8):
                box = (slice(top, top + 8), slice(left, left + 8))
                rows = self._attend(normed[box].reshape(64, -1), regions[box].reshape(64), f"{at}attn.")
                out[box] = rows.reshape(8, 8, -1)
        grid = grid + np.roll(out, (shift, shift), (0, 1))
        inner = _gelu(self._linear(self._norm(grid, f"{at}norm2"), f"{at}mlp.fc1"))
        return grid + self._linear(inner, f"{at}mlp.fc2")

    def _attend(self, rows: Floats, regions: NDArray[np.int64], at: str) -> Floats:
        table = self._of(f"{at}relative_position_bias_table")
        heads, width = table.shape[1], rows.shape[1] // table.shape[1]
        query, key, value = np.split(self._linear(rows, f"{at}qkv"), 3, axis=1)
        y, x = np.divmod(np.arange(64), 8)
        bias = table[(y[:, None] - y + 7) * 15 + (x[:, None] - x + 7)]
        apart = np.where(regions[:, None] == regions, 0.0, -100.0)
        mixed = np.empty_like(rows)
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            scores = query[:, part] @ key[:, part].T / math.sqrt(width) + bias[:, :, head] + apart
            mixed[:, part] = _softmax(scores) @ value[:, part]
        return self._linear(mixed, f"{at}proj")

    def _merge(self, grid: Floats, at: str) -> Floats:
        corners = [grid[0::2, 0::2], grid[1::2, 0::2], grid[0::2, 1::2], grid[1::2, 1::2]]
        return self._norm(np.concatenate(corners, axis=-1), f"{at}norm") @ self._of(f"{at}reduction.weight").T

    def _projected(self, vector: Floats, name: str) -> Floats:
        out = self._linear(np.maximum(self._linear(vector, f"{name}.0"), 0), f"{name}.2")
        return np.asarray(out / np.linalg.norm(out))

    def _linear(self, rows: Floats, name: str) -> Floats:
        return rows @ self._of(f"{name}.weight").T + self._of(f"{name}.bias")

    def _norm(self, rows: Floats, name: str) -> Floats:
        centred = rows - rows.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
        return np.asarray(scaled * self._of(f"{name}.weight") + self._of(f"{name}.bias"))

    def _of(self, name: str) -> Floats:
        return np.asarray(self._weights[name], dtype=np.float64)


def _stretch(rows: Floats, length: int) -> Floats:
    """Keys' cubic convolution with a = -0.75 along the first axis, first and last row kept in place."""
    at = np.arange(length) * (len(rows) - 1) / (length - 1)
    whole = np.floor(at).astype(int)
    out = np.zeros((length, rows.shape[1]))
    for step in (-1, 0, 1, 2):
        far = np.abs(at - whole - step)
        near = (1.25 * far - 2.25) * far**2 + 1
        outer = -0.75 * (((far - 5) * far + 8) * far - 4)
        out += np.where(far <= 1, near, outer)[:, None] * rows[np.clip(whole + step, 0, len(rows) - 1)]
    return out


def _to_slaney(hertz: float) -> float:
    return hertz * 3 / 200 if hertz < 1000 else 15 + math.log(hertz / 1000) * 27 / math.log(6.4)


def _from_slaney(mel: Floats) -> Floats:
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * math.log(6.4) / 27))


def _softmax(scores: Floats) -> Floats:
    grown = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(grown / grown.sum(axis=-1, keepdims=True))


def _gelu(values: Floats) -> Floats:
    return np.asarray(values * 0.5 * (1 + erf(values / math.sqrt(2))))
