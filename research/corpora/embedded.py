"""Writes the corpora that the embedded bundle is trained on: caption files without remarks on recordings.

python -m research.corpora.embedded --captions FOLDER --out runs/corpora
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from research.corpora.caption_files import read_captions
from research.corpora.composed import class_captions, composed_captions

SHIPPABLE = (
    "mecat_sound",
    "mecat_speech_sound",
    "mecat_speech_music_sound",
    "mecat_music_sound",
    "mecat_music",
    "wavtext5k",
)
"""Caption files whose licences allow shipping weights trained on them (CC BY 3.0, MIT)."""

COMPOSED, CLASSES = "composed", "classes"

# Remarks on the recording and not on the sound, requests to the collector, and file names.
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
_COMPOSED_CAPTIONS = 6000
_JOINED_CAPTIONS = 10_000


def write(
    captions: Annotated[Path, typer.Option(help="Folder of NAME.csv.gz caption files.")],
    out: Annotated[Path, typer.Option(help="Folder to write NAME.txt files to, one caption a line.")],
    seed: int = 1234,
) -> None:
    """Write the corpora the embedded bundle is trained on."""
    out.mkdir(parents=True, exist_ok=True)
    for name, texts in corpora(captions, seed):
        (out / f"{name}.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
        typer.echo(f"{name}: {len(texts)} captions")


def corpora(folder: Path, seed: int) -> Iterator[tuple[str, list[str]]]:
    """Yield name and captions of each shippable corpus in `folder`, and of the composed one."""
    for name in SHIPPABLE:
        yield name, list(_read(folder / f"{name}.csv.gz"))
    yield COMPOSED, composed_captions(_COMPOSED_CAPTIONS, seed)
    yield CLASSES, class_captions(_JOINED_CAPTIONS, seed)


def _read(path: Path) -> Iterator[str]:
    seen: set[str] = set()
    for text in read_captions(path):
        caption = _without_remark(" ".join(text.split()))
        words = len(caption.split())
        key = caption.lower().rstrip(" .")
        if _MIN_WORDS <= words <= _MAX_WORDS and key not in seen and not _NOT_HEARD.search(caption):
            seen.add(key)
            yield caption


def _without_remark(caption: str) -> str:
    """Cut a last phrase that comments on the recording: "Waves break with audio artifacts." -> "Waves break."."""
    if not _NOT_HEARD.search(caption):
        return caption
    tail = _REMARK_TAIL.search(caption)
    if tail is None or not _NOT_HEARD.search(tail.group()):
        return caption
    return caption[: tail.start()] + ("." if caption.endswith(".") else "")


if __name__ == "__main__":
    typer.run(write)
