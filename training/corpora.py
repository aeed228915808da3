"""The text the decoder is trained on: caption files, cleaned of what a caption should not teach."""

import csv
import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from training.composed import composed_captions

SHIPPABLE = (
    "mecat_sound",
    "mecat_speech_sound",
    "mecat_speech_music_sound",
    "mecat_music_sound",
    "mecat_music",
    "wavtext5k",
)
"""Caption files whose licences allow shipping what is trained on them (CC BY 3.0, MIT)."""

COMPOSED = "composed"

# Remarks on the recording rather than on the sound, requests to the collector, and file names.
_NOT_HEARD = re.compile(
    r"artifact|distort|quality|fidelity|interference|recording|recorded|requested|download|sound ?effect|"
    r"background noise|degrad|technical|environmental noise|noisy|reverb|\bmp3\b|\bwav\b|_|http|@|free\b|you\b|our\b",
    re.IGNORECASE,
)
_REMARK_TAIL = re.compile(
    r"\s*,?\s+(?:with|amid|amidst|featuring|marred by|accompanied by|in|and|under|over|alongside)\s+"
    r"(?:(?!\b(?:with|amid|amidst|featuring|marred|accompanied|in|and|under|over|alongside)\b).)*$",
    re.IGNORECASE,
)
_MAX_WORDS = 24
_MIN_WORDS = 3


@dataclass(frozen=True)
class Corpus:
    """Distinct captions of one manner of speaking, and how often it is drawn relative to its size."""

    name: str
    captions: tuple[str, ...]
    weight: float


def training_corpora(folder: Path, seed: int) -> list[Corpus]:
    """The shippable corpora under `folder` (NAME.csv.gz with a `caption` column) and the composed captions.

    Natural sentences weigh more than telegraphic ones, sounds more than music.
    """
    weights = {"mecat_music": 0.25, "wavtext5k": 2.5, "mecat_sound": 1.5}
    corpora = [Corpus(name, tuple(_read(folder / f"{name}.csv.gz")), weights.get(name, 1.0)) for name in SHIPPABLE]
    corpora.append(Corpus(COMPOSED, tuple(composed_captions(6000, seed)), 1.0))
    return corpora


def _read(path: Path) -> Iterator[str]:
    seen: set[str] = set()
    with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            caption = _without_remark(" ".join(row["caption"].split()))
            words = len(caption.split())
            key = caption.lower().rstrip(" .")
            if _MIN_WORDS <= words <= _MAX_WORDS and key not in seen and not _NOT_HEARD.search(caption):
                seen.add(key)
                yield caption


def _without_remark(caption: str) -> str:
    """Cut a last phrase that remarks on the recording: "Waves break with audio artifacts." -> "Waves break."."""
    if not _NOT_HEARD.search(caption):
        return caption
    tail = _REMARK_TAIL.search(caption)
    if tail is None or not _NOT_HEARD.search(tail.group()):
        return caption
    return caption[: tail.start()] + ("." if caption.endswith(".") else "")
