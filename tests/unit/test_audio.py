import tracemalloc

import numpy as np
import pytest

from service.audio.decoding import Recording, decode
from service.audio.rumble import without_rumble
from service.errors import EmptyAudio, NotAudio, TooLarge, UnreadableAudio
from service.settings import AudioSettings
from tests.recordings import Samples, encode, tone, wav

LIMITS = AudioSettings()
RATE = 16_000


def strongest(samples: Samples, rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * rate / len(samples))


def cleared(samples: Samples) -> Samples:
    """What is left of samples at `RATE` without what lies below hearing."""
    return np.concatenate(list(without_rumble([samples], RATE)))


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [
        ("WAV", "PCM_16"),
        ("WAV", "PCM_24"),
        ("WAV", "PCM_U8"),
        ("WAV", "FLOAT"),
        ("WAV", "IMA_ADPCM"),
        ("WAVEX", "PCM_16"),
        ("RF64", "PCM_16"),
        ("FLAC", "PCM_16"),
        ("FLAC", "PCM_24"),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("MP3", None),
        ("AIFF", "PCM_16"),
    ],
)
def test_every_accepted_format_is_heard_whole(kind: str, subtype: str | None) -> None:
    recording = decode(encode(tone(1.5), RATE, kind, subtype), RATE, LIMITS)
    assert recording.duration == pytest.approx(1.5, abs=0.05)
    assert strongest(recording.samples, RATE) == pytest.approx(440, abs=2)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000])
def test_every_rate_arrives_at_the_rate_of_the_clap(rate: int) -> None:
    recording = decode(encode(tone(0.5, rate), rate), 32_000, LIMITS)
    assert len(recording.samples) == pytest.approx(16_000, abs=2)
    assert recording.samples.dtype == np.float32
    assert strongest(recording.samples, 32_000) == pytest.approx(440, abs=3)


@pytest.mark.parametrize("rate", [4_000, 200_000])
def test_a_rate_out_of_range_is_refused_with_the_range(rate: int) -> None:
    with pytest.raises(UnreadableAudio, match=f"{rate} Hz; 8000 to 192000 Hz"):
        decode(encode(tone(0.5, rate), rate), RATE, LIMITS)


@pytest.mark.parametrize(("kind", "channels"), [("WAV", 2), ("WAVEX", 6), ("FLAC", 6), ("WAVEX", 8)])
def test_equal_channels_sound_like_one(kind: str, channels: int) -> None:
    many = decode(encode(tone(0.5, channels=channels), RATE, kind), RATE, LIMITS)
    one = decode(encode(tone(0.5), RATE, kind), RATE, LIMITS)
    np.testing.assert_allclose(many.samples, one.samples, atol=1e-4)


def test_channels_are_averaged() -> None:
    stereo = np.stack([tone(0.5), np.zeros(8_000, np.float32)], axis=1)
    recording = decode(encode(stereo, RATE, subtype="FLOAT"), RATE, LIMITS)
    np.testing.assert_allclose(recording.samples, cleared(tone(0.5) / 2), atol=1e-6)


@pytest.mark.parametrize("rate", [RATE, 44_100])
def test_channels_that_cancel_out_leave_the_loudest(rate: int) -> None:
    mono = tone(0.5, rate)
    opposite = np.stack([mono * 0.5, -mono, mono * 0.5], axis=1)
    recording = decode(encode(opposite, rate), RATE, LIMITS)
    assert np.abs(recording.samples).max() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("seconds", [0.1, 60.0])
def test_short_and_long_recordings_are_heard(seconds: float) -> None:
    recording = decode(encode(tone(seconds, 8_000), 8_000), RATE, LIMITS)
    assert recording.duration == seconds
    assert len(recording.samples) == seconds * RATE


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [
        ("WAV", "PCM_16"),
        ("WAV", "PCM_24"),
        ("WAV", "IMA_ADPCM"),
        ("WAVEX", "PCM_16"),
        ("RF64", "PCM_16"),
        ("FLAC", None),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("MP3", None),
        ("AIFF", None),
    ],
)
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.97])
def test_a_truncated_file_is_refused(kind: str, subtype: str | None, kept: float) -> None:
    whole = encode(tone(2.0), RATE, kind, subtype)
    with pytest.raises(UnreadableAudio, match=r"cut short|damaged|cannot be decoded"):
        decode(whole[: int(len(whole) * kept)], RATE, LIMITS)


def test_a_truncated_wav_says_how_much_is_there() -> None:
    whole = wav(2.0)
    with pytest.raises(UnreadableAudio, match=r"ended after 0\.50 s of 2\.00 s"):
        decode(whole[: 44 + 16_000], RATE, LIMITS)


def test_a_wav_that_lost_its_last_byte_is_still_whole_enough() -> None:
    assert decode(wav()[:-1], RATE, LIMITS).duration == pytest.approx(1.0, abs=0.001)


def test_a_wav_written_to_a_pipe_has_no_length_to_keep() -> None:
    streamed = bytearray(wav())
    streamed[4:8] = streamed[40:44] = b"\xff\xff\xff\xff"
    assert decode(bytes(streamed), RATE, LIMITS).duration == 1.0


@pytest.mark.parametrize("kind", ["OGG", "FLAC", "MP3"])
def test_a_file_damaged_in_the_middle_is_refused(kind: str) -> None:
    damaged = bytearray(encode(tone(2.0), RATE, kind))
    middle = len(damaged) // 2
    damaged[middle : middle + 600] = b"\x55" * 600
    with pytest.raises(UnreadableAudio):
        decode(bytes(damaged), RATE, LIMITS)


def test_an_ogg_damaged_inside_a_page_is_refused() -> None:
    damaged = bytearray(encode(tone(20.0), RATE, "OGG"))
    pages = [at for at in range(len(damaged)) if damaged.startswith(b"OggS", at)]
    assert len(pages) > 4
    damaged[pages[-2] + 300] ^= 0xFF
    with pytest.raises(UnreadableAudio, match="checksum"):
        decode(bytes(damaged), RATE, LIMITS)


def test_an_ogg_that_lost_its_last_page_is_refused() -> None:
    whole = encode(tone(20.0), RATE, "OGG")
    with pytest.raises(UnreadableAudio, match="page that marks the end"):
        decode(whole[: whole.rindex(b"OggS")], RATE, LIMITS)


def stating(flac: bytes, frames: int) -> bytes:
    """The FLAC file with another number of frames in its STREAMINFO; 0 is for unknown."""
    packed = int.from_bytes(flac[18:26], "big") >> 36 << 36
    return flac[:18] + (packed | frames).to_bytes(8, "big") + flac[26:]


def test_a_flac_of_unknown_length_is_heard_whole() -> None:
    streamed = stating(encode(tone(10.0), RATE, "FLAC"), 0)
    assert decode(streamed, RATE, LIMITS).duration == 10.0
    with pytest.raises(TooLarge, match="DRCAP_AUDIO__MAX_SECONDS"):
        decode(streamed, RATE, AudioSettings(max_seconds=9.0))


def test_a_flac_that_states_more_than_it_holds_is_refused() -> None:
    with pytest.raises(UnreadableAudio, match="cut short"):
        decode(stating(encode(tone(2.0), RATE, "FLAC"), 3 * RATE), RATE, LIMITS)


def test_an_mp3_that_holds_more_than_it_states_is_refused() -> None:
    joined = encode(tone(1.0), RATE, "MP3") + encode(tone(2.0), RATE, "MP3")
    with pytest.raises(UnreadableAudio, match=r"states 1\.\d+ s but holds 3\.\d+ s"):
        decode(joined, RATE, LIMITS)


def test_an_mp3_of_unknown_length_is_heard_up_to_a_cut_frame() -> None:
    whole = encode(tone(2.0), RATE, "MP3")
    plain = whole[whole.index(whole[:2], 4) :]
    recording = decode(plain, RATE, LIMITS)
    assert recording.duration == pytest.approx(2.0, abs=0.2)
    assert strongest(recording.samples[-RATE:], RATE) == pytest.approx(440, abs=2)
    with pytest.raises(UnreadableAudio, match="inside the frame"):
        decode(plain[:-10], RATE, LIMITS)


def test_tags_around_an_mp3_are_no_damage() -> None:
    tagged = b"ID3\x03\0\0\0\0\0\x0a" + bytes(10) + encode(tone(), RATE, "MP3") + b"TAG" + bytes(125)
    assert decode(tagged, RATE, LIMITS).duration == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_refused(value: float) -> None:
    samples = tone()
    samples[500] = value
    with pytest.raises(UnreadableAudio, match="NaN or infinite"):
        decode(encode(samples, subtype="FLOAT"), RATE, LIMITS)


@pytest.mark.parametrize("kind", ["WAV", "OGG", "AIFF"])
def test_zero_samples_are_refused(kind: str) -> None:
    with pytest.raises(EmptyAudio, match="0 samples"):
        decode(encode(tone(0.0), RATE, kind), RATE, LIMITS)


def test_zero_bytes_are_refused() -> None:
    with pytest.raises(EmptyAudio, match="0 bytes"):
        decode(b"", RATE, LIMITS)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
def test_digital_silence_is_refused(kind: str) -> None:
    with pytest.raises(EmptyAudio, match="nothing to hear"):
        decode(encode(tone() * 0, RATE, kind), RATE, LIMITS)


def test_a_quiet_recording_is_heard() -> None:
    quiet = decode(encode(tone() * 1e-3, subtype="PCM_24"), RATE, LIMITS)
    assert np.abs(quiet.samples).max() == pytest.approx(1e-3 * np.abs(cleared(tone())).max(), rel=0.01)


def test_too_short_a_recording_is_refused_with_the_setting() -> None:
    with pytest.raises(EmptyAudio, match="DRCAP_AUDIO__MIN_SECONDS"):
        decode(wav(0.03), RATE, LIMITS)


def test_samples_beyond_full_scale_are_scaled_down_not_clipped() -> None:
    recording = decode(encode(tone() * 8, subtype="FLOAT"), RATE, LIMITS)
    loud = cleared(tone() * 8)
    np.testing.assert_allclose(recording.samples, loud / np.abs(loud).max(), atol=1e-5)


def test_a_small_file_of_many_hours_is_refused_before_it_is_decoded() -> None:
    long = encode(np.zeros(8_000 * 60, np.float32), 8_000, "FLAC")
    with pytest.raises(TooLarge, match="DRCAP_AUDIO__MAX_SECONDS"):
        decode(long, RATE, AudioSettings(max_seconds=59.0))


def test_a_recording_of_unknown_length_is_stopped_at_the_limit() -> None:
    streamed = bytearray(wav(20.0))
    streamed[4:8] = streamed[40:44] = b"\xff\xff\xff\xff"
    with pytest.raises(TooLarge, match="DRCAP_AUDIO__MAX_SECONDS"):
        decode(bytes(streamed), RATE, AudioSettings(max_seconds=10.0))


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"hello, I am a text" * 50, "no audio container"),
        (b'{"captions": []}', "JSON"),
        (b"\x89PNG\r\n\x1a\n" + bytes(200), "no audio container"),
        (bytes(1000), "no audio container"),
        (b"\0\0\0\x20ftypM4A " + bytes(100), "MP4"),
        (b"RIFF\x24\0\0\0AVI LIST", "not WAVE"),
        (np.random.default_rng(0).bytes(5000), "no audio container"),
    ],
)
def test_what_is_not_audio_is_named(data: bytes, what: str) -> None:
    with pytest.raises(NotAudio, match=what):
        decode(data, RATE, LIMITS)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3", "AIFF"])
def test_random_damage_never_raises_anything_but_the_errors_of_a_bad_recording(kind: str) -> None:
    random = np.random.default_rng(7)
    whole = encode(tone(0.3), RATE, kind)
    for _ in range(60):
        damaged = bytearray(whole)
        for position in random.integers(0, len(whole), size=8):
            damaged[position] = random.integers(0, 256)
        try:
            heard = decode(bytes(damaged[: random.integers(1, len(whole) + 1)]), RATE, LIMITS)
        except (UnreadableAudio, EmptyAudio, NotAudio, TooLarge):
            continue
        assert np.isfinite(heard.samples).all()


@pytest.mark.parametrize(("samples", "parts"), [(1, 1), (20_000, 1), (20_001, 2), (50_000, 3), (1_200_000, 60)])
def test_windows_are_equal_and_cover_everything(samples: int, parts: int) -> None:
    recording = Recording(np.arange(samples, dtype=np.float32), 10_000, samples / 10_000)
    windows = recording.windows(2.0)
    assert len(windows) == parts
    assert max(map(len, windows)) - min(map(len, windows)) <= 1
    assert max(map(len, windows)) <= 20_000
    np.testing.assert_array_equal(np.concatenate(windows), recording.samples)


@pytest.mark.parametrize("samples", [1, 7, 20_000, 20_001, 39_999, 50_003, 1_234_567])
@pytest.mark.parametrize("hearings", [1, 2, 3])
def test_windows_that_overlap_hear_every_moment_and_their_times_meet(samples: int, hearings: int) -> None:
    recording = Recording(np.arange(samples, dtype=np.float32), 10_000, samples / 10_000)
    windows = recording.cut(2.0, hearings)
    alone = recording.windows(2.0)
    assert len(windows) == (len(alone) - 1) * hearings + 1
    for one, tile in zip(windows[::hearings], alone, strict=True):
        np.testing.assert_array_equal(one.samples, tile)
    assert {len(one.samples) for one in windows} <= {len(alone[0]) - 1, len(alone[0])}
    assert windows[0].start == 0.0
    assert windows[-1].end == recording.duration
    assert [one.start for one in windows[1:]] == [one.end for one in windows[:-1]]
    for one in windows:
        assert one.start < one.end
        assert one.samples[0] <= one.start * 10_000 + 1
        assert one.end * 10_000 <= one.samples[-1] + 2
        assert one.heard_from * 10_000 == pytest.approx(one.samples[0])
        assert one.heard_to * 10_000 == pytest.approx(one.samples[-1] + 1)


@pytest.mark.parametrize("rate", [8_000, RATE])
@pytest.mark.parametrize("stated", [True, False])
def test_a_long_recording_is_held_once_while_it_is_decoded(rate: int, stated: bool) -> None:
    data = bytearray(encode(tone(120.0, rate), rate))
    if not stated:
        data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    sent = bytes(data)
    tracemalloc.start()
    try:
        samples = decode(sent, RATE, LIMITS).samples
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Of unknown length it grows by doubling, with the shorter one beside it.
    assert peak < samples.nbytes * (1.4 if stated else 3.2) + 3_000_000


def test_windows_hold_no_copy_of_the_recording() -> None:
    recording = Recording(np.zeros(100_000, dtype=np.float32), 10_000, 10.0)
    assert all(np.shares_memory(one.samples, recording.samples) for one in recording.cut(2.0, 4))
