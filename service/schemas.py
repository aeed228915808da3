"""The bodies of requests and answers."""

from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from datastores.base import DomainVersion
from datastores.corpus.reader import OnError
from models.bundle.loaded import LoadedBundle
from service.captioning.captioner import CaptionOptions
from service.captioning.progress import Progress, Stage
from service.captioning.segments import Segment
from service.captioning.sounds import Sound
from service.errors import BadField

EXAMPLE_CAPTION = "A dog barks while rain falls."
EXAMPLE_VERSION = "20260714T091502-5b1f"


class ResponseFormat(StrEnum):
    """How a caption is answered."""

    json = "json"
    verbose_json = "verbose_json"
    text = "text"
    srt = "srt"
    vtt = "vtt"


BY_WINDOW = frozenset({ResponseFormat.verbose_json, ResponseFormat.srt, ResponseFormat.vtt})


class CaptionFields(BaseModel):
    """What can be asked of a caption, as form fields or as query parameters."""

    model_config = ConfigDict(extra="forbid")

    domain: str | None = Field(
        None,
        max_length=256,
        description="domain to caption in; may be left out while there is only one",
        examples=["city"],
    )
    response_format: ResponseFormat = Field(
        ResponseFormat.json, description="verbose_json, srt and vtt also caption each part that sounds different"
    )
    similar_captions: int | None = Field(
        None, ge=0, le=50, description="similar captions that enter the prompt and the answer"
    )
    num_beams: int | None = Field(None, ge=1, le=8, description="width of the beam search; 1 is greedy")
    temperature: float | None = Field(
        None, ge=0, le=2, allow_inf_nan=False, description="0 writes the likeliest caption; above 0 samples"
    )
    max_new_tokens: int | None = Field(None, ge=1, le=256, description="bound on the caption's tokens")
    seed: int | None = Field(None, ge=0, le=2**32 - 1, description="of the sampling")
    stream: bool = Field(
        False, description="answer with events while it goes on, as with the header Accept: text/event-stream"
    )

    def options(self, bundle: LoadedBundle) -> CaptionOptions:
        """Return these fields over the bundle's defaults. Raises `BadField` for fields that exclude each other."""
        given = self.model_dump(include={"num_beams", "temperature", "max_new_tokens", "seed"}, exclude_none=True)
        defaults = bundle.generation
        if given.get("temperature", 0) > 0:
            given.setdefault("num_beams", 1)
        if given.get("num_beams", 1) > 1:
            given.setdefault("temperature", 0.0)
        try:
            generation = replace(defaults, **given)
        except ValueError as error:
            raise BadField(str(error)) from error
        similar = bundle.retrieval.k if self.similar_captions is None else self.similar_captions
        return CaptionOptions(similar, generation, self.response_format in BY_WINDOW)


class SimilarCaption(BaseModel):
    """A caption of the domain and its cosine similarity to what was heard or asked."""

    caption: str = Field(examples=["Rain falls on a tin roof."])
    score: float = Field(examples=[0.61])


class CaptionAnswer(BaseModel):
    """A caption in the words of a domain."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "caption": EXAMPLE_CAPTION,
                    "domain": "city",
                    "domain_version": EXAMPLE_VERSION,
                    "duration": 5.0,
                    "similar_captions": [{"caption": "A dog barks in the rain.", "score": 0.61}],
                    "model": "embedded",
                }
            ]
        }
    )

    caption: str
    domain: str
    domain_version: str
    duration: float = Field(description="seconds of the recording")
    similar_captions: list[SimilarCaption]
    model: str


class SegmentAnswer(BaseModel):
    """The caption of one part of the recording."""

    start: float = Field(description="in seconds", examples=[0.0])
    end: float = Field(description="in seconds", examples=[2.3])
    caption: str = Field(examples=["Rain falls."])

    @classmethod
    def of(cls, segment: Segment) -> Self:
        """A segment to the millisecond."""
        return cls(start=round(segment.start, 3), end=round(segment.end, 3), caption=segment.caption)


class SpanAnswer(BaseModel):
    """A stretch of the recording."""

    start: float = Field(description="in seconds", examples=[0.0])
    end: float = Field(description="in seconds", examples=[1.4])


class SoundAnswer(BaseModel):
    """A kind of sound that was heard, whatever the domain."""

    sound: str = Field(examples=["dog bark"])
    score: float = Field(description="the largest over the recording, 0 to 1", examples=[0.83])
    spans: list[SpanAnswer] = Field(description="when it sounds, in order")

    @classmethod
    def of(cls, sound: Sound) -> Self:
        """A sound to the millisecond."""
        spans = [SpanAnswer(start=round(one.start, 3), end=round(one.end, 3)) for one in sound.spans]
        return cls(sound=sound.name, score=round(sound.score, 4), spans=spans)


class ProjectionAnswer(BaseModel):
    """How the audio vector was pulled onto the text side."""

    temperature: float = Field(examples=[0.05])
    neighbours: int = Field(description="captions weighed one by one", examples=[128])


class VerboseCaptionAnswer(CaptionAnswer):
    """A caption with segments and with the account of how it was made."""

    segments: list[SegmentAnswer]
    sounds: list[SoundAnswer] = Field(
        description="what was heard apart from the domain, the surest first; none where the bundle knows no kinds"
    )
    timings: dict[str, float] = Field(
        description="seconds by stage", examples=[{"decode_audio": 0.004, "embed_audio": 0.09, "total": 0.6}]
    )
    tokens: int = Field(description="tokens written, those of the segments included", examples=[14])
    projection: ProjectionAnswer


class ProgressAnswer(BaseModel):
    """The data of the event `progress` of a stream."""

    stage: Stage
    percent: float = Field(description="of the whole work; it never falls", examples=[42.5])
    segments: list[SegmentAnswer] = Field(description="finished since the event before, in order")

    @classmethod
    def of(cls, progress: Progress) -> Self:
        """A report as clients see it."""
        return cls(
            stage=progress.stage,
            percent=round(100 * progress.done, 1),
            segments=[SegmentAnswer.of(one) for one in progress.segments],
        )


class DomainAnswer(BaseModel):
    """The serving version of a domain."""

    name: str = Field(examples=["city"])
    version: str = Field(examples=[EXAMPLE_VERSION])
    captions: int = Field(description="captions in the version", examples=[1200])
    dimension: int = Field(description="numbers in the embedding of a caption", examples=[384])
    fingerprint: str = Field(description="of the CLAP that embedded it", examples=["embedded-3f9a61c2"])
    usable: bool = Field(description="whether the service runs that CLAP; if not, register the domain again")
    created: datetime
    projection_temperature: float = Field(examples=[0.05])
    neighbours: int = Field(description="captions that the projection weighs one by one", examples=[128])

    @classmethod
    def of(cls, version: DomainVersion, bundle: LoadedBundle) -> Self:
        """Describe a version as this bundle would use it."""
        return cls(
            name=version.domain,
            version=version.version,
            captions=version.captions,
            dimension=version.dimension,
            fingerprint=version.fingerprint,
            usable=version.fingerprint == bundle.clap.fingerprint,
            created=version.created,
            projection_temperature=bundle.projection.temperature,
            neighbours=min(bundle.retrieval.neighbours, version.captions),
        )


class DomainList(BaseModel):
    """Every domain, by name."""

    domains: list[DomainAnswer]


class RegistrationAnswer(DomainAnswer):
    """What a registration did."""

    received: int = Field(description="captions in the body", examples=[1250])
    duplicates: int = Field(description="captions that stood there, or in the domain added to, before", examples=[48])
    empty: int = Field(description="entries without a caption", examples=[2])
    skipped: int = Field(description="bad rows left out, as on_error=skip asked", examples=[0])
    problems: list[str] = Field(description="what is wrong with the first of the bad rows", examples=[[]])
    embedded: int = Field(description="captions that were new and have been embedded", examples=[12])
    reused: int = Field(description="captions that keep the vector they had", examples=[1188])
    seconds: float = Field(examples=[1.9])


class RegistrationQuery(BaseModel):
    """How a corpus is read, and when its registration is answered."""

    model_config = ConfigDict(extra="forbid")

    wait: bool = Field(False, description="the answer comes when the domain serves; else at once, as a job")
    column: str | None = Field(
        None, min_length=1, max_length=256, description="column or key that holds the captions", examples=["caption"]
    )
    on_error: OnError = Field(
        "refuse", description="refuse: a bad row refuses the corpus. skip: it is left out and counted"
    )


class CorpusBody(BaseModel):
    """A corpus as JSON."""

    captions: list[str] = Field(
        min_length=1, examples=[["A tram rings its bell at a crossing.", "Rain falls on a tin roof."]]
    )


class SearchAnswer(BaseModel):
    """What the datastore would retrieve for a text."""

    domain: str = Field(examples=["city"])
    domain_version: str = Field(examples=[EXAMPLE_VERSION])
    results: list[SimilarCaption]


class Problem(BaseModel):
    """An error, after RFC 9457."""

    type: str = Field(description="stable, for programs", examples=["urn:drcap:problem:unknown-domain"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(description="what is wrong and what to change", examples=["there is no domain 'cty'"])
    instance: str = Field(examples=["/domains/cty"])
    request_id: str = Field(examples=["9a3a2b1f0c5d4e6f8a7b6c5d4e3f2a1b"])


DomainName = Annotated[str, Field(description="lower-case letters, digits, - and _", examples=["city"])]
