import tracemalloc

import numpy as np
import pytest

from service.audio.decoding import Recording, decode
from service.errors import EmptyAudio, NotAudio, TooLarge, UnreadableAudio
from service.settings import AudioSettings
from tests.recordings import Samples, encode, tone, wav

LIMITS = AudioSettings()
RATE = 16_000


def strongest(samples: Samples, rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * rate / len(samples))


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
    half = decode(encode(tone(0.5) / 2, RATE, subtype="FLOAT"), RATE, LIMITS)
    np.testing.assert_allclose(recording.samples, half.samples, atol=1e-6)


@pytest.mark.parametrize("rate", [RATE, 44_100])
def test_channels_that_cancel_out_leave_the_loudest(rate: int) -> None:
    mono = tone(0.5, rate)
    opposite = np.stack([mono * 0.5, -mono, mono * 0.5], axis=1)
    recording = decode(encode(opposite, rate), RATE, LIMITS)
    assert np.abs(recording.samples).max() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("offset", [0.3, -0.3])
def test_channels_that_cancel_out_but_for_their_offset_leave_the_loudest(offset: float) -> None:
    opposite = np.stack([tone(0.5) * 0.5, -tone(0.5)], axis=1) + np.float32(offset)
    recording = decode(encode(opposite), RATE, LIMITS)
    assert np.abs(recording.samples).max() == pytest.approx(0.5, abs=0.02)


def test_channels_of_opposite_offsets_are_averaged() -> None:
    stereo = np.stack([tone(0.5) + 0.4, np.zeros(8_000) - 0.4], axis=1).astype(np.float32)
    recording = decode(encode(stereo), RATE, LIMITS)
    assert np.abs(recording.samples).max() == pytest.approx(0.25, abs=0.01)


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
    with pytest.raises(EmptyAudio, match="nothing to hear: nothing is left"):
        decode(encode(tone() * 0, RATE, kind), RATE, LIMITS)


# The finer ones as they are when they come from 16 bits.
LINEAR = {"PCM_U8": 2.0**-7, "PCM_16": 2.0**-15, "PCM_24": 2.0**-15, "FLOAT": 2.0**-15}
STEP = LINEAR | {"ULAW": 2.0**-12, "ALAW": 2.0**-11}


@pytest.mark.parametrize("rate", [8_000, RATE, 44_100, 48_000])
@pytest.mark.parametrize("subtype", STEP)
@pytest.mark.parametrize("steps", [-1, 3, 0.3, 10])
def test_a_constant_is_silence_of_which_nothing_is_left(rate: int, subtype: str, steps: float) -> None:
    constant = np.full(rate, steps * STEP[subtype], np.float32)
    with pytest.raises(EmptyAudio, match="nothing to hear: nothing is left"):
        decode(encode(constant, rate, subtype=subtype), RATE, LIMITS)


def test_half_the_full_scale_throughout_and_a_slow_drift_are_silence() -> None:
    for level in (np.full(44_100, 0.5), np.linspace(-0.03, 0.02, 10 * 44_100)):
        with pytest.raises(EmptyAudio, match="nothing to hear"):
            decode(encode(level.astype(np.float32), 44_100), RATE, LIMITS)


def test_channels_of_opposite_constants_are_silence() -> None:
    with pytest.raises(EmptyAudio, match="nothing to hear"):
        decode(encode(np.tile(np.array([0.5, -0.5], np.float32), (RATE, 1))), RATE, LIMITS)


def dither(width: int, samples: int) -> Samples:
    """What dither of a triangular density between -width and width steps makes of silence, in steps."""
    steps = np.round(np.random.default_rng(5).triangular(-width, 0, width, samples))
    return np.asarray(steps, np.float32)


@pytest.mark.parametrize(("rate", "heard_at"), [(8_000, 48_000), (44_100, 16_000), (44_100, 44_100)])
@pytest.mark.parametrize("subtype", LINEAR)
@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("offset", [0.0, 0.25])
def test_dither_is_silence(rate: int, heard_at: int, subtype: str, width: int, offset: float) -> None:
    noise = dither(width, 5 * rate) * np.float32(STEP[subtype]) + np.float32(offset)
    with pytest.raises(EmptyAudio, match=r"nothing to hear: the recording peaks at -\d\d"):
        decode(encode(noise, rate, subtype=subtype), heard_at, LIMITS)


@pytest.mark.parametrize("subtype", ["ULAW", "ALAW"])
@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_the_lowest_codes_of_a_telephone_line_are_silence(subtype: str, rate: int) -> None:
    codes = np.random.default_rng(4).integers(-1, 2, 5 * rate) * np.float32(2.0**-12)
    with pytest.raises(EmptyAudio, match=r"nothing to hear: the recording peaks at -6\d"):
        decode(encode(codes, rate, subtype=subtype), 48_000, LIMITS)


@pytest.mark.parametrize(("kind", "subtype"), [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None), ("FLAC", "PCM_24")])
def test_dither_of_16_bits_is_silence_in_every_format(kind: str, subtype: str | None) -> None:
    with pytest.raises(EmptyAudio, match="nothing to hear"):
        decode(encode(dither(1, 5 * 48_000) * np.float32(2.0**-15), 48_000, kind, subtype), 44_100, LIMITS)


def test_silence_is_answered_with_what_was_found_and_the_threshold() -> None:
    with pytest.raises(EmptyAudio, match=r"peaks at -8\d\.\d dBFS .* a peak below -78\.3 dBFS, 4 steps of 16 bits"):
        decode(encode(dither(1, RATE) * np.float32(2.0**-15)), RATE, LIMITS)
    with pytest.raises(EmptyAudio, match=r"peaks at -\d\d\.\d dBFS .* a peak below -30\.1 dBFS, 4 steps of its format"):
        decode(encode(dither(1, RATE) * np.float32(2.0**-7), subtype="PCM_U8"), RATE, LIMITS)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
@pytest.mark.parametrize("rate", [RATE, 44_100])
@pytest.mark.parametrize("dbfs", [-66, -70])
def test_quiet_rain_and_a_quiet_voice_are_heard(subtype: str, rate: int, dbfs: int) -> None:
    rain = np.random.default_rng(6).normal(size=5 * rate)
    time = np.arange(5 * rate) / rate
    voice = sum(np.sin(2 * np.pi * 120 * n * time) / n for n in range(1, 20)) * np.sin(2 * np.pi * 2 * time) ** 2
    for sound in (rain, voice):
        quiet = (sound / np.abs(sound).max() * 10 ** (dbfs / 20)).astype(np.float32)
        heard = decode(encode(quiet, rate, subtype=subtype), rate, LIMITS)
        assert 20 * np.log10(np.abs(heard.samples).max()) == pytest.approx(dbfs, abs=1)
        heard = decode(encode(quiet, rate, subtype=subtype), RATE, LIMITS)
        assert not any(window.silent for window in heard.cut(10.0))


def test_windows_are_silent_by_the_rule_of_their_recording() -> None:
    dithered = np.concatenate([dither(1, 10 * RATE) * np.float32(2.0**-7), tone(10.0)])
    coarse = decode(encode(dithered, subtype="PCM_U8"), RATE, LIMITS)
    fine = decode(encode(dithered, subtype="PCM_16"), RATE, LIMITS)
    assert [window.silent for window in coarse.cut(5.0)] == [True, True, False, False]
    assert [window.silent for window in fine.cut(5.0)] == [False, False, False, False]


def test_a_quiet_recording_is_heard() -> None:
    quiet = decode(encode(tone() * 1e-3, subtype="PCM_24"), RATE, LIMITS)
    assert np.abs(quiet.samples[RATE // 8 : -RATE // 8]).max() == pytest.approx(5e-4, rel=0.01)


@pytest.mark.parametrize("rate", [RATE, 44_100])
def test_an_offset_is_not_heard(rate: int) -> None:
    plain = decode(encode(tone(2.0, rate), rate, subtype="FLOAT"), RATE, LIMITS)
    offset = decode(encode(tone(2.0, rate) + np.float32(0.3), rate, subtype="FLOAT"), RATE, LIMITS)
    np.testing.assert_allclose(offset.samples, plain.samples, atol=1e-5)


def test_too_short_a_recording_is_refused_with_the_limit() -> None:
    with pytest.raises(EmptyAudio, match=r"lasts 0\.03\d* s; at least 0\.05 s"):
        decode(wav(0.03), RATE, LIMITS)


def test_samples_beyond_full_scale_are_scaled_down_not_clipped() -> None:
    recording = decode(encode(tone() * 8, subtype="FLOAT"), RATE, LIMITS)
    plain = decode(encode(tone(), subtype="FLOAT"), RATE, LIMITS)
    np.testing.assert_allclose(recording.samples, plain.samples / np.abs(plain.samples).max(), atol=1e-5)


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
        (b"hello, I am a text" * 50, "unknown data"),
        (b'{"captions": []}', "JSON"),
        (b"\x89PNG\r\n\x1a\n" + bytes(200), "unknown data"),
        (bytes(1000), "unknown data"),
        (b"\0\0\0\x20ftypM4A " + bytes(100), "MP4"),
        (b"RIFF\x24\0\0\0AVI LIST", "not WAVE"),
        (np.random.default_rng(0).bytes(5000), "unknown data"),
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
