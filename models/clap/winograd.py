"""3 x 3 convolutions in a quarter of the multiplications (Winograd; Lavin and Gray, arXiv 1509.09308).

An output tile of 4 x 4 comes from an input tile of 6 x 6 through 36 products a channel pair instead of 144. All three
steps are matrix products, so they run at the speed of the machine's BLAS. oneDNN has no such kernel for AVX2.
Rounding differs from a plain convolution by a few millionths of the largest output.
"""

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional

Matrix = Sequence[Sequence[float]]

_TILE = 4
_SPAN = _TILE + 2
# With this many tiles the intermediate results stay in a core's cache. A large layer as a whole took twice as long.
_TILES_AT_ONCE = 128
# The matrices of F(4 x 4, 3 x 3), from equation 15 of the paper on.
_INPUT: Matrix = [
    [4, 0, -5, 0, 1, 0],
    [0, -4, -4, 1, 1, 0],
    [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0],
    [0, 2, -1, -2, 1, 0],
    [0, 4, 0, -5, 0, 1],
]
_FILTER: Matrix = [
    [1 / 4, 0, 0],
    [-1 / 6, -1 / 6, -1 / 6],
    [-1 / 6, 1 / 6, -1 / 6],
    [1 / 24, 1 / 12, 1 / 6],
    [1 / 24, -1 / 12, 1 / 6],
    [0, 0, 1],
]
_OUTPUT: Matrix = [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]


class WinogradConv(nn.Module):
    """A convolution of 3 x 3 with a margin of one zero, a bias and ReLU. Channels come last, which suits BLAS."""

    filters: Tensor
    bias: Tensor
    into: Tensor
    out_of: Tensor

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        """Args: weight [out, in, 3, 3] and bias [out], float32."""
        super().__init__()
        outputs, inputs = weight.shape[:2]
        filters = _both_ways(_FILTER) @ weight.double().reshape(-1, 9).T
        filters = filters.view(_SPAN**2, outputs, inputs).transpose(1, 2).float().contiguous()
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("bias", bias, persistent=False)
        self.register_buffer("into", _both_ways(_INPUT).float(), persistent=False)
        self.register_buffer("out_of", _both_ways(_OUTPUT).float(), persistent=False)

    def forward(self, x: Tensor, pool: int = 1) -> Tensor:
        """Convolve [n, height, width, in] -> [n, height, width, out], after ReLU.

        Args:
            x: float32.
            pool: 2 or 4 takes the largest of 2 x 2 or 4 x 4 neighbours; height and width shrink by this factor.
        """
        batch, height, width, _ = x.shape
        high, wide = -(-height // _TILE), -(-width // _TILE)
        padded = functional.pad(x, (0, 0, 1, _TILE * wide + 1 - width, 1, _TILE * high + 1 - height))
        strip = max(1, _TILES_AT_ONCE // (batch * wide))
        strips = [
            self._strip(padded[:, _TILE * top : _TILE * min(top + strip, high) + 2], pool)
            for top in range(0, high, strip)
        ]
        return torch.cat(strips, dim=1)[:, : height // pool, : width // pool].add_(self.bias).relu_()

    def _strip(self, padded: Tensor, pool: int) -> Tensor:
        """Convolve rows of whole tiles with their margin, and take the largest of `pool` neighbours."""
        batch, height, width, channels = padded.shape
        high, wide, left = height // _TILE, width // _TILE, _TILE // pool
        each, row, column, _ = padded.stride()
        tiles = padded.as_strided(
            (_SPAN, _SPAN, batch, high, wide, channels),
            (row, column, each, _TILE * row, _TILE * column, 1),
            padded.storage_offset(),
        )
        turned = self.into @ tiles.reshape(_SPAN**2, -1)
        products = torch.bmm(turned.view(_SPAN**2, -1, channels), self.filters)
        out = (self.out_of @ products.view(_SPAN**2, -1)).view(left, pool, left, pool, batch, high, wide, -1)
        # Bias and ReLU keep the order of values, and are cheaper after pooling.
        out = reduce(torch.maximum, reduce(torch.maximum, out.unbind(dim=3)).unbind(dim=1))
        return out.permute(2, 3, 0, 4, 1, 5).reshape(batch, left * high, left * wide, -1)


def _both_ways(matrix: Matrix) -> Tensor:
    """Turn a transform of columns into one of whole tiles, float64."""
    one = torch.tensor(matrix, dtype=torch.float64)
    return torch.kron(one, one)
