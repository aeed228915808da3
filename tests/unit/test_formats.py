from service.captioning.captioner import Segment
from service.formats import server_timing, srt, vtt

SEGMENTS = [Segment(0.0, 2.3046, "Rain & <i>wind</i>."), Segment(3_599.9996, 3_661.5, "A bell rings.")]


def test_subtitles_tell_hours_minutes_seconds_and_milliseconds() -> None:
    assert srt(SEGMENTS) == (
        "1\n00:00:00,000 --> 00:00:02,305\nRain & <i>wind</i>.\n\n2\n01:00:00,000 --> 01:01:01,500\nA bell rings.\n"
    )


def test_webvtt_captions_hold_no_markup() -> None:
    assert vtt(SEGMENTS[:1]) == ("WEBVTT\n\n00:00:00.000 --> 00:00:02.305\nRain &amp; &lt;i&gt;wind&lt;/i&gt;.\n")


def test_server_timing_is_in_milliseconds() -> None:
    assert server_timing({"search": 0.0014, "total": 1.25}) == "search;dur=1.4, total;dur=1250.0"
