"""The prompt: similar captions, the audio token(s), and the words around them.

The template is data, not code: each bundle has its own in ``bundle.json`` under ``prompt``. The default bundle's is in
`models/embedded/bundle.json`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from models.vectors import FloatArray

_SPACES = re.compile(r"\s+")
_TRAILING = " .;,"
_SOUNDS = "{sounds}"
_PLACEHOLDER = re.compile(r"\{(?:similar|sounds)\}")


SoundGroups = tuple[tuple[str, ...], ...]
"""Names of kinds of sound: those of a group are heard together, and the groups one after the other."""


@dataclass(frozen=True)
class Weighted:
    """A caption of the domain near the sound, and its weight among all of them."""

    caption: str
    weight: float


@dataclass(frozen=True)
class Prompt:
    """The input of the decoder for one caption.

    Attributes:
        vector: projected audio embedding [d], unit norm; the projector turns it into LLM token(s).
        similar_captions: captions retrieved from the domain, best first; may be empty.
        sounds: what the CLAP is sure of; empty where nothing is known.
        neighbours: more captions of the domain near the sound, with weights that sum to 1. They do not stand in the
            prompt's text; the decoder takes words from them.
    """

    vector: FloatArray
    similar_captions: tuple[str, ...] = field(default=())
    sounds: SoundGroups = field(default=())
    neighbours: tuple[Weighted, ...] = field(default=())


@dataclass(frozen=True)
class PromptTemplate:
    """The text around the audio token(s). It holds ``{similar}`` and ``{audio}`` once each, in either order.

    Attributes:
        text: the template, e.g. ``"Similar sounds:\\n{similar}\\nThis sound: {audio}\\nCaption:"``. It may also hold
            ``{sounds}`` once.
        similar_item: how one similar caption is written, with ``{caption}``.
        separator: text between similar captions.
        none: text in place of ``{similar}`` when there are no similar captions.
        no_sounds: text in place of ``{sounds}`` when there are no sounds.
        starts: whether the LLM's start token stands before the text. A chat (`models.llm.chat`) has its own start.
    """

    text: str
    similar_item: str
    separator: str
    none: str
    no_sounds: str = ""
    starts: bool = True

    def __post_init__(self) -> None:
        for placeholder in ("{similar}", "{audio}"):
            if self.text.count(placeholder) != 1:
                raise ValueError(f"a prompt template holds {placeholder} exactly once: {self.text!r}")
        if self.text.count(_SOUNDS) > 1:
            raise ValueError(f"a prompt template holds {_SOUNDS} at most once: {self.text!r}")
        if self.similar_item.count("{caption}") != 1:
            raise ValueError(f"similar_item holds {{caption}} exactly once: {self.similar_item!r}")

    def similar(self, captions: Sequence[str]) -> str:
        """Return the text in place of ``{similar}``."""
        items = [self.similar_item.replace("{caption}", plain_caption(caption)) for caption in captions]
        return self.separator.join(items) if items else self.none

    def sounds(self, groups: Sequence[Sequence[str]]) -> str:
        """Return the text in place of ``{sounds}``, such as ``rain, dog, then speech``."""
        return ", then ".join(", ".join(group) for group in groups) or self.no_sounds


class PromptTokenizer(Protocol):
    """The part of `models.llm.language_model.Llm` that `encode_prompt` needs. This module may not import that."""

    @property
    def start_token(self) -> int | None:
        """The token id that begins a text, if there is one."""

    @property
    def control_tokens(self) -> Mapping[str, int]:
        """Text -> id of the tokens that steer the LLM, such as its end token."""

    def tokenize(self, text: str) -> list[int]:
        """Return the token ids of plain text. Text that looks like a control token stays text."""


def encode_prompt(llm: PromptTokenizer, template: PromptTemplate, prompt: Prompt) -> tuple[list[int], list[int]]:
    """Return the token ids before and after the audio token(s), in training and at inference.

    A control token of the LLM in the template becomes that token; in a caption it stays text. Text between two control
    tokens is tokenised by itself, as SLAM-LLM does.
    """
    values = {"{similar}": template.similar(prompt.similar_captions), _SOUNDS: template.sounds(prompt.sounds)}
    before, after = (_encode(llm, side, values) for side in template.text.split("{audio}"))
    start = [llm.start_token] if template.starts and llm.start_token is not None else []
    return start + before, after


def _encode(llm: PromptTokenizer, side: str, values: Mapping[str, str]) -> list[int]:
    controls = llm.control_tokens
    written = "|".join(re.escape(token) for token in controls)
    ids: list[int] = []
    for piece in re.split(f"({written})", side) if written else [side]:
        if piece in controls:
            ids.append(controls[piece])
        elif piece:
            # In one pass: a caption that contains a placeholder stays text.
            ids += llm.tokenize(_PLACEHOLDER.sub(lambda found: values[found[0]], piece))
    return ids


def plain_caption(caption: str) -> str:
    """Return a caption in one line, without trailing punctuation that would double the template's own."""
    return _SPACES.sub(" ", caption).strip().rstrip(_TRAILING)
