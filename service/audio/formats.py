"""The accepted audio formats: one table for the recogniser, the API's description, messages, the command and the page.

A new format needs a line here and a way to recognise it in `service.audio.containers`.
"""

from collections.abc import Iterable
from enum import Enum


class AudioFormat(Enum):
    """A format, under the name that users read.

    Attributes:
        suffixes: file names of the format end with one of these, in lower case.
        media_types: types that clients send it with; the first is the usual one.
        codecs: the codecs that are read, where the format may hold others.
    """

    WAV = (".wav", ".wave"), ("audio/wav", "audio/x-wav")
    FLAC = (".flac",), ("audio/flac", "audio/x-flac")
    OGG = (".ogg", ".oga", ".opus"), ("audio/ogg",), "Vorbis, Opus or FLAC"
    MP3 = (".mp3",), ("audio/mpeg",)
    AIFF = (".aif", ".aiff", ".aifc"), ("audio/aiff", "audio/x-aiff")

    def __init__(self, suffixes: tuple[str, ...], media_types: tuple[str, ...], codecs: str = "") -> None:
        self.suffixes = suffixes
        self.media_types = media_types
        self.codecs = codecs


def _listed(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}"


NAMES = _listed(one.name for one in AudioFormat)
NAMES_WITH_CODECS = _listed(f"{one.name} ({one.codecs})" if one.codecs else one.name for one in AudioFormat)
SUFFIXES = frozenset(suffix for one in AudioFormat for suffix in one.suffixes)
MEDIA_RANGES = tuple(dict.fromkeys(f"{kind.partition('/')[0]}/*" for one in AudioFormat for kind in one.media_types))
"""The ranges that hold every media type of the table, such as ``audio/*``."""
