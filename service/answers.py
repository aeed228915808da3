"""Answers: writes captions as JSON, plain text and subtitles."""

from collections.abc import Iterable

from starlette.responses import JSONResponse, PlainTextResponse, Response

from models.bundle.loaded import LoadedBundle
from service.captioning.captioner import Caption
from service.captioning.segments import Segment
from service.http.middleware import server_timing
from service.schemas import (
    CaptionAnswer,
    ProjectionAnswer,
    ResponseFormat,
    SegmentAnswer,
    SimilarCaption,
    SoundAnswer,
    VerboseCaptionAnswer,
)


def render(caption: Caption, bundle: LoadedBundle, wanted: ResponseFormat) -> Response:
    """Return the answer to a caption request, with the stages in a ``Server-Timing`` header."""
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
        duration=round(caption.duration, 3),
        similar_captions=[SimilarCaption(caption=one.caption, score=round(one.score, 4)) for one in caption.similar],
        model=bundle.name,
    )
    if wanted is ResponseFormat.verbose_json:
        answer = VerboseCaptionAnswer(
            **answer.model_dump(),
            segments=[SegmentAnswer.of(one) for one in caption.segments],
            sounds=[SoundAnswer.of(one) for one in caption.sounds],
            timings={stage: round(seconds, 6) for stage, seconds in caption.seconds.items()},
            tokens=caption.tokens,
            projection=ProjectionAnswer(
                temperature=bundle.projection.temperature,
                neighbours=min(bundle.retrieval.neighbours, caption.version.captions),
            ),
        )
    return JSONResponse(answer.model_dump(mode="json"), headers=headers)


def srt(segments: Iterable[Segment]) -> str:
    """Return SubRip subtitles. SubRip has no escapes, so look-alikes replace characters of markup."""
    return "\n".join(
        f"{number}\n{_clock(one.start, ',')} --> {_clock(one.end, ',')}\n{_line(one.caption).translate(_LOOK_ALIKES)}\n"
        for number, one in enumerate(segments, start=1)
    )


def vtt(segments: Iterable[Segment]) -> str:
    """Return WebVTT subtitles. ``&``, ``<`` and ``>`` are escaped, as markup and as part of ``-->`` in a cue time."""
    cues = [
        f"{_clock(one.start, '.')} --> {_clock(one.end, '.')}\n{_line(one.caption).translate(_ESCAPES)}\n"
        for one in segments
    ]
    return "\n".join(["WEBVTT\n", *cues])


_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_LOOK_ALIKES = str.maketrans({"<": "‹", ">": "›", "{": "｛", "}": "｝", "\\": "＼"})
_NO_WORDS = "…"


def _line(caption: str) -> str:
    """Return a caption as one line that is never empty: an empty line ends a cue, and an empty cue is an error."""
    return " ".join(caption.split()) or _NO_WORDS


def _clock(seconds: float, separator: str) -> str:
    milliseconds = round(seconds * 1000)
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}{separator}{rest % 1000:03d}"
