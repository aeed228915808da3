import pytest

from service.settings import SettingsError, known_variables, load_settings, variable_name


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in known_variables():
        monkeypatch.delenv(name, raising=False)


def test_settings_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRCAP_BUNDLE", "bundles/mine")
    monkeypatch.setenv("DRCAP_SERVER__PORT", "9000")
    monkeypatch.setenv("DRCAP_AUDIO__MAX_SECONDS", "12.5")
    settings = load_settings()
    assert settings.bundle == "bundles/mine"
    assert settings.server.port == 9000
    assert settings.audio.max_seconds == 12.5
    assert settings.audio.max_bytes == 64 * 1024 * 1024


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [
        ("DRCAP_AUDIO__MAX_SECOND", "DRCAP_AUDIO__MAX_SECONDS"),
        ("DRCAP_AUDIO_MAX_SECONDS", "DRCAP_AUDIO__MAX_SECONDS"),
        ("DRCAP_PORT", "DRCAP_SERVER__PORT"),
        ("DRCAP_BUNDEL", "DRCAP_BUNDLE"),
        ("drcap_server__hosts", "DRCAP_SERVER__HOST"),
        ("DRCAP_DATASTORE__WRITE_TIMEOUT_SECONDS", "DRCAP_DATASTORE__TIMEOUT_SECONDS"),
    ],
)
def test_an_unknown_variable_is_an_error_that_names_the_nearest(
    monkeypatch: pytest.MonkeyPatch, wrong: str, nearest: str
) -> None:
    monkeypatch.setenv(wrong, "1")
    with pytest.raises(SettingsError, match=f"{wrong} is no setting .* {nearest}$"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DRCAP_SERVER__PORT", "70000"),
        ("DRCAP_SERVER__PORT", "http"),
        ("DRCAP_AUDIO__MAX_SECONDS", "0"),
        ("DRCAP_ADMISSION__CAPTIONS", "none"),
    ],
)
def test_a_wrong_value_is_an_error_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name):
        load_settings()


def test_every_setting_has_a_description_and_a_variable() -> None:
    assert variable_name("audio", "max_seconds") in known_variables()
    assert len(set(known_variables())) == len(known_variables())
