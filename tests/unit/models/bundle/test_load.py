"""A bundle that is not as it should be is refused by name; one that is loads whatever LLM it names."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from models.bundle.config import BundleError, RetrievalSection, bundle_folder, read_config
from models.bundle.load import load_bundle
from models.bundle.loaded import LoadedBundle
from models.bundle.warming import warm
from models.conditioning.projection import Projection
from models.decoder import GenerationOptions
from models.device.int8 import Int8Linear, int8_supported
from models.device.plan import Wishes, choose_device
from models.llm.projector import Projector
from models.prompt import Prompt
from models.weights import MissingWeights, package_file
from tests.fakes import FakeBundle, FakeClap
from tests.tiny_bundle import write_tiny_bundle
from tests.tiny_llms import CHAT, gpt_neox, llama, opt, save_llm


def _bundle(tmp_path: Path, **changes: object) -> Path:
    folder = tmp_path / "bundle"
    shutil.copytree(bundle_folder("embedded"), folder, ignore=shutil.ignore_patterns("*.safetensors"))
    config = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    (folder / "bundle.json").write_text(json.dumps({**config, **changes}), encoding="utf-8")
    return folder


def test_the_embedded_bundle_describes_itself() -> None:
    config = read_config(bundle_folder("embedded"))
    assert config.name == "embedded"
    assert config.licences


def test_a_folder_without_a_bundle_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=str(tmp_path)):
        read_config(tmp_path)


def test_a_bundle_that_is_not_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bundle.json").write_text("{", encoding="utf-8")
    with pytest.raises(BundleError, match=r"not a valid bundle\.json"):
        read_config(tmp_path)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"format_version": 2}, "format_version"),
        ({"unknown": 1}, "unknown"),
        ({"retrieval": {"k": -1, "neighbours": 512}}, "retrieval.k"),
        ({"projection": {"temperature": 0}}, "projection.temperature"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, changes: dict[str, object], named: str) -> None:
    with pytest.raises(BundleError, match=named):
        read_config(_bundle(tmp_path, **changes))


def test_a_package_that_is_not_installed_is_named_with_what_to_do() -> None:
    with pytest.raises(MissingWeights, match=r"no_such_package.*weights\.txt"):
        package_file("no_such_package", "file")


def test_a_device_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="toaster"):
        choose_device("toaster")


def test_cpu_is_given_as_asked() -> None:
    assert choose_device("cpu").device.type == "cpu"


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> FakeClap:
    """A CLAP that needs no weights, in every bundle."""
    clap = FakeClap()
    monkeypatch.setattr("models.bundle.load.load_clap", lambda *_: clap)
    return clap


def own_llm(folder: Path, make: Callable[[], Any] = llama, hidden: int = 16, **changes: dict[str, Any]) -> str:
    """A bundle with an LLM of one's own in its folder, a projector, and no adapter."""
    folder.mkdir(exist_ok=True)
    write_tiny_bundle(folder)
    shutil.rmtree(folder / "llm")
    save_llm(folder / "mine", make, CHAT)
    torch.manual_seed(3)
    projector = Projector(FakeClap.embedding_dim, 8, hidden, 1)
    save_file(projector.state_dict(), folder / "projector.safetensors")
    config = json.loads((folder / "bundle.json").read_text())
    config["llm"] = {"source": "mine", "revision": "none", "adapter": False}
    for section, fields in changes.items():
        config[section] |= fields
    (folder / "bundle.json").write_text(json.dumps(config))
    return str(folder)


def captions(bundle: LoadedBundle) -> list[str]:
    vectors = bundle.clap.embed_text(["rain", "a bell", "wind"])
    asked = [Prompt(vector, ("It rings.",) * at) for at, vector in enumerate(vectors)]
    return [one.text for one in bundle.decoder.generate(asked, GenerationOptions(max_new_tokens=8))]


@pytest.mark.parametrize(("make", "hidden"), [(llama, 16), (gpt_neox, 16), (opt, 8)])
def test_a_bundle_writes_with_an_llm_of_ones_own(
    tmp_path: Path, heard: FakeClap, make: Callable[[], Any], hidden: int
) -> None:
    loaded = load_bundle(own_llm(tmp_path, make, hidden), "cpu")
    assert any(captions(loaded))
    assert loaded.plan is not None
    assert loaded.plan.dtype.value == torch.float32


def test_a_setting_is_stronger_than_what_the_bundle_says(tmp_path: Path, heard: FakeClap) -> None:
    if not int8_supported():
        pytest.skip("this build of torch has no int8 kernel")

    def layers(loaded: LoadedBundle) -> int:
        decoder: Any = loaded.decoder
        return sum(isinstance(layer, Int8Linear) for layer in decoder._llm.model.modules())

    source = own_llm(tmp_path, gpt_neox, llm={"quantisation": "int8"})
    assert layers(load_bundle(source, "cpu")) == 9
    assert layers(load_bundle(source, wishes=Wishes("cpu", quantisation="none"))) == 0
    source = own_llm(tmp_path, gpt_neox)
    assert layers(load_bundle(source, "cpu")) == 0
    assert layers(load_bundle(source, wishes=Wishes("cpu", quantisation="int8"))) == 9


def test_a_bundle_may_ask_for_the_chat_of_its_llm(tmp_path: Path, heard: FakeClap) -> None:
    plain = captions(load_bundle(own_llm(tmp_path / "plain"), "cpu"))
    chat = captions(load_bundle(own_llm(tmp_path / "chat", prompt={"chat": {}}), "cpu"))
    assert plain != chat


def test_a_bundle_in_another_type_writes_in_that_type(tmp_path: Path, heard: FakeClap) -> None:
    loaded = load_bundle(own_llm(tmp_path, llm={"dtype": "bfloat16"}), "cpu")
    decoder: Any = loaded.decoder
    assert decoder._llm.model.dtype == torch.bfloat16
    assert any(captions(loaded))


def test_a_bundle_whose_adapter_is_missing_is_told_how_to_say_that_there_is_none(
    tmp_path: Path, heard: FakeClap
) -> None:
    with pytest.raises(BundleError, match=r"adapter is missing.*set llm\.adapter to false"):
        load_bundle(own_llm(tmp_path, llm={"adapter": True}), "cpu")


def test_an_llm_that_is_a_pickle_is_refused_by_the_bundle(tmp_path: Path, heard: FakeClap) -> None:
    source = own_llm(tmp_path)
    (tmp_path / "mine" / "model.safetensors").rename(tmp_path / "mine" / "pytorch_model.bin")
    with pytest.raises(BundleError, match=r"the LLM cannot be used: .*pytorch_model\.bin"):
        load_bundle(source, "cpu")


def test_a_projector_for_another_llm_is_refused(tmp_path: Path, heard: FakeClap) -> None:
    with pytest.raises(BundleError, match=r"projector.*not a multiple of the LLM's 16"):
        load_bundle(own_llm(tmp_path, hidden=9), "cpu")


def test_a_file_that_is_no_safetensors_is_named(tmp_path: Path, heard: FakeClap) -> None:
    source = own_llm(tmp_path)
    (tmp_path / "projector.safetensors").write_bytes(b"no header")
    with pytest.raises(BundleError, match="the projector of"):
        load_bundle(source, "cpu")


def test_a_plan_is_logged_once_a_decision_a_line(
    tmp_path: Path, heard: FakeClap, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "models.bundle.load"):
        loaded = load_bundle(own_llm(tmp_path), "cpu")
    assert loaded.plan is not None
    assert [record.message for record in caplog.records if record.name == "models.bundle.load"] == loaded.plan.lines()


def test_every_copy_of_the_decoder_may_write_as_many_batches_as_the_first(tmp_path: Path, heard: FakeClap) -> None:
    first, second = FakeBundle().decoder, FakeBundle().decoder
    projection, retrieval = Projection(0.05), RetrievalSection(k=1, neighbours=1)
    whole = FakeBundle("name", heard, first, projection, retrieval, writers=2, copies=(second,))
    assert list(map(id, whole.decoders)) == list(map(id, (first, second, first, second)))


def test_warming_up_hears_reads_and_writes_a_little(tmp_path: Path, heard: FakeClap) -> None:
    loaded = load_bundle(own_llm(tmp_path), "cpu")
    assert warm(loaded) > 0


def test_a_bundle_that_cannot_write_does_not_warm_up(tmp_path: Path, heard: FakeClap) -> None:
    loaded = load_bundle(own_llm(tmp_path), "cpu")
    decoder: Any = loaded.decoder
    decoder._projector = None
    with pytest.raises(TypeError):
        warm(loaded)
