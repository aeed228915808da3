"""Weights come from others: no file of theirs runs anything, and none is asked of the network when it lies here."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from models.bundle.config import BundleError
from models.bundle.drcap_import import Release, import_drcap
from models.bundle.load import load_bundle, load_clap
from models.checkpoints import read_shapes, read_weights
from models.clap.aisfx import AisfxTower
from models.decoder import GenerationOptions
from models.prompt import Prompt
from models.weights import MissingWeights, WrongWeights
from tests.clap_backends import sounds, write_huggingface, write_laion, write_wavcaps
from tests.no_network import refuse_sockets
from tests.unit.models.bundle.test_drcap_import import _release
from tests.whole_bundle import write_whole_bundle

CPU = torch.device("cpu")
SPRUNG = "sprung"


class Trap:
    """Makes a file where it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return (Path.touch, (Path(SPRUNG),))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def set_trap(path: Path) -> None:
    torch.save({"state_dict": {"a": torch.zeros(1)}, "trap": Trap()}, path)


def test_the_trap_works() -> None:
    set_trap(Path("trap.pt"))
    torch.load("trap.pt", weights_only=False)
    assert Path(SPRUNG).exists()


def _laion(folder: Path) -> None:
    section = write_laion(folder)
    set_trap(folder / section.source)
    load_clap(section, folder, CPU)


def _wavcaps(folder: Path) -> None:
    section = write_wavcaps(folder)
    set_trap(folder / section.source)
    load_clap(section, folder, CPU)


def _huggingface(folder: Path) -> None:
    section = write_huggingface(folder)
    (folder / "clap" / "model.safetensors").unlink()
    set_trap(folder / "clap" / "pytorch_model.bin")
    load_clap(section, folder, CPU)


def _embedded(folder: Path) -> None:
    set_trap(folder / "checkpoint.pth")
    AisfxTower.from_file(folder / "checkpoint.pth", CPU)


def _shapes(folder: Path) -> None:
    set_trap(folder / "checkpoint.pt")
    read_shapes(folder / "checkpoint.pt")


def _imported_clap(folder: Path) -> None:
    release = _release(folder)
    set_trap(release.clap)
    import_drcap(release, folder / "out")


def _imported_projector(folder: Path) -> None:
    release = _release(folder)
    set_trap(release.projector)
    import_drcap(release, folder / "out")


def _imported_adapter(folder: Path) -> None:
    release = _release(folder)
    set_trap(release.adapter / "adapter_model.bin")
    import_drcap(release, folder / "out")


def _adapter(folder: Path) -> None:
    bundle = write_whole_bundle(folder / "bundle")
    (bundle / "adapter" / "adapter_model.safetensors").unlink()
    set_trap(bundle / "adapter" / "adapter_model.bin")
    load_bundle(str(bundle), "cpu")


def _llm(folder: Path) -> None:
    bundle = write_whole_bundle(folder / "bundle")
    (bundle / "llm" / "model.safetensors").unlink()
    set_trap(bundle / "llm" / "pytorch_model.bin")
    load_bundle(str(bundle), "cpu")


@pytest.mark.parametrize(
    "load",
    [
        *(_laion, _wavcaps, _huggingface, _embedded, _shapes),
        *(_imported_clap, _imported_projector, _imported_adapter, _adapter, _llm),
    ],
)
def test_code_in_a_file_of_weights_is_not_run_and_the_file_is_refused(here: Path, load: Callable[[Path], None]) -> None:
    with pytest.raises((BundleError, WrongWeights, MissingWeights, ValueError)) as refused:
        load(here)
    assert len(str(refused.value)) > 20
    assert not (here / SPRUNG).exists()


def test_what_is_read_for_its_shapes_is_what_is_read_for_its_numbers(here: Path) -> None:
    write_laion(here)
    weights, shapes = read_weights(here / "laion.pt"), read_shapes(here / "laion.pt")
    assert {name: value.shape for name, value in weights.items()} == {n: v.shape for n, v in shapes.items()}
    assert {value.device.type for value in shapes.values()} == {"meta"}


def test_a_whole_bundle_is_loaded_and_captions_without_a_socket(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = write_whole_bundle(here / "bundle")
    refuse_sockets(monkeypatch)
    loaded = load_bundle(str(bundle), "cpu")
    [vector] = loaded.clap.embed_audio(sounds(loaded.clap.sample_rate)[1:2])
    [caption] = loaded.decoder.generate([Prompt(vector, ("a dog",))], GenerationOptions(max_new_tokens=3))
    assert caption.tokens > 0
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)


def test_a_release_is_imported_without_a_socket(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release: Release = _release(here)
    refuse_sockets(monkeypatch)
    import_drcap(release, here / "out")
    assert load_bundle(str(here / "out"), "cpu").name == "drcap"
