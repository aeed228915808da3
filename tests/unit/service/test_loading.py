"""What the settings ask of the models."""

import pytest

from models.device.plan import SettingNames, Wishes
from service.loading import wishes
from service.settings import SettingsError, known_variables, load_settings


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in known_variables():
        monkeypatch.delenv(name, raising=False)


def test_without_settings_the_bundle_and_the_machine_decide() -> None:
    assert wishes(load_settings()) == Wishes("auto")


def test_every_setting_about_devices_is_a_wish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRCAP_DEVICE", "cuda:1")
    monkeypatch.setenv("DRCAP_CLAP__DEVICE", "cpu")
    monkeypatch.setenv("DRCAP_LLM__DEVICE", "cuda:0,cuda:1")
    monkeypatch.setenv("DRCAP_LLM__DTYPE", "bfloat16")
    monkeypatch.setenv("DRCAP_LLM__QUANTISATION", "int4")
    assert wishes(load_settings()) == Wishes("cuda:1", "cpu", "cuda:0,cuda:1", "bfloat16", "int4")


def test_messages_of_the_models_name_the_variables_of_the_service() -> None:
    assert wishes(load_settings()).names == SettingNames(
        "DRCAP_CLAP__DEVICE", "DRCAP_LLM__DEVICE", "DRCAP_LLM__DTYPE", "DRCAP_LLM__QUANTISATION", "DRCAP_CACHE"
    )


@pytest.mark.parametrize(("name", "value"), [("DRCAP_LLM__QUANTISATION", "int2"), ("DRCAP_LLM__DTYPE", "float64")])
def test_what_no_machine_has_is_refused_at_start(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name):
        load_settings()
