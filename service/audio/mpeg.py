"""MPEG audio frames (MP3 and layers I and II): where each one starts and how long it lasts."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

TRAILING_TAGS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN")


@dataclass(frozen=True)
class Frame:
    """One frame: its bytes, seconds of sound, bytes of side information, and its stream's (version, layer, rate)."""

    size: int
    seconds: float
    side_info: int
    family: tuple[int, int, int]


_BITRATES = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MPEG_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


def frame_at(data: bytes, at: int) -> Frame | None:
    """Return the frame whose header is at `at`, after ISO 11172-3 and 13818-3; None without a valid header."""
    if at + 4 > len(data) or data[at] != 0xFF or data[at + 1] & 0xE0 != 0xE0:
        return None
    version, layer = (data[at + 1] >> 3) & 3, 4 - ((data[at + 1] >> 1) & 3)
    bitrate, rate = data[at + 2] >> 4, (data[at + 2] >> 2) & 3
    if version == 1 or layer == 4 or bitrate in (0, 15) or rate == 3:
        return None
    generation = 1 if version == 3 else 2
    hertz = _MPEG_RATES[version][rate]
    bits = _BITRATES[generation, layer][bitrate - 1] * 1000
    padding = (data[at + 2] >> 1) & 1
    samples = 384 if layer == 1 else 576 if layer == 3 and generation == 2 else 1152
    size = (12 * bits // hertz + padding) * 4 if layer == 1 else samples // 8 * bits // hertz + padding
    mono = data[at + 3] >> 6 == 3
    side_info = {(1, False): 32, (1, True): 17, (2, False): 17, (2, True): 9}[generation, mono]
    return Frame(size, samples / hertz, side_info, (version, layer, hertz))


def frames(data: bytes, at: int) -> Iterator[tuple[int, Frame]]:
    """Yield the consecutive frames from `at` on, with their positions; the last one may be cut."""
    family = None
    while (frame := frame_at(data, at)) is not None and family in (None, frame.family):
        family = frame.family
        yield at, frame
        at += frame.size


def stated_seconds(data: bytes, at: int, first: Frame) -> float | None:
    """Return the seconds that a Xing or Info tag in the first frame states, without that frame; None without a tag."""
    tag = at + 4 + first.side_info
    if data[tag : tag + 4] not in (b"Xing", b"Info") or tag + 12 > len(data) or not data[tag + 7] & 1:
        return None
    return float(struct.unpack_from(">I", data, tag + 8)[0]) * first.seconds


def with_stated_seconds(data: bytes) -> bytes:
    """Return the stream behind a Xing frame that states its number of frames.

    Without one, mpg123 derives the length from the bitrate of the first frame, and stops there.
    """
    start = after_id3(data, 0)
    while start < len(data) and data[start] == 0:
        start += 1
    found = list(frames(data, start))
    if not found or found[0][1].family[1] != 3:  # the tag exists in layer III only
        return data
    # The header of the first frame, without checksum and padding, at a bitrate that has room for the tag.
    header = bytes((data[start], data[start + 1] | 1, 0x90 | data[start + 2] & 0x0C, data[start + 3]))
    room = frame_at(header, 0)
    if room is None:
        return data
    tag = header + bytes(room.side_info) + b"Xing" + struct.pack(">II", 1, len(found))
    return tag.ljust(room.size, b"\0") + data[start:]


def after_id3(data: bytes, at: int) -> int:
    """Return the position after an ID3v2 tag at `at`, or `at` itself without a tag."""
    if data[at : at + 3] != b"ID3" or at + 10 > len(data):
        return at
    a, b, c, d = (byte & 0x7F for byte in data[at + 6 : at + 10])
    footer = 10 if data[at + 5] & 0x10 else 0
    return min(len(data), at + 10 + (a << 21 | b << 14 | c << 7 | d) + footer)
