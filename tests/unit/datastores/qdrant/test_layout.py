import pytest
from qdrant_client import models

from datastores.qdrant.layout import cluster_layout, search_params, server_version, version_layout
from tests.storage import server_config

OLD, NEW = (1, 18), (1, 19)


def sent(server: tuple[int, int], **choices: object) -> str:
    """The request body for a new version, as it goes to the server."""
    layout = version_layout(server_config("http://qdrant", **choices), 512, server)
    layout["vectors"] = layout.pop("vectors_config")
    return models.CreateCollection(**layout).model_dump_json(exclude_none=True, exclude_unset=True)


@pytest.mark.parametrize("quantisation", ["none", "int8", "binary"])
def test_a_server_gets_no_field_it_does_not_know(quantisation: str) -> None:
    old, new = sent(OLD, quantisation=quantisation), sent(NEW, quantisation=quantisation)
    assert '"memory"' not in old
    assert '"on_disk"' in old
    assert '"memory"' in new
    assert "on_disk" not in new
    assert "always_ram" not in new


def test_cold_vectors_stay_on_disk_and_quantised_ones_in_memory() -> None:
    old = models.CreateCollection.model_validate_json(sent(OLD, memory="cold", quantisation="int8"))
    assert isinstance(old.vectors, models.VectorParams)
    assert old.vectors.on_disk is True
    assert old.on_disk_payload is True
    assert isinstance(old.quantization_config, models.ScalarQuantization)
    assert old.quantization_config.scalar.always_ram is True
    new = models.CreateCollection.model_validate_json(sent(NEW, memory="cold", quantisation="int8"))
    assert isinstance(new.vectors, models.VectorParams)
    assert new.vectors.memory == models.Memory.COLD
    assert isinstance(new.quantization_config, models.ScalarQuantization)
    assert new.quantization_config.scalar.memory == models.Memory.PINNED


def test_vectors_are_kept_as_given_and_not_indexed_while_they_arrive() -> None:
    layout = version_layout(server_config("http://qdrant"), 512, NEW)
    assert layout["vectors_config"].distance == models.Distance.DOT
    assert layout["optimizers_config"].indexing_threshold == 0


def test_shards_and_copies_are_as_set() -> None:
    config = server_config("http://qdrant", shards=6, replication=3, write_consistency=2)
    assert version_layout(config, 512, NEW)["shard_number"] == 6
    assert cluster_layout(config) == {"replication_factor": 3, "write_consistency_factor": 2}


def test_small_versions_are_searched_exactly_and_large_ones_rescored() -> None:
    config = server_config("http://qdrant", exact_below=1000, quantisation="int8")
    assert search_params(config, 1000, 10).exact is True
    large = search_params(config, 1001, 512)
    assert not large.exact
    assert large.hnsw_ef == 1024
    assert large.quantization is not None
    assert large.quantization.rescore is True
    assert search_params(server_config("http://qdrant", exact_below=1), 2, 10).quantization is None


@pytest.mark.parametrize(
    ("text", "version"), [("1.19.2", (1, 19)), ("v1.9.0-dev", (1, 9)), ("2.0", (2, 0)), ("", (0, 0)), ("dev", (0, 0))]
)
def test_a_version_that_cannot_be_read_is_taken_for_the_oldest(text: str, version: tuple[int, int]) -> None:
    assert server_version(text) == version
