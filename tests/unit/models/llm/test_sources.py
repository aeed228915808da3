"""Where an LLM is found: folder, file, the hub's cache; and what is refused by name."""

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
import torch

from models.llm.language_model import load_llm
from models.llm.sources import find_llm
from models.weights import MissingWeights, WrongWeights
from tests.tiny_llms import save_llm

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "someone/tiny-llm"


@pytest.fixture
def llm(tmp_path: Path) -> Path:
    return save_llm(tmp_path / "bundle" / "llm", max_shard_size="4KB")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, and no network at all."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a connection was tried")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def cache(hub: Path, source: Path, branch: str = "main") -> Path:
    """Lay files out as the hub's client does: blobs, and links to them by commit and branch."""
    repository = hub / f"models--{REPOSITORY.replace('/', '--')}"
    snapshot, blobs = repository / "snapshots" / COMMIT, repository / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, file in enumerate(sorted(source.iterdir())):
        shutil.copyfile(file, blobs / str(number))
        (snapshot / file.name).symlink_to(Path("..", "..", "blobs", str(number)))
    (repository / "refs").mkdir()
    (repository / "refs" / branch).write_text(COMMIT)
    return snapshot


def test_a_folder_in_the_bundle_is_found_by_its_name_there(llm: Path) -> None:
    assert find_llm("llm", "none", llm.parent) == llm
    assert find_llm(str(llm), "none", Path("/nowhere")) == llm


@pytest.mark.parametrize("revision", ["main", COMMIT])
def test_an_llm_in_the_cache_of_the_hub_is_used_without_asking_the_hub(
    llm: Path, hub: Path, tmp_path: Path, revision: str
) -> None:
    snapshot = cache(hub, llm)
    path = find_llm(REPOSITORY, revision, tmp_path)
    assert path == snapshot
    assert torch.equal(load_llm(path).model.lm_head.weight, load_llm(llm).model.lm_head.weight)


def test_what_the_cache_has_is_used_where_there_is_a_network_too(
    llm: Path, hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = cache(hub, llm)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    assert find_llm(REPOSITORY, "main", tmp_path) == snapshot


def test_only_what_an_llm_is_made_of_is_fetched(
    llm: Path, hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub.errors import LocalEntryNotFoundError
    from huggingface_hub.utils._paths import filter_repo_objects

    def download(repository: str, *, revision: str, allow_patterns: list[str], local_files_only: bool) -> str:
        if local_files_only:
            raise LocalEntryNotFoundError("not in the cache")
        assert (repository, revision) == (REPOSITORY, COMMIT)
        theirs = [*(file.name for file in llm.iterdir()), "pytorch_model.bin", "consolidated.safetensors", "model.py"]
        fetched.extend(filter_repo_objects(theirs, allow_patterns=allow_patterns))
        return str(llm)

    fetched: list[str] = []
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert find_llm(REPOSITORY, COMMIT, tmp_path) == llm
    assert sorted(fetched) == sorted(file.name for file in llm.iterdir())


def test_a_revision_that_may_change_is_told_with_the_commit_to_pin(
    llm: Path, hub: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache(hub, llm)
    find_llm(REPOSITORY, COMMIT, tmp_path)
    assert not caplog.text
    find_llm(REPOSITORY, "main", tmp_path)
    assert COMMIT in caplog.text


def test_an_llm_that_is_not_there_is_named_with_its_revision_and_what_to_do(hub: Path, tmp_path: Path) -> None:
    with pytest.raises(
        MissingWeights, match=rf"{REPOSITORY} \(revision v2\).*HF_HUB_OFFLINE.*hf download {REPOSITORY}"
    ):
        find_llm(REPOSITORY, "v2", tmp_path)


def test_a_download_that_was_broken_off_is_no_llm(llm: Path, hub: Path, tmp_path: Path) -> None:
    snapshot = cache(hub, llm)
    next(snapshot.glob("model-*.safetensors")).unlink()
    with pytest.raises(MissingWeights, match="does not have all of it"):
        find_llm(REPOSITORY, "main", tmp_path)


def test_a_revision_that_is_none_is_refused_before_anything_is_asked(hub: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match="as it was at the import"):
        find_llm(REPOSITORY, "as it was at the import", tmp_path)


def test_a_gguf_file_of_the_hub_is_found_in_its_cache(hub: Path, tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / "tiny.gguf").write_bytes(b"GGUF")
    snapshot = cache(hub, files)
    assert find_llm(f"{REPOSITORY}/tiny.gguf", "main", tmp_path) == snapshot / "tiny.gguf"
    with pytest.raises(MissingWeights, match=r"other\.gguf \(revision main\)"):
        find_llm(f"{REPOSITORY}/other.gguf", "main", tmp_path)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "model.pt", "weights.pkl"])
def test_a_pickle_is_refused_by_its_name_with_the_reason(llm: Path, name: str) -> None:
    for file in llm.glob("model*"):
        file.unlink()
    (llm / name).write_bytes(b"\x80\x04")
    with pytest.raises(WrongWeights, match=rf"{name}.*can run code"):
        find_llm(str(llm), "none", llm)


def test_a_pickle_in_the_cache_of_the_hub_is_refused_by_its_name(llm: Path, hub: Path, tmp_path: Path) -> None:
    for file in llm.glob("model*"):
        file.unlink()
    (llm / "pytorch_model.bin").write_bytes(b"\x80\x04")
    cache(hub, llm)
    with pytest.raises(WrongWeights, match=r"pytorch_model\.bin"):
        find_llm(REPOSITORY, "main", tmp_path)


def test_a_pickle_beside_safetensors_is_not_opened(llm: Path) -> None:
    (llm / "pytorch_model.bin").write_bytes(b"\x80\x04")
    assert load_llm(find_llm(str(llm), "none", llm)).hidden_size == 16


def test_a_shard_that_is_missing_is_named(llm: Path) -> None:
    shard = sorted(llm.glob("model-*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(MissingWeights, match=shard.name):
        find_llm(str(llm), "none", llm)


def test_an_index_may_not_name_files_elsewhere(llm: Path) -> None:
    index = llm / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../../other/model.safetensors"}}))
    with pytest.raises(WrongWeights, match="outside its folder"):
        find_llm(str(llm), "none", llm)


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("config.json", "{", r"config\.json is not JSON"),
        ("config.json", "[]", "is not a JSON object"),
        (
            "config.json",
            '{"quantization_config": {"quant_method": "gptq"}}',
            "stored quantised .gptq.*DRCAP_LLM__QUANTISATION",
        ),
        ("adapter_config.json", "{}", "is an adapter"),
        ("model.safetensors.index.json", "{}", "has no weight_map"),
    ],
)
def test_a_folder_that_is_not_an_llm_says_why(llm: Path, file: str, content: str, said: str) -> None:
    (llm / file).write_text(content)
    with pytest.raises(WrongWeights, match=said):
        find_llm(str(llm), "none", llm, "DRCAP_LLM__QUANTISATION")


def test_a_folder_without_weights_says_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "llm").mkdir()
    with pytest.raises(MissingWeights, match="there is no LLM at"):
        find_llm(str(tmp_path / "llm"), "none", tmp_path)
    (tmp_path / "llm" / "config.json").write_text("{}")
    with pytest.raises(MissingWeights, match=r"has no model\.safetensors"):
        find_llm(str(tmp_path / "llm"), "none", tmp_path)


def test_a_file_that_is_no_llm_is_refused(tmp_path: Path) -> None:
    (tmp_path / "llm.zip").touch()
    with pytest.raises(WrongWeights, match=r"folder of transformers or a \.gguf file"):
        find_llm("llm.zip", "none", tmp_path)


@pytest.mark.parametrize("name", ["/no/such/folder", "./llm", "~/llm-that-is-not-there", "a/b/c/d"])
def test_a_path_that_is_not_there_is_not_looked_for_in_the_hub(name: str, hub: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match="there is no"):
        find_llm(name, "main", tmp_path)
