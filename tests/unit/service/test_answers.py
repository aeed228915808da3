import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

from service.answers import srt, vtt
from service.captioning.segments import Segment
from service.http.middleware import server_timing

SEGMENTS = [Segment(0.0, 2.3046, "Rain & <i>wind</i>."), Segment(3_599.9996, 3_661.5, "A bell rings.")]


def test_subtitles_tell_hours_minutes_seconds_and_milliseconds() -> None:
    assert srt(SEGMENTS) == (
        "1\n00:00:00,000 --> 00:00:02,305\nRain & ‹i›wind‹/i›.\n\n2\n01:00:00,000 --> 01:01:01,500\nA bell rings.\n"
    )


def test_webvtt_captions_hold_no_markup() -> None:
    assert vtt(SEGMENTS[:1]) == ("WEBVTT\n\n00:00:00.000 --> 00:00:02.305\nRain &amp; &lt;i&gt;wind&lt;/i&gt;.\n")


@pytest.mark.parametrize("caption", ["a\n\nb", "a\r\n\r\nb", "\n a \u2028 \x85 b\n\n"])
def test_a_cue_is_one_line(caption: str) -> None:
    assert srt([Segment(0, 1, caption)]).endswith("\na b\n")
    assert vtt([Segment(0, 1, caption)]).endswith("\na b\n")


@pytest.mark.parametrize("caption", ["", " ", "\n\n"])
def test_a_cue_is_never_empty(caption: str) -> None:
    assert srt([Segment(0, 1, caption)]).endswith("\n…\n")
    assert vtt([Segment(0, 1, caption)]).endswith("\n…\n")


def test_a_caption_cannot_begin_another_cue() -> None:
    segments = [Segment(0, 1, "00:00:00,000 --> 00:00:09,000 x")]
    assert srt(segments).count("-->") == vtt(segments).count("-->") == 1


def test_server_timing_is_in_milliseconds() -> None:
    assert server_timing({"search": 0.0014, "total": 1.25}) == "search;dur=1.4, total;dur=1250.0"


CAPTIONS = [
    "Rain falls on a tin roof.",
    "Rain & <i>wind</i>, a < b and c > d.",
    "Und draußen läutet eine Glocke – 雨.",
    "",
    "Two\n\nparagraphs\r\nof text --> {\\an8} with \\N marks.",
    "00:00:01,000 --> 00:00:02,000",
    "<|im_end|> <script>alert(1)</script> {y:i}",
    "7",
    "WEBVTT",
    "NOTE this is no comment.",
    "- A dog barks.",
]
DURATION = 12.345
BOUNDS = [*(round(n * DURATION / len(CAPTIONS) + 0.0004, 4) for n in range(len(CAPTIONS))), DURATION]
HEARD = [Segment(*one) for one in zip([0.0, *BOUNDS[1:]], BOUNDS[1:], CAPTIONS, strict=False)]

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def ffmpeg(*arguments: str | float | Path) -> None:
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *map(str, arguments)], check=True, timeout=60)  # noqa: S603, S607


def cues(text: str, comma: str) -> list[tuple[int, int, str]]:
    """Start and end in milliseconds and the text of each cue that ffmpeg wrote."""
    clock = rf"(?:(\d+):)?(\d+):(\d+){re.escape(comma)}(\d+)"
    found = re.findall(rf"^{clock} --> {clock}.*\n((?:.+\n)*)", text, re.MULTILINE)

    def milliseconds(hours: str, minutes: str, seconds: str, rest: str) -> int:
        return ((int(hours or 0) * 60 + int(minutes)) * 60 + int(seconds)) * 1000 + int(rest)

    return [(milliseconds(*one[:4]), milliseconds(*one[4:8]), one[8].strip()) for one in found]


def expected(text: str, comma: str) -> list[tuple[int, int, str]]:
    """The cues as we wrote them, which are as many as there are segments, one behind the other up to the end."""
    written = cues(text, comma)
    assert len(written) == len(CAPTIONS)
    assert [one[1] for one in written[:-1]] == [one[0] for one in written[1:]]
    assert (written[0][0], written[-1][1]) == (0, round(DURATION * 1000))
    assert all(start < end and words for start, end, words in written)
    return written


SOUND, PICTURE = "anullsrc=r=48000:cl=mono", "color=s=16x16:r=25"


@needs_ffmpeg
@pytest.mark.parametrize(("container", "subtitles", "sound"), [("mp4", "mov_text", "aac"), ("mkv", "srt", "pcm_s16le")])
def test_players_read_srt_as_it_was_written(tmp_path: Path, container: str, subtitles: str, sound: str) -> None:
    source, film, back = tmp_path / "heard.srt", tmp_path / f"heard.{container}", tmp_path / "back.srt"
    source.write_text(srt(HEARD), encoding="utf-8")
    ffmpeg("-f", "lavfi", "-t", DURATION, "-i", SOUND, "-i", source, "-c:a", sound, "-c:s", subtitles, film)
    ffmpeg("-i", film, "-map", "0:s:0", "-c:s", "srt", back)
    assert cues(back.read_text(encoding="utf-8"), ",") == expected(srt(HEARD), ",")


@needs_ffmpeg
@pytest.mark.parametrize(
    ("container", "made_of"), [("webm", (PICTURE, "-c:v", "libvpx")), ("mkv", (SOUND, "-c:a", "pcm_s16le"))]
)
def test_players_read_webvtt_as_it_was_written(tmp_path: Path, container: str, made_of: tuple[str, ...]) -> None:
    source, film, back = tmp_path / "heard.vtt", tmp_path / f"heard.{container}", tmp_path / "back.vtt"
    source.write_text(vtt(HEARD), encoding="utf-8")
    generated, *codec = made_of
    ffmpeg("-f", "lavfi", "-t", DURATION, "-i", generated, "-i", source, *codec, "-c:s", "copy", film)
    ffmpeg("-i", film, "-map", "0:s:0", "-c:s", "copy", back)
    read = cues(back.read_text(encoding="utf-8"), ".")
    assert read == expected(vtt(HEARD), ".")
    assert [unescape(words) for _, _, words in read] == [" ".join(one.split()) or "…" for one in CAPTIONS]
