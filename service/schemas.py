"""Schemas: the bodies of requests and answers."""

from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from datastores.base import DomainVersion
from datastores.corpus.reader import OnError
from models.bundle.loaded import LoadedBundle
from service.captioning.captioner import CaptionOptions
from service.captioning.progress import CaptionProgress, Stage
from service.captioning.segments import Segment
from service.captioning.sounds import Sound
from service.errors import BadField

EXAMPLE_CAPTION = "A dog barks while rain falls."
EXAMPLE_VERSION = "20260714T091502-5b1f"


class ResponseFormat(StrEnum):
    """The format of the answer to a caption request."""

    json = "json"
    verbose_json = "verbose_json"
    text = "text"
    srt = "srt"
    vtt = "vtt"


SEGMENT_FORMATS = frozenset({ResponseFormat.verbose_json, ResponseFormat.srt, ResponseFormat.vtt})


class CaptionFields(BaseModel):
    """The options of a caption request, as form fields or as query parameters."""

    model_config = ConfigDict(extra="forbid")

    domain: str | None = Field(
        None,
        max_length=256,
        description="The domain in whose words to caption. It may be omitted if there is only one.",
        examples=["city"],
    )
    response_format: ResponseFormat = Field(
        ResponseFormat.json,
        description="Format of the answer. verbose_json, srt and vtt also caption each stretch that sounds different.",
    )
    similar_captions: int | None = Field(
        None, ge=0, le=50, description="Number of similar captions in the prompt and in the answer."
    )
    num_beams: int | None = Field(None, ge=1, le=8, description="Width of the beam search; 1 is greedy.")
    temperature: float | None = Field(
        None, ge=0, le=2, allow_inf_nan=False, description="0 writes the likeliest caption; a larger value samples."
    )
    max_new_tokens: int | None = Field(None, ge=1, le=256, description="Largest number of tokens in the caption.")
    seed: int | None = Field(None, ge=0, le=2**32 - 1, description="Seed of the sampling.")
    stream: bool = Field(
        False, description="Answer with a stream of events, like the header `Accept: text/event-stream`."
    )

    def options(self, bundle: LoadedBundle) -> CaptionOptions:
        """Return the options, with the defaults of the bundle. Raises `BadField` for fields that exclude each other."""
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
        return CaptionOptions(similar, generation, self.response_format in SEGMENT_FORMATS)


class SimilarCaption(BaseModel):
    """A caption of the domain, with its cosine similarity to the recording or to the text of a search."""

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
    duration: float = Field(description="Seconds of the recording.")
    similar_captions: list[SimilarCaption]
    model: str


class SegmentAnswer(BaseModel):
    """The caption of one stretch of the recording."""

    start: float = Field(description="The start in seconds.", examples=[0.0])
    end: float = Field(description="The end in seconds.", examples=[2.3])
    caption: str = Field(examples=["Rain falls."])

    @classmethod
    def of(cls, segment: Segment) -> Self:
        """Return a segment with times rounded to the millisecond."""
        return cls(start=round(segment.start, 3), end=round(segment.end, 3), caption=segment.caption)


class SpanAnswer(BaseModel):
    """A time span of the recording."""

    start: float = Field(description="The start in seconds.", examples=[0.0])
    end: float = Field(description="The end in seconds.", examples=[1.4])


class SoundAnswer(BaseModel):
    """A kind of sound in the recording, whatever the domain."""

    sound: str = Field(examples=["dog bark"])
    score: float = Field(description="The largest score in the recording, 0 to 1.", examples=[0.83])
    spans: list[SpanAnswer] = Field(description="The times of the sound, in order.")

    @classmethod
    def of(cls, sound: Sound) -> Self:
        """Return a sound with times rounded to the millisecond."""
        spans = [SpanAnswer(start=round(one.start, 3), end=round(one.end, 3)) for one in sound.spans]
        return cls(sound=sound.name, score=round(sound.score, 4), spans=spans)


class ProjectionAnswer(BaseModel):
    """The settings of the projection of the audio vector onto the text side."""

    temperature: float = Field(description="Temperature of the weights.", examples=[0.05])
    neighbours: int = Field(description="Captions with individual weights.", examples=[128])


class VerboseCaptionAnswer(CaptionAnswer):
    """A caption with segments, sounds and details of how it was made."""

    segments: list[SegmentAnswer]
    sounds: list[SoundAnswer] = Field(
        description="Sounds, whatever the domain, highest score first. Empty if the bundle names no sounds."
    )
    timings: dict[str, float] = Field(
        description="Seconds of each stage.", examples=[{"decode_audio": 0.004, "embed_audio": 0.09, "total": 0.6}]
    )
    tokens: int = Field(description="Tokens written, including those of the segments.", examples=[14])
    projection: ProjectionAnswer


class ProgressAnswer(BaseModel):
    """The data of the event `progress` of a stream."""

    stage: Stage
    percent: float = Field(description="Finished percentage of the work. It never falls.", examples=[42.5])
    segments: list[SegmentAnswer] = Field(description="Segments finished since the previous event, in order.")

    @classmethod
    def of(cls, progress: CaptionProgress) -> Self:
        """Return a progress report as clients see it."""
        return cls(
            stage=progress.stage,
            percent=round(100 * progress.done, 1),
            segments=[SegmentAnswer.of(one) for one in progress.segments],
        )


class DomainAnswer(BaseModel):
    """The serving version of a domain."""

    name: str = Field(examples=["city"])
    version: str = Field(examples=[EXAMPLE_VERSION])
    captions: int = Field(description="Captions in the version.", examples=[1200])
    dimension: int = Field(description="Dimensions of the embedding of a caption.", examples=[384])
    fingerprint: str = Field(
        description="Fingerprint of the CLAP that has embedded the captions.", examples=["embedded-3f9a61c2"]
    )
    usable: bool = Field(description="Whether the service runs this CLAP. If not, register the domain again.")
    created: datetime
    projection_temperature: float = Field(description="Temperature of the projection.", examples=[0.05])
    neighbours: int = Field(description="Captions with individual weights in the projection.", examples=[128])

    @classmethod
    def of(cls, version: DomainVersion, bundle: LoadedBundle) -> Self:
        """Describe a version as this bundle uses it."""
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
    """A list of domains, sorted by name."""

    domains: list[DomainAnswer]


class RegistrationAnswer(DomainAnswer):
    """The result of a registration."""

    received: int = Field(description="Captions in the upload.", examples=[1250])
    duplicates: int = Field(
        description="Captions that the upload repeats or, when adding, that the domain already has.", examples=[48]
    )
    empty: int = Field(description="Entries without a caption.", examples=[2])
    skipped: int = Field(description="Bad rows that on_error=skip has omitted.", examples=[0])
    problems: list[str] = Field(description="The errors of the first bad rows.", examples=[[]])
    embedded: int = Field(description="New captions that have been embedded.", examples=[12])
    reused: int = Field(description="Captions that keep their vector from the previous version.", examples=[1188])
    seconds: float = Field(description="Seconds that the registration took.", examples=[1.9])


class RegistrationQuery(BaseModel):
    """The options of a registration."""

    model_config = ConfigDict(extra="forbid")

    wait: bool = Field(
        False, description="Answer when the new version serves. By default, answer immediately with a job."
    )
    column: str | None = Field(
        None, min_length=1, max_length=256, description="Column or key with the captions.", examples=["caption"]
    )
    on_error: OnError = Field(
        "refuse", description="`refuse` refuses a corpus with a bad row. `skip` omits bad rows and counts them."
    )


class CorpusBody(BaseModel):
    """A corpus as JSON."""

    captions: list[str] = Field(
        min_length=1, examples=[["A tram rings its bell at a crossing.", "Rain falls on a tin roof."]]
    )


class SearchAnswer(BaseModel):
    """The captions that the datastore retrieves for a text."""

    domain: str = Field(examples=["city"])
    domain_version: str = Field(examples=[EXAMPLE_VERSION])
    results: list[SimilarCaption]


class Problem(BaseModel):
    """An error as a problem document of RFC 9457."""

    type: str = Field(description="A stable type for programs.", examples=["urn:drcap:problem:unknown-domain"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(description="What is wrong, and what to change.", examples=["there is no domain 'cty'"])
    instance: str = Field(examples=["/domains/cty"])
    request_id: str = Field(examples=["9a3a2b1f0c5d4e6f8a7b6c5d4e3f2a1b"])


DomainName = Annotated[
    str, Field(description="The name of a domain: lower-case letters, digits, `-` and `_`.", examples=["city"])
]
