"""The fields of a transcription request: those that work, those that are only hints, and those that are refused."""

from typing import Any, Final, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from service.errors import BadField
from service.http.problems import describe_validation
from service.http.uploads import Upload
from service.schemas import SEGMENT_FORMATS, CaptionFields, ResponseFormat

_HINT = "A hint for speech recognition. It is accepted and ignored."
_HINTS = ("chunking_strategy", "keywords", "language", "languages", "prompt")
_STREAMED = frozenset({ResponseFormat.json, ResponseFormat.text})
_REFUSED = "Not supported. Omit the field or leave it empty."


class TranscriptionFields(CaptionFields):
    """The fields of a caption request in OpenAI's API. The domain is called `model`; fields for speech are accepted."""

    domain: str = Field(alias="model", min_length=1, max_length=256, description="A domain.", examples=["city"])
    stream: bool = Field(False, description="Answer with a stream of events. Works with json and text.")
    timestamp_granularities: list[Literal["segment", "word"]] = Field(
        [], description="`segment`, with verbose_json. `word` is not supported."
    )
    chunking_strategy: str | None = Field(None, description=f"`auto`. {_HINT}", examples=["auto"])
    prompt: str | None = Field(None, description=_HINT)
    language: str | None = Field(None, description=_HINT)
    languages: list[str] = Field([], description=_HINT)
    keywords: list[str] = Field([], description=_HINT)
    include: list[str] = Field([], description=_REFUSED)
    known_speaker_names: list[str] = Field([], description=_REFUSED)
    known_speaker_references: list[str] = Field([], description=_REFUSED)

    @property
    def ignored(self) -> list[str]:
        """The hints in the request, which the service ignores."""
        return [name for name in _HINTS if getattr(self, name)]

    @field_validator("stream")
    @classmethod
    def _text_only(cls, stream: bool, info: ValidationInfo) -> bool:
        if stream and info.data.get("response_format") in SEGMENT_FORMATS:
            raise _refusal("a stream has text but no times; use json or text")
        return stream

    @field_validator("timestamp_granularities")
    @classmethod
    def _times_of_segments(cls, wanted: list[str], info: ValidationInfo) -> list[str]:
        if "word" in wanted:
            raise _refusal("a caption has no times of words, because nobody speaks it; use segment")
        if wanted and info.data.get("response_format") is not ResponseFormat.verbose_json:
            raise _refusal("requires response_format verbose_json")
        return wanted

    @field_validator("chunking_strategy")
    @classmethod
    def _cut_by_sound(cls, strategy: str | None) -> str | None:
        if strategy not in (None, "", "auto"):
            raise _refusal("segments end where the sound changes, not where speech pauses; use auto")
        return strategy

    @field_validator("include")
    @classmethod
    def _nothing_to_include(cls, wanted: list[str]) -> list[str]:
        if any(wanted):
            raise _refusal("log probabilities are not supported; omit this field")
        return wanted

    @field_validator("known_speaker_names", "known_speaker_references")
    @classmethod
    def _no_speakers(cls, known: list[str]) -> list[str]:
        if any(known):
            raise _refusal("speakers are not distinguished; omit this field")
        return known


def _refusal(message: str) -> PydanticCustomError:
    return PydanticCustomError("refused", "{message}", {"message": message})


_LISTED = [name for name, field in TranscriptionFields.model_fields.items() if field.default == []]
_PARTS = ("type", "threshold", "prefix_padding_ms", "silence_duration_ms")

LIST_FIELDS: Final = frozenset(_LISTED) | {f"{name}[]" for name in _LISTED}
"""The form fields that may be repeated, with and without the brackets that some clients add."""

FORM_FIELDS: Final = (
    frozenset(field.alias or name for name, field in TranscriptionFields.model_fields.items()) - frozenset(_LISTED)
) | {f"chunking_strategy[{part}]" for part in _PARTS}
"""The other form fields."""


def transcription_fields(upload: Upload) -> TranscriptionFields:
    """Return the fields of a form. Raises `BadField` for an invalid field."""
    given: dict[str, Any] = {}
    for name, value in upload.fields.items():
        # Clients flatten the settings of a chunking strategy like this. All of them are refused.
        given["chunking_strategy" if name.startswith("chunking_strategy[") else name] = value
    for name, values in upload.lists.items():
        given.setdefault(name.removesuffix("[]"), []).extend(values)
    try:
        return TranscriptionFields.model_validate(given)
    except ValidationError as error:
        raise BadField(describe_validation(error.errors())) from error
