"""Reads the tensors of an ONNX file, not its graph.

Only the messages and fields named here are described to protobuf (onnx/onnx.proto, numbers from IR version 3 on); it
skips all others. So protobuf is the only dependency, and no code of a model runs.
"""

from functools import cache
from typing import Any

import numpy as np
import torch
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from torch import Tensor

_FLOAT = 1  # TensorProto.DataType
_FIELD = descriptor_pb2.FieldDescriptorProto
_PACKAGE = "drcap.onnx"
# Message -> field -> number, type, whether repeated, message type of the field.
_MESSAGES: dict[str, dict[str, tuple[int, int, bool, str]]] = {
    "Entry": {"key": (1, _FIELD.TYPE_STRING, False, ""), "value": (2, _FIELD.TYPE_STRING, False, "")},
    "Tensor": {
        "dims": (1, _FIELD.TYPE_INT64, True, ""),
        "data_type": (2, _FIELD.TYPE_INT32, False, ""),
        "name": (8, _FIELD.TYPE_STRING, False, ""),
        "raw_data": (9, _FIELD.TYPE_BYTES, False, ""),
        "external_data": (13, _FIELD.TYPE_MESSAGE, True, "Entry"),
    },
    "Graph": {"initializer": (5, _FIELD.TYPE_MESSAGE, True, "Tensor")},
    "Model": {"graph": (7, _FIELD.TYPE_MESSAGE, False, "Graph")},
}


def read_tensors(model: bytes, data: bytes) -> dict[str, Tensor]:
    """Read float32 tensors by name.

    Args:
        model: the ONNX file.
        data: the file beside it with the larger tensors.

    Raises:
        ValueError: the file is not an ONNX file, or a tensor is incomplete.
    """
    parsed = _model_class()()
    try:
        parsed.ParseFromString(model)
    except Exception as error:  # each implementation of protobuf has its own DecodeError
        raise ValueError(f"it is not an ONNX file: {error}") from error
    return {one.name: _tensor(one, data) for one in parsed.graph.initializer if one.data_type == _FLOAT}


def _tensor(stored: Any, data: bytes) -> Tensor:
    raw = stored.raw_data
    if stored.external_data:
        place = {entry.key: entry.value for entry in stored.external_data}
        start, length = int(place.get("offset", 0)), int(place["length"])
        raw = data[start : start + length]
    shape = tuple(stored.dims)
    values = np.frombuffer(raw, dtype="<f4")
    if values.size != int(np.prod(shape)):
        raise ValueError(f"the tensor {stored.name} of shape {shape} holds {values.size} numbers")
    return torch.from_numpy(values.astype(np.float32).reshape(shape))


@cache
def _model_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="drcap_onnx.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind, repeated, of) in fields.items():
            label = _FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL
            added = message.field.add(name=field, number=number, type=kind, label=label)
            if of:
                added.type_name = f".{_PACKAGE}.{of}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Model"))
