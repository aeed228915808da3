"""Captions as answers: JSON, plain text and subtitles."""

from collections.abc import Iterable, Mapping

from starlette.responses import JSONResponse, PlainTextResponse, Response

from service.bundle import Bundle
from service.captioning.captioner import Caption, Segment
from service.schemas import (
    CaptionAnswer,
    ProjectionAnswer,
    ResponseFormat,
    SegmentAnswer,
    SimilarCaption,
    VerboseCaptionAnswer,
)


def render(caption: Caption, duration: float, bundle: Bundle, wanted: ResponseFormat) -> Response:
    """The answer to a caption request, with its stages in a ``Server-Timing`` header."""
    headers = {"Server-Timing": server_timing(caption.seconds)}
    if wanted is ResponseFormat.text:
        return PlainTextResponse(caption.text + "\n", headers=headers)
    if wanted is ResponseFormat.srt:
        return Response(srt(caption.segments), media_type="application/x-subrip", headers=headers)
    if wanted is ResponseFormat.vtt:
        return Response(vtt(caption.segments), media_type="text/vtt", headers=headers)
    answer = CaptionAnswer(
        caption=caption.text,
        domain=caption.version.domain,
        domain_version=caption.version.version,
        duration=round(duration, 4),
        similar_captions=[SimilarCaption(caption=one.caption, score=round(one.score, 4)) for one in caption.similar],
        model=bundle.name,
    )
    if wanted is ResponseFormat.verbose_json:
        answer = VerboseCaptionAnswer(
            **answer.model_dump(),
            segments=[
                SegmentAnswer(start=round(one.start, 3), end=round(one.end, 3), caption=one.caption)
                for one in caption.segments
            ],
            timings={stage: round(seconds, 6) for stage, seconds in caption.seconds.items()},
            tokens=caption.tokens,
            projection=ProjectionAnswer(
                temperature=bundle.projection.temperature,
                neighbours=min(bundle.retrieval.neighbours, caption.version.captions),
            ),
        )
    return JSONResponse(answer.model_dump(mode="json"), headers=headers)


def server_timing(seconds: Mapping[str, float]) -> str:
    """Stages in milliseconds, as the Server-Timing header has them."""
    return ", ".join(f"{stage};dur={value * 1000:.1f}" for stage, value in seconds.items())


def srt(segments: Iterable[Segment]) -> str:
    """SubRip subtitles."""
    return "\n".join(
        f"{number}\n{_clock(one.start, ',')} --> {_clock(one.end, ',')}\n{one.caption}\n"
        for number, one in enumerate(segments, start=1)
    )


def vtt(segments: Iterable[Segment]) -> str:
    """WebVTT subtitles; ``&``, ``<`` and ``>`` would be markup there."""
    cues = [f"{_clock(one.start, '.')} --> {_clock(one.end, '.')}\n{_escaped(one.caption)}\n" for one in segments]
    return "\n".join(["WEBVTT\n", *cues])


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clock(seconds: float, separator: str) -> str:
    milliseconds = round(seconds * 1000)
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}{separator}{rest % 1000:03d}"
