"""The header of a GGUF file as the gguf package writes it, and files that are none."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.llm.gguf_header import NoGguf, read_header
from models.llm.sizes import read_llm_sizes
from models.weights import WrongWeights


@pytest.fixture
def written(tmp_path: Path) -> Path:
    from gguf import GGUFWriter

    path = tmp_path / "model.gguf"
    writer: Any = GGUFWriter(str(path), "llama")
    writer.add_block_count(2)
    writer.add_embedding_length(16)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(0.5)
    writer.add_token_list(["a", "b", "two words"])
    writer.add_token_scores([0.0, 1.0, 2.0])
    writer.add_string("general.name", "tiny")
    writer.add_tensor("token_embd.weight", np.zeros((3, 16), np.float32))
    writer.add_tensor("blk.0.attn_q.weight", np.zeros((16, 16), np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_facts_and_shapes_are_read_and_lists_passed_over(written: Path) -> None:
    header = read_header(written)
    assert header.shapes == {"token_embd.weight": (16, 3), "blk.0.attn_q.weight": (16, 16)}
    assert header.parameters == 3 * 16 + 16 * 16
    assert header.facts["general.name"] == "tiny"
    assert header.of_the_model("block_count") == 2
    assert header.of_the_model("attention.layer_norm_rms_epsilon") == 0.5
    assert "tokenizer.ggml.tokens" not in header.facts
    sizes = read_llm_sizes(written)
    assert (sizes.hidden, sizes.layers, sizes.heads, sizes.key_value_heads, sizes.vocabulary) == (16, 2, 4, 2, 3)


@pytest.mark.parametrize("kept", [0, 3, 6, 30, 100])
def test_a_file_that_is_cut_short_in_its_header_is_refused(written: Path, kept: int) -> None:
    written.write_bytes(written.read_bytes()[:kept])
    with pytest.raises(NoGguf, match=r"model\.gguf"):
        read_header(written)
    with pytest.raises(WrongWeights):
        read_llm_sizes(written)


@pytest.mark.parametrize(
    "content",
    [
        b"GGUF" + struct.pack("<IQQ", 1, 0, 0),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 60),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1 << 60),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"a" + struct.pack("<I", 99),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"a" + struct.pack("<IIQ", 9, 9, 1),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"\xff" + struct.pack("<I", 4),
    ],
)
def test_a_header_of_unknown_or_endless_things_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd.gguf").write_bytes(content)
    with pytest.raises(NoGguf, match="header"):
        read_header(tmp_path / "odd.gguf")


def test_a_header_that_does_not_say_its_sizes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.gguf").write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 0))
    with pytest.raises(WrongWeights, match="does not state its embedding_length"):
        read_llm_sizes(tmp_path / "empty.gguf")
