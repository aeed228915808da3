"""Answers in the shapes of OpenAI's API."""

import zlib
from typing import Literal, Self

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from datastores.base import DomainVersion
from service.captioning.captioner import Caption
from service.captioning.segments import Segment
from service.http.middleware import server_timing
from service.schemas import EXAMPLE_CAPTION

# A recording of sounds has no language, so this is the ISO 639-2 code for an undetermined one.
_NO_LANGUAGE = "und"
# Whisper counts in frames of 10 ms.
_FRAMES_A_SECOND = 100


class DurationUsage(BaseModel):
    """The usage of the request: seconds of audio."""

    type: Literal["duration"] = "duration"
    seconds: float = Field(description="Seconds of the recording.", examples=[5.0])


class TranscriptionAnswer(BaseModel):
    """The caption of a recording."""

    text: str = Field(examples=[EXAMPLE_CAPTION])
    usage: DurationUsage


class TranscriptionSegment(BaseModel):
    """The caption of one stretch of the recording. Some fields are always 0 or empty, because clients require them."""

    id: int = Field(description="The number of the segment, from 0.", examples=[0])
    seek: int = Field(description="The start in frames of 10 ms.", examples=[0])
    start: float = Field(description="The start in seconds.", examples=[0.0])
    end: float = Field(description="The end in seconds.", examples=[2.3])
    text: str = Field(examples=["Rain falls."])
    tokens: list[int] = Field([], description="Always empty.")
    temperature: float = Field(description="The temperature of the decoder.", examples=[0.0])
    avg_logprob: float = Field(0.0, description="Always 0.")
    compression_ratio: float = Field(description="Bytes of the text over its bytes after zlib.", examples=[0.58])
    no_speech_prob: float = Field(0.0, description="Always 0.")

    @classmethod
    def of(cls, number: int, segment: Segment, temperature: float) -> Self:
        """Return a segment with times rounded to the millisecond."""
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
    """The caption of a recording, and of each stretch that sounds different."""

    language: str = Field(_NO_LANGUAGE, description="Always `und`, because sounds have no language.")
    duration: float = Field(description="Seconds of the recording.", examples=[5.0])
    segments: list[TranscriptionSegment]
    not_measured: tuple[str, ...] = Field(NOT_MEASURED, description="The fields of a segment that are not measured.")


class ModelAnswer(BaseModel):
    """A domain, described as a model."""

    id: str = Field(description="The name of the domain.", examples=["city"])
    object: Literal["model"] = "model"
    created: int = Field(description="Registration of the version, in seconds since 1970.", examples=[1784020502])
    owned_by: Literal["drcap"] = "drcap"

    @classmethod
    def of(cls, version: DomainVersion) -> Self:
        """Describe a serving version as a model."""
        return cls(id=version.domain, created=int(version.created.timestamp()))


class ModelList(BaseModel):
    """The domains that the service can caption in."""

    object: Literal["list"] = "list"
    data: list[ModelAnswer]


def transcription(caption: Caption) -> Response:
    """Return the answer in the format json."""
    return _json(
        TranscriptionAnswer(text=caption.text, usage=DurationUsage(seconds=round(caption.duration, 3))), caption
    )


def verbose_transcription(caption: Caption, temperature: float) -> Response:
    """Return the answer in the format verbose_json."""
    seconds = round(caption.duration, 3)
    segments = [TranscriptionSegment.of(*numbered, temperature) for numbered in enumerate(caption.segments)]
    answer = VerboseTranscriptionAnswer(
        text=caption.text, usage=DurationUsage(seconds=seconds), duration=seconds, segments=segments
    )
    return _json(answer, caption)


class TextDelta(BaseModel):
    """The event with new text."""

    type: Literal["transcript.text.delta"] = "transcript.text.delta"
    delta: str


class TextDone(BaseModel):
    """The last event of a stream, with the whole text."""

    type: Literal["transcript.text.done"] = "transcript.text.done"
    text: str


def _json(answer: TranscriptionAnswer, caption: Caption) -> Response:
    return JSONResponse(answer.model_dump(), headers={"Server-Timing": server_timing(caption.seconds)})


def _compression_ratio(text: str) -> float:
    data = text.encode()
    return len(data) / len(zlib.compress(data))
