"""A bundle that is not as it should be is refused by name."""

import json
import shutil
from pathlib import Path

import pytest

from models.bundle import BundleError, bundle_folder, read_config
from models.device import choose_device
from models.packages import MissingWeights, package_file


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
