"""A cache of an LLM's keys and values in buffers that rarely grow."""

from typing import Any

import torch
from torch import Tensor

_ROOM = 64


def growing_cache(dtype: torch.dtype | None = None) -> Any:
    """Return a cache of transformers that appends in place. The usual one copies everything for each token.

    Args:
        dtype: type in which keys and values are kept and passed to the attention; by default the model's own.
    """
    # Imported here: transformers takes seconds.
    from transformers.cache_utils import Cache, DynamicLayer

    class GrowingLayer(DynamicLayer):  # type: ignore[no-untyped-call]
        """Keys and values of one layer [rows, heads, slots, d]: views of buffers with room for more slots."""

        def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
            self.dtype, self.device = dtype or key_states.dtype, key_states.device
            self._held = 0
            self._buffers = [self._buffer(states, 0) for states in (key_states, value_states)]
            self.is_initialized = True

        def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
            if not self.is_initialized:
                self.lazy_initialization(key_states, value_states)
            start, self._held = self._held, self._held + key_states.shape[2]
            for which, states in enumerate((key_states, value_states)):
                if self._held > self._buffers[which].shape[2]:
                    larger = self._buffer(states, self._held + _ROOM)
                    larger[:, :, :start] = self._buffers[which][:, :, :start]
                    self._buffers[which] = larger
                self._buffers[which][:, :, start : self._held] = states
            return self._show()

        def batch_select_indices(self, indices: Tensor) -> None:
            self._buffers = [buffer.index_select(0, indices) for buffer in self._buffers]
            self._show()

        def _buffer(self, states: Tensor, slots: int) -> Tensor:
            rows, heads, _, size = states.shape
            return torch.empty(rows, heads, slots, size, dtype=self.dtype, device=self.device)

        def _show(self) -> tuple[Tensor, Tensor]:
            keys, values = (buffer[:, :, : self._held] for buffer in self._buffers)
            self.keys, self.values = keys, values
            return keys, values

    return Cache(layer_class_to_replicate=GrowingLayer)
