"""A bundle whose parts are missing, changed, of another size or a pickle is told, without loading any of it."""

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file

from models.bundle.check import Checked, check_bundle, is_pickle, look_at
from models.bundle.checksums import SUMS, ChecksumsError, file_digest, packaged_sums, read_sums, seal, verify
from models.bundle.config import BundleError, bundle_folder
from models.bundle.description import describe
from models.clap.sounds import Sounds
from models.weights import cached, package_file
from tests.clap_backends import write_laion, write_wavcaps
from tests.whole_bundle import edit_config, projector, write_lora, write_whole_bundle


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_whole_bundle(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def bundle(whole: Path, tmp_path: Path) -> Path:
    """A copy to damage; its LLM is that of the original."""
    return Path(shutil.copytree(whole, tmp_path / "bundle", ignore=shutil.ignore_patterns("llm")))


def said(checked: Checked) -> str:
    return "\n".join(f"{one.part}: {one.said}" for one in checked.problems)


def test_a_whole_bundle_has_no_problem(bundle: Path) -> None:
    checked = check_bundle(bundle)
    assert (checked.good, said(checked)) == (True, "")
    assert checked.embedding_dim == 16
    assert checked.llm is not None
    assert (checked.llm.hidden, checked.llm.layers, checked.llm.key_value_heads) == (16, 2, 1)


@pytest.mark.slow
def test_the_embedded_bundle_is_whole_and_as_it_was_sealed() -> None:
    checked = check_bundle(bundle_folder("embedded"))
    assert said(checked) == ""
    assert checked.llm is not None
    assert checked.llm.parameters == 134_515_008
    assert read_sums(checked.folder) is not None


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"format_version": 2}, "bundle.json: format_version: Input should be 1"),
        ({"name": None, "retrieval": {"k": 99, "neighbours": 0}}, "bundle.json: name: Field required"),
        ({"retrieval": {"k": 99, "neighbours": 0}}, "retrieval.k.*\n.*retrieval.neighbours"),
        ({"clap": {"backend": "msclap", "source": "a", "revision": "b"}}, "clap.backend: .*'wavcaps'"),
        ({"llm": {"source": "a", "revision": "b", "device": "cuda"}}, "llm.device: Extra inputs"),
        (
            {"prompt": {"template": "{audio}", "similar_item": "{caption}", "separator": "", "none": ""}},
            r"prompt: .*\{similar\} exactly once",
        ),
        ({"generation": {"num_beams": 4, "temperature": 0.5}}, "generation: temperature above 0"),
    ],
)
def test_a_wrong_field_is_named(bundle: Path, changes: dict[str, Any], named: str) -> None:
    edit_config(bundle, **changes)
    checked = look_at(bundle)
    assert not checked.good
    with pytest.raises(AssertionError, match=f"(?s){named}"):
        raise AssertionError(said(checked))


def test_a_folder_without_a_bundle_and_one_that_is_no_json_are_told(tmp_path: Path) -> None:
    assert "there is no bundle" in said(look_at(tmp_path))
    (tmp_path / "bundle.json").write_text("{", encoding="utf-8")
    assert "it is not JSON" in said(look_at(tmp_path))


@pytest.mark.parametrize(
    ("gone", "named"),
    [
        ("projector.safetensors", "projector: there is no "),
        ("adapter/adapter_model.safetensors", "adapter: there is no "),
        ("adapter/adapter_config.json", "adapter settings: there is no "),
        ("clap/model.safetensors", "/clap has no weights"),
    ],
)
def test_a_file_that_is_not_there_is_named(bundle: Path, gone: str, named: str) -> None:
    (bundle / gone).unlink()
    checked = check_bundle(bundle)
    assert named in said(checked)
    assert not checked.good


def test_parts_that_are_nowhere_are_named(bundle: Path) -> None:
    edit_config(
        bundle,
        clap={"backend": "laion", "source": "./laion.pt", "revision": "x", "tokenizer": "./words"}
        | {"centring": "c", "sounds": "s"},
        llm={"source": "package:no_such_package/x.gguf", "revision": "x"},
    )
    found = said(look_at(bundle))
    for part in (
        "CLAP: there is no ./laion.pt",
        "CLAP tokenizer: there is no",
        "centring: there is no",
        "sounds: there is no",
        "LLM: the package",
    ):
        assert part in found


@pytest.mark.parametrize(
    ("weights", "named"),
    [
        (projector(inputs=20), "linear1 takes 20 numbers, the CLAP gives 16"),
        (projector(outputs=40), "linear2 gives 40 numbers, which is not a multiple of the LLM's 16"),
        ({**projector(), "linear1.bias": torch.zeros(5)}, r"its layers do not fit each other: .*linear1.bias \[5\]"),
        ({**projector(), "norm.weight": torch.zeros(5)}, "holds .*norm.weight, a projector has"),
        ({**projector(), "linear2.weight": torch.zeros(24)}, r"linear2.weight is \[24\], not a matrix"),
    ],
)
def test_a_projector_that_fits_neither_side_is_told(bundle: Path, weights: dict[str, Any], named: str) -> None:
    save_file(weights, bundle / "projector.safetensors")
    checked = look_at(bundle)
    assert not checked.good
    with pytest.raises(AssertionError, match=f"(?s)projector: {named}|projector.safetensors.*{named}"):
        raise AssertionError(said(checked))


def test_a_lora_of_another_llm_is_told(bundle: Path) -> None:
    shutil.rmtree(bundle / "adapter")
    write_lora(bundle / "adapter", hidden=20)
    assert "q_proj.lora_A.weight is [4, 20], for llm it should be [4, 16]" in said(check_bundle(bundle))


@pytest.mark.slow
def test_a_lora_of_another_llm_is_told_for_a_gguf_too(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bundle_folder("embedded"), tmp_path / "bundle"))
    shutil.rmtree(folder / "adapter")
    write_lora(folder / "adapter")
    assert "q_proj.lora_A.weight is [4, 16], the LLM's layer has 576 there" in said(check_bundle(folder))
    shutil.rmtree(folder / "adapter")
    write_lora(folder / "adapter", hidden=576)
    assert "holds 4 tensors, a LoRA of the same layers of this LLM has 60" in said(check_bundle(folder))


def test_a_centring_of_another_length_is_told(bundle: Path) -> None:
    means = {"audio_mean": np.zeros(8, np.float32), "text_mean": np.zeros(8, np.float32)}
    save_arrays(means, bundle / "means.safetensors")
    edit_config(
        bundle, clap={"backend": "huggingface", "source": "clap", "revision": "x", "centring": "means.safetensors"}
    )
    assert "audio_mean is [8], the CLAP gives 16" in said(look_at(bundle))


def test_sounds_of_another_clap_are_told(bundle: Path) -> None:
    Sounds(("dog bark",), np.zeros((1, 8), np.float32)).save(bundle / "sounds.safetensors")
    edit_config(
        bundle, clap={"backend": "huggingface", "source": "clap", "revision": "x", "sounds": "sounds.safetensors"}
    )
    assert "vectors is [1, 8], for 1 names the CLAP gives 16 numbers each" in said(look_at(bundle))


@pytest.mark.parametrize("write", [write_laion, write_wavcaps])
def test_the_vectors_length_is_read_off_a_checkpoint_and_a_pickle_named(bundle: Path, write: Any) -> None:
    section = write(bundle)
    edit_config(bundle, clap=section.model_dump())
    checked = check_bundle(bundle)
    assert checked.embedding_dim == 16
    assert checked.good
    assert "it is a pickle; it is read without running the code in it" in said(checked)


def test_a_pickle_that_nothing_reads_is_a_problem(bundle: Path) -> None:
    torch.save({"a": torch.zeros(1)}, bundle / "adapter" / "adapter_model.bin")
    (bundle / "notes").write_bytes(pickle.dumps({"a": 1}))
    checked = check_bundle(bundle)
    assert not checked.good
    assert said(checked).count("it is a pickle, which can run any code") == 2


def test_a_checkpoint_with_code_in_it_is_no_clap_and_its_code_is_not_run(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bundle)
    edit_config(bundle, clap={"backend": "laion", "source": "laion.pt", "revision": "x", "tokenizer": "clap"})
    torch.save({"state_dict": {"a": torch.zeros(1)}, "trap": Trap()}, bundle / "laion.pt")
    assert "holds more than weights and was not unpickled" in said(check_bundle(bundle))
    assert not (bundle / "sprung").exists()


class Trap:
    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return (Path.touch, (Path("sprung"),))


def test_only_pickles_are_pickles(tmp_path: Path) -> None:
    for content in (b"", b"\x80", b"PK", b"PK\x03\x04 no zip", b"{}", b"\x80\x09"):
        (tmp_path / "file").write_bytes(content)
        assert not is_pickle(tmp_path / "file")


def test_what_changed_since_the_sealing_is_named_and_the_config_may_change(bundle: Path) -> None:
    assert seal(bundle) == 9
    edit_config(bundle, name="other")
    assert said(check_bundle(bundle)) == ""
    path = bundle / "projector.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    (bundle / "clap" / "preprocessor_config.json").unlink()
    found = said(check_bundle(bundle))
    assert f"SHA256SUMS: {bundle}/projector.safetensors is not the file that was sealed" in found
    assert f"SHA256SUMS: {bundle}/clap/preprocessor_config.json was sealed or installed and is missing" in found


def test_sums_are_those_of_sha256sum_and_time_runs_out(tmp_path: Path) -> None:
    (tmp_path / "abc.txt").write_bytes(b"abc")
    seal(tmp_path)
    assert (tmp_path / SUMS).read_text("utf-8") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  abc.txt\n"
    )
    sums = read_sums(tmp_path)
    assert sums is not None
    assert verify(tmp_path, sums).intact == ["abc.txt"]
    assert verify(tmp_path, sums, seconds=-1).unread == ["abc.txt"]
    (tmp_path / SUMS).unlink()
    assert read_sums(tmp_path) is None


@pytest.mark.parametrize("line", ["abc", "0" * 64 + "  ../outside", "0" * 64 + "  /etc/passwd", "0" * 63 + "  a"])
def test_a_list_of_sums_that_is_none_is_refused_by_its_line(tmp_path: Path, line: str) -> None:
    (tmp_path / SUMS).write_text(f"{'0' * 64}  a\n{line}\n", encoding="utf-8")
    with pytest.raises(ChecksumsError, match="line 2"):
        read_sums(tmp_path)


@pytest.mark.slow
def test_the_sum_of_a_packages_file_is_that_of_its_own_record() -> None:
    name = "models/checkpoint.pth"
    assert packaged_sums("aisfx")[name] == file_digest(package_file("aisfx", name))
    assert packaged_sums("no_such_package") == {}


def test_a_licence_that_is_not_stated_is_a_warning(bundle: Path) -> None:
    edit_config(bundle, licences={"CLAP": "MIT", "LLM": "Not stated"})
    checked = look_at(bundle)
    assert checked.good
    assert said(checked) == "licences: that of LLM is not stated"
    edit_config(bundle, licences={})
    assert said(look_at(bundle)) == "licences: no licence is named"


def test_a_bundle_describes_itself(bundle: Path) -> None:
    document = describe(bundle)
    assert document["clap"]["embedding_dim"] == document["projector"]["inputs"] == 16
    assert document["projector"]["audio_tokens"] == 1
    assert document["adapter"]["r"] == 4
    assert document["llm"]["hidden"] == 16
    assert document["clap"]["parameters"] > 10_000
    assert document["parts"]["projector"]["bytes"] > 0
    assert (document["sealed"], document["problems"]) == (False, [])
    (bundle / "bundle.json").write_text("{}", encoding="utf-8")
    with pytest.raises(BundleError, match="format_version: Field required"):
        describe(bundle)


def test_a_name_of_the_hub_is_looked_for_in_its_cache_only(bundle: Path) -> None:
    assert cached("owner/name", "main") is None
    edit_config(bundle, clap={"backend": "laion", "source": "owner/name/laion.pt", "revision": "main"})
    parts = {part.name: part for part in look_at(bundle).parts}
    assert (parts["CLAP"].kind, parts["CLAP"].path, parts["CLAP"].missing) == ("hub", None, None)
    assert parts["CLAP tokenizer"].source == "roberta-base"
