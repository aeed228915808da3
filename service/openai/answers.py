"""Answers as clients of OpenAI's API expect them."""

import zlib
from collections.abc import Sequence
from typing import Literal, Self

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from datastores.base import DomainVersion
from service.captioning.captioner import Caption
from service.captioning.segments import Segment
from service.http.middleware import server_timing
from service.http.streaming import Event
from service.schemas import EXAMPLE_CAPTION

# A recording of sounds is in no language: ISO 639-2's code for what is undetermined.
_NO_LANGUAGE = "und"
# Whisper counts in frames of 10 ms.
_FRAMES_A_SECOND = 100


class DurationUsage(BaseModel):
    """What was used: seconds of audio."""

    type: Literal["duration"] = "duration"
    seconds: float = Field(description="of the recording", examples=[5.0])


class TranscriptionAnswer(BaseModel):
    """The caption of a recording."""

    text: str = Field(examples=[EXAMPLE_CAPTION])
    usage: DurationUsage


class TranscriptionSegment(BaseModel):
    """The caption of one part. What is always 0 or empty is not measured, and is there because clients need it."""

    id: int = Field(description="from 0", examples=[0])
    seek: int = Field(description="start in frames of 10 ms", examples=[0])
    start: float = Field(description="in seconds", examples=[0.0])
    end: float = Field(description="in seconds", examples=[2.3])
    text: str = Field(examples=["Rain falls."])
    tokens: list[int] = Field([], description="always empty")
    temperature: float = Field(description="the caption was written with", examples=[0.0])
    avg_logprob: float = Field(0.0, description="always 0")
    compression_ratio: float = Field(description="of the text's bytes to what zlib makes of them", examples=[0.58])
    no_speech_prob: float = Field(0.0, description="always 0")

    @classmethod
    def of(cls, number: int, segment: Segment, temperature: float) -> Self:
        """A segment to the millisecond."""
        return cls(
            id=number,
            seek=round(segment.start * _FRAMES_A_SECOND),
            start=round(segment.start, 3),
            end=round(segment.end, 3),
            text=segment.caption,
            temperature=temperature,
            compression_ratio=round(_compression_ratio(segment.caption), 4),
        )


NOT_MEASURED = ("tokens", "avg_logprob", "no_speech_prob")


class VerboseTranscriptionAnswer(TranscriptionAnswer):
    """The caption of a recording, and of each part that sounds different."""

    language: str = Field(_NO_LANGUAGE, description="always und: what is heard is in no language")
    duration: float = Field(description="seconds of the recording", examples=[5.0])
    segments: list[TranscriptionSegment]
    not_measured: tuple[str, ...] = Field(NOT_MEASURED, description="the fields of a segment that say nothing")


class ModelAnswer(BaseModel):
    """A domain, as a model."""

    id: str = Field(description="name of the domain", examples=["city"])
    object: Literal["model"] = "model"
    created: int = Field(description="when its version was registered, in seconds since 1970", examples=[1784020502])
    owned_by: Literal["drcap"] = "drcap"

    @classmethod
    def of(cls, version: DomainVersion) -> Self:
        """The model that a serving version is."""
        return cls(id=version.domain, created=int(version.created.timestamp()))


class ModelList(BaseModel):
    """The domains that can be captioned in."""

    object: Literal["list"] = "list"
    data: list[ModelAnswer]


def transcription(caption: Caption) -> Response:
    """The answer in the format json."""
    return _json(
        TranscriptionAnswer(text=caption.text, usage=DurationUsage(seconds=round(caption.duration, 3))), caption
    )


def verbose_transcription(caption: Caption, temperature: float) -> Response:
    """The answer in the format verbose_json."""
    seconds = round(caption.duration, 3)
    segments = [TranscriptionSegment.of(*numbered, temperature) for numbered in enumerate(caption.segments)]
    answer = VerboseTranscriptionAnswer(
        text=caption.text, usage=DurationUsage(seconds=seconds), duration=seconds, segments=segments
    )
    return _json(answer, caption)


class TextDelta(BaseModel):
    """The event that brings text."""

    type: Literal["transcript.text.delta"] = "transcript.text.delta"
    delta: str


class TextDone(BaseModel):
    """The event that ends a stream: all of the text."""

    type: Literal["transcript.text.done"] = "transcript.text.done"
    text: str


def text_events(caption: Caption) -> Sequence[Event]:
    """The events of a stream. The text comes at once: no word of it stands before the best caption is chosen."""
    parts = (TextDelta(delta=caption.text), TextDone(text=caption.text))
    return [Event(part.model_dump_json()) for part in parts]


def _json(answer: TranscriptionAnswer, caption: Caption) -> Response:
    return JSONResponse(answer.model_dump(), headers={"Server-Timing": server_timing(caption.seconds)})


def _compression_ratio(text: str) -> float:
    data = text.encode()
    return len(data) / len(zlib.compress(data))
