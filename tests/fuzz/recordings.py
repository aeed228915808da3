"""Recordings that lie and recordings that are damaged, made of the sample recordings of the repository."""

import io
import struct
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
from hypothesis import strategies as st

from tests.recordings import encode

AUDIO = Path(__file__).resolve().parents[2] / "examples" / "audio"
KINDS = ("WAV", "FLAC", "OGG", "MP3", "AIFF")
_RATE = 16_000
_MOST = 0xFFFFFFFF
_EXTREMES = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFF)
_CHUNKS = (b"fmt ", b"data", b"LIST", b"COMM", b"SSND", b"fLaC", b"OggS", b"Xing", b"ID3", b"RIFF", b"FORM", b"ds64")


@cache
def whole(kind: str, number: int = 0) -> bytes:
    """A piece of a second of one of the sample recordings in a format of libsndfile."""
    paths = sorted(AUDIO.glob("*.ogg"))
    samples, rate = soundfile.read(paths[number % len(paths)], dtype="float32", always_2d=True)
    step = max(1, rate // _RATE)
    return encode(np.ascontiguousarray(samples[: rate // 3 : step]), rate // step, kind)


def claiming(kind: str, seconds: int) -> bytes:
    """A third of a second whose header states so many seconds."""
    data = bytearray(whole(kind))
    rate = soundfile.info(io.BytesIO(data)).samplerate
    if kind == "WAV":
        at = data.index(b"data")
        bytes_a_second = struct.unpack_from("<I", data, data.index(b"fmt ") + 16)[0]
        struct.pack_into("<I", data, at + 4, min(_MOST, seconds * bytes_a_second))
    elif kind == "AIFF":
        struct.pack_into(">I", data, data.index(b"SSND") + 4, min(_MOST, seconds * rate * 2))
        struct.pack_into(">I", data, data.index(b"COMM") + 10, seconds * rate)
    elif kind == "FLAC":
        packed = int.from_bytes(data[18:26], "big")
        frames = seconds * (packed >> 44)
        data[18:26] = (packed >> 36 << 36 | frames).to_bytes(8, "big")
    elif kind == "OGG":
        last = data.rindex(b"OggS")
        struct.pack_into("<q", data, last + 6, seconds * rate)
        return with_page_checksums(bytes(data))
    else:
        at = data.index(b"Info") if b"Info" in data else data.index(b"Xing")
        struct.pack_into(">I", data, at + 8, seconds * rate // 1152)
    return bytes(data)


def with_page_checksums(data: bytes) -> bytes:
    """An Ogg file whose pages are as damaged as before but have the checksums that belong to them."""
    fixed, at = bytearray(data), 0
    while fixed[at : at + 4] == b"OggS" and at + 27 <= len(fixed):
        segments = fixed[at + 26]
        end = at + 27 + segments + sum(fixed[at + 27 : at + 27 + segments])
        if end > len(fixed):
            break
        fixed[at + 22 : at + 26] = bytes(4)
        fixed[at + 22 : at + 26] = _crc(bytes(fixed[at:end]))
        at = end
    return bytes(fixed)


def _crc(page: bytes) -> bytes:
    # RFC 3533's has the polynomial of zlib's, with the bits of each byte the other way round and nothing inverted.
    mirror = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
    value = zlib.crc32(page.translate(mirror), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return value.to_bytes(4, "little").translate(mirror)[::-1]


def _flip(data: bytearray, draw: st.DrawFn) -> bytearray:
    for _ in range(draw(st.integers(1, 8))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return data


def _cut(data: bytearray, draw: st.DrawFn) -> bytearray:
    return data[: draw(st.integers(0, len(data)))]


def _drop_start(data: bytearray, draw: st.DrawFn) -> bytearray:
    return data[draw(st.integers(0, len(data))) :]


def _splice(data: bytearray, draw: st.DrawFn) -> bytearray:
    other = whole(KINDS[draw(st.integers(0, len(KINDS) - 1))], draw(st.integers(0, 11)))
    return data[: draw(st.integers(0, len(data)))] + other[draw(st.integers(0, len(other))) :]


def _repeat(data: bytearray, draw: st.DrawFn) -> bytearray:
    start = draw(st.integers(0, len(data)))
    part = data[start : start + draw(st.integers(0, 2000))]
    return data[:start] + part * draw(st.integers(2, 20)) + data[start:]


def _blank(data: bytearray, draw: st.DrawFn) -> bytearray:
    start, length = draw(st.integers(0, len(data))), draw(st.integers(1, 400))
    data[start : start + length] = bytes([draw(st.sampled_from((0, 0xFF)))]) * len(data[start : start + length])
    return data


def _lie(data: bytearray, draw: st.DrawFn) -> bytearray:
    """Write an extreme number into the header, or behind the name of a chunk."""
    named = [at + 4 for name in _CHUNKS if (at := data.find(name)) >= 0]
    at = draw(st.sampled_from([0, *named])) + draw(st.integers(0, 48))
    width, value = draw(st.sampled_from((1, 2, 4, 8))), draw(st.sampled_from(_EXTREMES))
    number = (value % (1 << (8 * width))).to_bytes(width, "little")
    data[at : at + width] = number if draw(st.booleans()) else number[::-1]
    return data


_MUTATIONS = (_flip, _cut, _drop_start, _splice, _repeat, _blank, _lie, _lie)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A recording in any of the formats after up to four damages; of Ogg, mostly with checksums that fit them."""
    kind = draw(st.sampled_from(KINDS))
    data = bytearray(whole(kind, draw(st.integers(0, 11))))
    for mutate in draw(st.lists(st.sampled_from(_MUTATIONS), max_size=4)):
        if data:
            data = mutate(data, draw)
    return with_page_checksums(bytes(data)) if kind == "OGG" and draw(st.integers(0, 3)) else bytes(data)


claims = st.builds(claiming, st.sampled_from(KINDS), st.sampled_from((0, 1, 36_000, 100_000)))
recordings = st.one_of(damaged(), damaged(), damaged(), damaged(), claims, st.binary(max_size=3000))
