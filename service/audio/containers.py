"""Audio containers: recognises the container of some bytes, and whether the recording is complete.

libsndfile silently reads a cut file up to the cut, so this module compares the length that a container states with the
bytes that arrived. It knows the byte layout of containers, but no samples.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from service.audio import mpeg
from service.audio.formats import AudioFormat

# Recorders that write to a pipe cannot fill in a length afterwards; they leave a value from here on.
_STREAMED = 0x7FFFF000
# Less than a frame may be missing. Compressed WAV has blocks of many frames, so a frame counts as at most this.
_LARGEST_FRAME = 64
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class UnknownContainer(Exception):
    """The bytes are not in an accepted container; the message says what they look like."""


class BrokenContainer(Exception):
    """The structure of the container is damaged."""


@dataclass(frozen=True)
class Container:
    """A container's statements about itself.

    Attributes:
        format: the format that was recognised.
        stated_seconds: the duration in its header; None without one.
        cut: how it was cut, e.g. ``"ended after 1.20 s of 5.00 s"``; None if it is complete.
    """

    format: AudioFormat
    stated_seconds: float | None = None
    cut: str | None = None


def inspect(data: bytes) -> Container:
    """Recognise the container, and read its statements about itself.

    Raises:
        UnknownContainer: the bytes are not in an accepted container.
        BrokenContainer: its structure is damaged.
    """
    if data[:4] in (b"RIFF", b"RIFX", b"RF64") and data[8:12] == b"WAVE":
        return _inspect_wav(data)
    if data[:4] == b"FORM" and data[8:12] in (b"AIFF", b"AIFC"):
        return _inspect_aiff(data)
    body = mpeg.after_id3(data, 0)
    if data[body : body + 4] == b"fLaC":
        return _inspect_flac(data, body)
    if data[:4] == b"OggS":
        return _inspect_ogg(data)
    if body < len(data) and (body > 0 or mpeg.frame_at(data, 0) is not None):
        return _inspect_mp3(data, body)
    if body > 0:
        raise BrokenContainer("it ends inside its ID3 tag")
    raise UnknownContainer(_looks_like(data))


def _looks_like(data: bytes) -> str:
    others = {
        "an MP4 or M4A file": data[4:8] == b"ftyp",
        "a WebM or Matroska file": data[:4] == b"\x1a\x45\xdf\xa3",
        "an AAC stream": data[:2] in (b"\xff\xf1", b"\xff\xf9"),
        "a WMA or ASF file": data[:4] == b"\x30\x26\xb2\x75",
        "an AU file": data[:4] == b".snd",
        "a CAF file": data[:4] == b"caff",
        "a RIFF file that is not WAVE": data[:4] == b"RIFF",
        "JSON": data.lstrip()[:1] in (b"{", b"["),
    }
    return next((name for name, matches in others.items() if matches), "unknown data")


def _seconds_missing(present: float, stated: float, rate: float) -> str:
    if rate <= 0:
        return "ended before the end its header states"
    return f"ended after {present / rate:.2f} s of {stated / rate:.2f} s"


def _chunks(data: bytes, order: str) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name, start and stated size of each chunk of a RIFF or IFF file, in its byte order."""
    at = 12
    while at + 8 <= len(data):
        size = struct.unpack_from(f"{order}I", data, at + 4)[0]
        yield data[at : at + 4], at + 8, size
        at += 8 + size + size % 2


def _inspect_wav(data: bytes) -> Container:
    order = ">" if data[:4] == b"RIFX" else "<"
    byte_rate, block, long_size = 0, 1, None
    for name, start, size in _chunks(data, order):
        if name == b"fmt " and start + 16 <= len(data):
            byte_rate, block = struct.unpack_from(f"{order}IH", data, start + 8)
        elif name == b"ds64" and start + 16 <= len(data):
            long_size = struct.unpack_from("<Q", data, start + 8)[0]
        elif name == b"data":
            stated = long_size if long_size is not None and size == 0xFFFFFFFF else size
            return _compared(AudioFormat.WAV, stated, len(data) - start, byte_rate, block)
    raise BrokenContainer("it ends before its data chunk")


def _inspect_aiff(data: bytes) -> Container:
    rate_bytes, block = 0.0, 1
    for name, start, size in _chunks(data, ">"):
        if name == b"COMM" and start + 18 <= len(data):
            channels, _, bits = struct.unpack_from(">HIH", data, start)
            block = max(1, channels * ((bits + 7) // 8))
            rate_bytes = _extended_float(data[start + 8 : start + 18]) * block
        elif name == b"SSND":
            return _compared(AudioFormat.AIFF, max(0, size - 8), max(0, len(data) - start - 8), rate_bytes, block)
    raise BrokenContainer("it ends before its sound chunk")


def _compared(format: AudioFormat, stated: int, present: int, rate: float, block: int) -> Container:
    if stated >= _STREAMED or rate <= 0:
        return Container(format)
    cut = None
    if stated - present >= min(max(1, block), _LARGEST_FRAME):
        cut = _seconds_missing(present, stated, rate)
    return Container(format, stated_seconds=stated / rate, cut=cut)


def _extended_float(raw: bytes) -> float:
    exponent, mantissa = struct.unpack(">HQ", raw)
    power = (exponent & 0x7FFF) - 16383 - 63
    return float(mantissa) * 2.0**power if -1000 < power < 200 else 0.0


def _inspect_flac(data: bytes, at: int) -> Container:
    info = data[at + 8 : at + 8 + 34]
    if len(info) < 34 or data[at + 4] & 0x7F != 0:
        raise BrokenContainer("its STREAMINFO is missing")
    packed = int.from_bytes(info[10:18], "big")
    rate, frames = packed >> 44, packed & ((1 << 36) - 1)
    if rate == 0:
        raise BrokenContainer("its STREAMINFO states a rate of 0 Hz")
    return Container(AudioFormat.FLAC, stated_seconds=frames / rate if frames else None)


def _inspect_ogg(data: bytes) -> Container:
    at, last_flags = 0, 0
    while data[at : at + 4] == b"OggS":
        if at + 27 > len(data):
            return Container(AudioFormat.OGG, cut="ended inside the header of a page")
        last_flags, segments = data[at + 5], data[at + 26]
        end = at + 27 + segments + sum(data[at + 27 : at + 27 + segments])
        if at + 27 + segments > len(data) or end > len(data):
            return Container(AudioFormat.OGG, cut="ended inside a page")
        if _ogg_checksum(data[at:end]) != struct.unpack_from("<I", data, at + 22)[0]:
            raise BrokenContainer(f"the page at byte {at} does not match its checksum")
        at = end
    if at < len(data) and data[at:].strip(b"\0"):
        raise BrokenContainer(f"no page starts at byte {at}")
    # A flag marks the last page of every logical stream.
    return Container(AudioFormat.OGG, cut=None if last_flags & 4 else "ended without the page that marks the end")


def _ogg_checksum(page: bytes) -> int:
    """CRC-32 of RFC 3533, section 6.

    It has zlib's polynomial, but reads the bits of each byte in the other order and inverts nothing, so zlib computes
    it over mirrored bytes.
    """
    blank = page[:22] + b"\0\0\0\0" + page[26:]
    mirrored = zlib.crc32(blank.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(mirrored.to_bytes(4, "little").translate(_REVERSED), "big")


def _inspect_mp3(data: bytes, body: int) -> Container:
    while body < len(data) and data[body] == 0:
        body += 1
    frames = list(mpeg.frames(data, body))
    if not frames:
        raise BrokenContainer("no MP3 frame follows its tag")
    end = frames[-1][0] + frames[-1][1].size
    if body == 0 and len(frames) == 1 and end < len(data):
        raise UnknownContainer(_looks_like(data))
    seconds = sum(frame.seconds for _, frame in frames)
    stated = mpeg.stated_seconds(data, *frames[0])
    if stated is not None and seconds < stated:
        return Container(AudioFormat.MP3, stated, cut=f"ended after {seconds:.2f} s of {stated:.2f} s")
    if stated is not None and seconds > stated + 3 * frames[0][1].seconds:
        raise BrokenContainer(f"it states {stated:.2f} s but holds {seconds:.2f} s")
    if end > len(data):
        whole = seconds - frames[-1][1].seconds
        return Container(AudioFormat.MP3, stated, cut=f"ended inside the frame that starts at {whole:.2f} s")
    rest = data[end:]
    if rest.strip(b"\0") and not rest.startswith(mpeg.TRAILING_TAGS):
        raise BrokenContainer(f"the data after {seconds:.2f} s is not an MP3 frame")
    return Container(AudioFormat.MP3, stated)
