"""The prompt: similar captions, the audio token(s), and the words that say what each of them is."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

_SPACES = re.compile(r"\s+")
_TRAILING = " .;,"


@dataclass(frozen=True)
class Prompt:
    """What the decoder is asked to caption.

    Attributes:
        vector: the projected audio embedding [d], unit norm; the projector turns it into LLM token(s).
        similar_captions: captions retrieved from the domain, best first; may be empty.
    """

    vector: NDArray[np.float32]
    similar_captions: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class PromptTemplate:
    """Text around the audio token(s). ``{similar}`` and ``{audio}`` each stand once, in either order.

    Attributes:
        text: the template, e.g. ``"Similar sounds:\\n{similar}\\nThis sound: {audio}\\nCaption:"``.
        similar_item: how one similar caption is written, with ``{caption}``.
        separator: between similar captions.
        none: what ``{similar}`` becomes when there are no similar captions.
        starts: whether the LLM's start token stands before the text; that of a chat (`models.llm.chat`) has its own.
    """

    text: str
    similar_item: str
    separator: str
    none: str
    starts: bool = True

    def __post_init__(self) -> None:
        for placeholder in ("{similar}", "{audio}"):
            if self.text.count(placeholder) != 1:
                raise ValueError(f"a prompt template holds {placeholder} exactly once: {self.text!r}")
        if self.similar_item.count("{caption}") != 1:
            raise ValueError(f"similar_item holds {{caption}} exactly once: {self.similar_item!r}")

    def split(self, similar_captions: Sequence[str]) -> tuple[str, str]:
        """The text before and the text after the audio token(s)."""
        similar = self.similar(similar_captions)
        before, after = self.text.split("{audio}")
        if "{similar}" in before:
            return before.replace("{similar}", similar), after
        return before, after.replace("{similar}", similar)

    def similar(self, captions: Sequence[str]) -> str:
        """What stands for ``{similar}``."""
        items = [self.similar_item.replace("{caption}", plain_caption(caption)) for caption in captions]
        return self.separator.join(items) if items else self.none


class Tokenizer(Protocol):
    """What writing a prompt needs of an LLM: `models.llm.language_model.Llm`."""

    @property
    def start_token(self) -> int | None:
        """Token id that begins a text, if there is one."""

    @property
    def control_tokens(self) -> Mapping[str, int]:
        """Ids of the tokens that steer the LLM, such as its end token, by how they are written."""

    def tokenize(self, text: str) -> list[int]:
        """Token ids of plain text, control tokens taken as text."""


def encode_prompt(llm: Tokenizer, template: PromptTemplate, prompt: Prompt) -> tuple[list[int], list[int]]:
    """Token ids before and after the audio token(s). Training and inference both write prompts here.

    What the template writes as a control token of the LLM is one; in a caption it stays text. The text between two of
    them is tokenised by itself, as SLAM-LLM does.
    """
    similar = template.similar(prompt.similar_captions)
    before, after = (_encode(llm, side, similar) for side in template.text.split("{audio}"))
    start = [llm.start_token] if template.starts and llm.start_token is not None else []
    return start + before, after


def _encode(llm: Tokenizer, side: str, similar: str) -> list[int]:
    controls = llm.control_tokens
    written = "|".join(re.escape(token) for token in controls)
    ids: list[int] = []
    for piece in re.split(f"({written})", side) if written else [side]:
        if piece in controls:
            ids.append(controls[piece])
        elif piece:
            ids += llm.tokenize(piece.replace("{similar}", similar))
    return ids


def plain_caption(caption: str) -> str:
    """One line without trailing punctuation, so that the template's own punctuation is never doubled."""
    return _SPACES.sub(" ", caption).strip().rstrip(_TRAILING)
