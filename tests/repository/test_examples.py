"""The sample domains and the sample recordings."""

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cli.demo import DOMAINS

ROOT = Path(__file__).resolve().parents[2]


AUDIO = ROOT / "examples" / "audio"


def test_the_shipped_recordings_are_short_mono_loud_enough_and_unclipped() -> None:
    paths = sorted(AUDIO.glob("*.ogg"))
    for path in paths:
        samples, rate = soundfile.read(path)
        assert samples.ndim == 1
        assert 4.0 <= len(samples) / rate <= 8.0
        assert 0.3 < np.abs(samples).max() < 1.0
    assert sum(path.stat().st_size for path in paths) < 1_000_000


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


def _captions(domain: str) -> list[str]:
    return (ROOT / "examples" / "domains" / f"{domain}.txt").read_text(encoding="utf-8").splitlines()


def _words(domain: str) -> list[str]:
    return re.findall(r"[a-z]+", " ".join(_captions(domain)).lower())
