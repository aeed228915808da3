from pathlib import Path

import numpy as np
import pytest
import soundfile

from examples.make_audio import rendered, write_all
from examples.sounds import SOUNDS
from examples.synthesis import RATE

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]


AUDIO = ROOT / "examples" / "audio"


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audio")
    list(write_all(folder))
    return folder


def test_every_recipe_has_a_shipped_recording_and_no_recording_is_without_a_recipe() -> None:
    assert {path.stem for path in AUDIO.iterdir()} == set(SOUNDS)


@pytest.mark.parametrize("name", sorted(SOUNDS))
def test_a_rebuilt_recording_sounds_as_the_shipped_one(name: str, rebuilt: Path) -> None:
    shipped, shipped_rate = soundfile.read(AUDIO / f"{name}.ogg", dtype="float64")
    again, rate = soundfile.read(rebuilt / f"{name}.ogg", dtype="float64")
    assert rate == shipped_rate == RATE
    assert again.shape == shipped.shape
    # Another Vorbis encoder rounds differently; another synthesis would not come near.
    assert np.sqrt(np.mean((again - shipped) ** 2)) < 0.05 * np.sqrt(np.mean(shipped**2))


def test_another_seed_gives_another_rain() -> None:
    assert not np.allclose(rendered("rain"), rendered("rain", seed=1))


def test_a_recording_does_not_change_when_another_one_was_rendered_before() -> None:
    first = rendered("clock")
    rendered("footsteps")
    assert np.array_equal(first, rendered("clock"))
