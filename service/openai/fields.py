"""What a transcription request may say: what can be done, what is only a hint, and what is refused."""

from typing import Any, Final, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from service.errors import BadField
from service.http.problems import describe_validation
from service.http.uploads import Upload
from service.schemas import BY_WINDOW, CaptionFields, ResponseFormat

_HINT = "a hint to recognise speech; accepted and not used"
_HINTS = ("chunking_strategy", "keywords", "language", "languages", "prompt")
_STREAMED = frozenset({ResponseFormat.json, ResponseFormat.text})
_REFUSED = "not offered; may be left out or empty"


class TranscriptionFields(CaptionFields):
    """A caption request in OpenAI's words: a domain is called model there, and the fields of speech are known."""

    domain: str = Field(alias="model", min_length=1, max_length=256, description="a domain", examples=["city"])
    stream: bool = Field(False, description="answer with events; goes with json and text")
    timestamp_granularities: list[Literal["segment", "word"]] = Field(
        [], description="segment, with verbose_json; words are not timed"
    )
    chunking_strategy: str | None = Field(None, description=f"auto: {_HINT}", examples=["auto"])
    prompt: str | None = Field(None, description=_HINT)
    language: str | None = Field(None, description=_HINT)
    languages: list[str] = Field([], description=_HINT)
    keywords: list[str] = Field([], description=_HINT)
    include: list[str] = Field([], description=_REFUSED)
    known_speaker_names: list[str] = Field([], description=_REFUSED)
    known_speaker_references: list[str] = Field([], description=_REFUSED)

    @property
    def ignored(self) -> list[str]:
        """The hints that were given; nothing is done with them."""
        return [name for name in _HINTS if getattr(self, name)]

    @field_validator("stream")
    @classmethod
    def _text_only(cls, stream: bool, info: ValidationInfo) -> bool:
        if stream and info.data.get("response_format") in BY_WINDOW:
            raise _refusal("a stream carries text and no times; ask for json or text")
        return stream

    @field_validator("timestamp_granularities")
    @classmethod
    def _times_of_segments(cls, wanted: list[str], info: ValidationInfo) -> list[str]:
        if "word" in wanted:
            raise _refusal("a caption says what is heard, nobody speaks its words; ask for segment")
        if wanted and info.data.get("response_format") is not ResponseFormat.verbose_json:
            raise _refusal("goes with response_format verbose_json only")
        return wanted

    @field_validator("chunking_strategy")
    @classmethod
    def _cut_by_sound(cls, strategy: str | None) -> str | None:
        if strategy not in (None, "", "auto"):
            raise _refusal("segments are where the sound changes, not where speech pauses; use auto")
        return strategy

    @field_validator("include")
    @classmethod
    def _nothing_to_include(cls, wanted: list[str]) -> list[str]:
        if any(wanted):
            raise _refusal("log probabilities are not told; leave it out")
        return wanted

    @field_validator("known_speaker_names", "known_speaker_references")
    @classmethod
    def _no_speakers(cls, known: list[str]) -> list[str]:
        if any(known):
            raise _refusal("speakers are not told apart; leave it out")
        return known


def _refusal(message: str) -> PydanticCustomError:
    return PydanticCustomError("refused", "{message}", {"message": message})


_LISTED = [name for name, field in TranscriptionFields.model_fields.items() if field.default == []]
_PARTS = ("type", "threshold", "prefix_padding_ms", "silence_duration_ms")

LISTS: Final = frozenset(_LISTED) | {f"{name}[]" for name in _LISTED}
"""The form fields that may be given more than once, as clients and as people spell them."""

KNOWN: Final = (
    frozenset(field.alias or name for name, field in TranscriptionFields.model_fields.items()) - frozenset(_LISTED)
) | {f"chunking_strategy[{part}]" for part in _PARTS}
"""The other form fields."""


def transcription_fields(upload: Upload) -> TranscriptionFields:
    """The fields of a form. Raises `BadField` for a wrong one."""
    given: dict[str, Any] = {}
    for name, value in upload.fields.items():
        # How clients flatten the settings of a strategy, each of which is refused.
        given["chunking_strategy" if name.startswith("chunking_strategy[") else name] = value
    for name, values in upload.lists.items():
        given.setdefault(name.removesuffix("[]"), []).extend(values)
    try:
        return TranscriptionFields.model_validate(given)
    except ValidationError as error:
        raise BadField(describe_validation(error.errors())) from error
