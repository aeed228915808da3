"""The sample domains, the sample recordings and the files that package the service."""

import re
import tomllib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml  # type: ignore[import-untyped]

from cli.demo import DOMAINS
from examples.make_audio import rendered, write_all
from examples.sounds import SOUNDS
from examples.synthesis import RATE, Partial, Signal, Tape, band_noise, bump, slow_noise, struck, swept

ROOT = Path(__file__).resolve().parents[2]
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


def test_the_shipped_recordings_are_short_mono_loud_enough_and_unclipped() -> None:
    paths = sorted(AUDIO.glob("*.ogg"))
    for path in paths:
        samples, rate = soundfile.read(path)
        assert samples.ndim == 1
        assert 4.0 <= len(samples) / rate <= 8.0
        assert 0.3 < np.abs(samples).max() < 1.0
    assert sum(path.stat().st_size for path in paths) < 1_000_000


def test_another_seed_gives_another_rain() -> None:
    assert not np.allclose(rendered("rain"), rendered("rain", seed=1))


def test_a_recording_does_not_change_when_another_one_was_rendered_before() -> None:
    first = rendered("clock")
    rendered("footsteps")
    assert np.array_equal(first, rendered("clock"))


def test_a_bell_rings_at_its_partials_and_decays() -> None:
    partials: tuple[Partial, ...] = ((440.0, 1.0, 0.3),)
    sound = struck(partials, 1.0, tune=2.0)
    assert _loudest_hertz(sound) == pytest.approx(880, abs=2)
    assert np.abs(sound[-4_410:]).max() < 0.1 * np.abs(sound[:4_410]).max()


def test_band_noise_stays_in_its_band() -> None:
    power = np.abs(np.fft.rfft(band_noise(np.random.default_rng(0), RATE, 1_000, 2_000))) ** 2
    assert power[700:2_800].sum() > 0.95 * power.sum()


def test_a_swept_tone_drops_the_partials_that_would_fold_back() -> None:
    high = np.full(RATE, 15_000.0)
    assert np.array_equal(swept(high, [1.0, 1.0]), swept(high, [1.0]))


def test_slow_noise_and_bump_stay_between_0_and_1() -> None:
    for curve in (slow_noise(np.random.default_rng(0), RATE, 5.0), bump(RATE, rise=0.2)):
        assert curve.min() >= 0.0
        assert curve.max() <= 1.0


def test_a_sound_that_runs_over_the_end_of_the_tape_is_cut() -> None:
    tape = Tape(1.0, np.random.default_rng(0))
    tape.lay(np.ones(RATE), at=0.75)
    assert tape.signal.sum() == RATE // 4
    tape.lay(np.ones(RATE), at=2.0)
    assert tape.signal.sum() == RATE // 4


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_sample_domain_holds_some_hundreds_of_distinct_short_captions(domain: str) -> None:
    captions = _captions(domain)
    assert 300 <= len(captions) <= 600
    assert len({caption.casefold() for caption in captions}) == len(captions)
    for caption in captions:
        assert 3 <= len(caption.split()) <= 25, caption
        assert caption == caption.strip()
        assert caption.isascii(), caption


def test_the_two_sample_domains_speak_differently_of_the_same_sounds() -> None:
    notes, tales = (_words(domain) for domain in DOMAINS)
    for sound in ("rain", "siren", "bell", "footsteps", "engine", "thunder", "telephone", "fire", "clock"):
        assert sound in notes
        assert sound in tales
    pairs, other_pairs = (set(pairwise(words)) for words in (notes, tales))
    assert len(pairs & other_pairs) < 0.2 * min(len(pairs), len(other_pairs))


def test_everything_the_dockerfile_copies_exists_and_passes_the_dockerignore() -> None:
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
    passed = set(re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE))
    copied = [
        source
        for arguments in re.findall(r"^COPY (?!--from)(.+)$", dockerfile, re.MULTILINE)
        for source in arguments.split()[:-1]
    ]
    assert copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert source in passed, source


def test_the_container_is_not_root_and_reports_readiness() -> None:
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
    last_stage = dockerfile.rsplit("\nFROM ", 1)[1]
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", last_stage, re.MULTILINE)
    assert "/readyz" in last_stage
    assert "--require-hashes --requirement weights.txt" in dockerfile


def test_compose_keeps_the_datastore_in_a_volume_that_the_service_writes_to() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    service = compose["services"]["drcap"]
    volume, folder = service["volumes"][0].split(":")
    assert volume in compose["volumes"]
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
    assert f"DRCAP_DATASTORE__PATH={folder}/" in dockerfile
    assert (ROOT / service["build"]["dockerfile"]).is_file()
    assert service["read_only"] is True


def test_every_package_of_the_distribution_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    missing = [
        package
        for package in project["tool"]["setuptools"]["packages"]
        if not (ROOT / package.replace(".", "/")).is_dir()
    ]
    assert not missing


def test_every_direct_dependency_is_pinned_exactly() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = {
        re.split(r"[<>=\[ ;]", requirement)[0].replace("_", "-").lower()
        for requirement in (*project["dependencies"], *extras["dev"], *extras["eval"], *extras["train"])
    }
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.split("==")[0].replace("_", "-").lower() for line in lines if "==" in line}
    assert wanted <= pinned


def _captions(domain: str) -> list[str]:
    return (ROOT / "examples" / "domains" / f"{domain}.txt").read_text(encoding="utf-8").splitlines()


def _words(domain: str) -> list[str]:
    return re.findall(r"[a-z]+", " ".join(_captions(domain)).lower())


def _loudest_hertz(sound: Signal) -> float:
    return float(np.abs(np.fft.rfft(sound)).argmax() * RATE / len(sound))
