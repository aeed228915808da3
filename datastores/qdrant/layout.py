"""Lays out the collection of a version, for the version of the server."""

import re
from typing import Any

from qdrant_client import models

from datastores.qdrant.config import QdrantConfig

_MEMORY_SINCE = (1, 19)
"""The first server that places each structure by `memory`; older ones have one flag for each."""

_INDEX_ABOVE_KB = 1_000


def server_version(version: str) -> tuple[int, int]:
    """Major and minor version of ``1.19.2``; (0, 0), as of the oldest server, if it cannot be read."""
    found = re.match(r"v?(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def version_layout(config: QdrantConfig, dimension: int, server: tuple[int, int]) -> dict[str, Any]:
    """The arguments of `create_collection` for captions of `dimension`.

    The dot product of unit vectors is their cosine, and the server stores the vectors unchanged. No index is built
    while captions arrive; `index_layout` asks for one.
    """
    new, cold = server >= _MEMORY_SINCE, config.memory == "cold"
    placed: dict[str, Any] = {"memory": models.Memory(config.memory)} if new else {"on_disk": cold}
    payload = {"payload": models.PayloadStorageParams(**placed)} if new else {"on_disk_payload": cold}
    return {
        "vectors_config": models.VectorParams(size=dimension, distance=models.Distance.DOT, **placed),
        "hnsw_config": models.HnswConfigDiff(**placed),
        "quantization_config": _quantisation(config, new),
        "optimizers_config": models.OptimizersConfigDiff(indexing_threshold=0),
        **payload,
        **cluster_layout(config),
        "shard_number": config.shards,
    }


def cluster_layout(config: QdrantConfig) -> dict[str, Any]:
    """The arguments of `create_collection` that every collection shares."""
    return {"replication_factor": config.replication, "write_consistency_factor": config.write_consistency}


def index_layout() -> models.OptimizersConfigDiff:
    """The change that makes the server index a version, for when all its captions are stored."""
    return models.OptimizersConfigDiff(indexing_threshold=_INDEX_ABOVE_KB)


def search_params(config: QdrantConfig, captions: int, limit: int) -> models.SearchParams:
    """Exact search for small versions; else the index, with results on quantised vectors rescored on full ones."""
    if captions <= config.exact_below:
        return models.SearchParams(exact=True)
    return models.SearchParams(
        hnsw_ef=max(128, 2 * limit),
        quantization=None
        if config.quantisation == "none"
        else models.QuantizationSearchParams(rescore=True, oversampling=2.0),
    )


def _quantisation(config: QdrantConfig, new: bool) -> models.QuantizationConfig | None:
    placed: dict[str, Any] = {"memory": models.Memory.PINNED} if new else {"always_ram": True}
    if config.quantisation == "int8":
        return models.ScalarQuantization(
            scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99, **placed)
        )
    if config.quantisation == "binary":
        return models.BinaryQuantization(binary=models.BinaryQuantizationConfig(**placed))
    return None
