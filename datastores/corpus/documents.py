"""Reads the captions of a JSON document as a stream, one value in memory at a time."""

import codecs
import io
import json
import re
from collections.abc import Iterator

from datastores.corpus.columns import captions_of_item
from datastores.corpus.error import CorpusError
from datastores.corpus.source import HEAD_BYTES, not_utf8

_MAX_VALUE_CHARACTERS = 1 << 20
_SPACE = re.compile(r"[ \t\n\r]*")
_SHAPE = 'the JSON must be {"captions": ["...", "..."]}'


def read_json(file: io.BufferedReader, column: str | None) -> Iterator[tuple[int, str | CorpusError]]:
    """Yield (number of the item of ``captions``, caption), or the error of an item in place of its caption.

    Raises:
        CorpusError: the document is not JSON or not UTF-8, has another shape, or has a value of over 1 MiB.
    """
    document = _Document(file)
    first = document.peek()
    if not first:
        return
    if first != "{":
        raise document.error(_SHAPE)
    found = False
    for _ in document.members("{", "}"):
        if document.peek() != '"':
            raise document.error("it is not JSON: a key must be a string")
        key = document.value()
        document.take(":")
        if key != "captions":
            document.value()
            continue
        found = True
        if document.peek() != "[":
            raise document.error(_SHAPE)
        for number in document.members("[", "]"):
            texts = captions_of_item(document.value(), column, number, "caption")
            if isinstance(texts, CorpusError):
                yield number, texts
            else:
                yield from ((number, text) for text in texts)
    if document.peek():
        raise document.error("it is not JSON: there is more after its end")
    if not found:
        raise CorpusError(_SHAPE, "row")


class _Document:
    """A JSON text that gives its values in order; the json module reads each of them."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file
        self._text = ""
        self._at = 0
        self._lines_before = 0
        self._column_before = 0
        self._ended = False
        self._decode = _Decoder()
        self._json = json.JSONDecoder()

    def peek(self) -> str:
        """The next character that is not white space; empty at the end."""
        while True:
            space = _SPACE.match(self._text, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._text) or not self._more():
                return self._text[self._at : self._at + 1]

    def take(self, expected: str) -> str:
        """Read the next character, which must be one of `expected`."""
        character = self.peek()
        if not character or character not in expected:
            raise self.error(f"it is not JSON: {' or '.join(map(repr, expected))} is missing")
        self._at += 1
        return character

    def members(self, opening: str, closing: str) -> Iterator[int]:
        """Stop before each member of an object or a list; yield its number, from 1."""
        self.take(opening)
        if self.peek() == closing:
            self.take(closing)
            return
        number = 1
        yield number
        while self.take("," + closing) == ",":
            number += 1
            yield number

    def value(self) -> object:
        """Read the next complete value."""
        self.peek()
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if not self._more():
                    raise self.error(f"it is not JSON: {error.msg}", error.pos) from error
            except (ValueError, RecursionError) as error:
                raise self.error("a value nests too deep or has a huge number") from error
            else:
                # A number may continue in the part that is not read yet.
                if end < len(self._text) or not self._more():
                    self._at = end
                    return value

    def error(self, message: str, at: int | None = None, kind: str = "row") -> CorpusError:
        """An error at a position of the text in memory; by default at the next character."""
        before = self._text[: self._at if at is None else at]
        lines = before.count("\n")
        column = len(before) - before.rfind("\n") if lines else self._column_before + len(before) + 1
        return CorpusError(f"{message} at column {column}", kind, self._lines_before + lines + 1)

    def _more(self) -> bool:
        """Read more and drop the text before the position. Return False at the end."""
        if self._ended:
            return False
        if len(self._text) - self._at > _MAX_VALUE_CHARACTERS:
            raise self.error(f"a value is longer than {_MAX_VALUE_CHARACTERS:,} characters", kind="too-long")
        passed = self._text[: self._at]
        lines = passed.count("\n")
        self._column_before = len(passed) - passed.rfind("\n") - 1 if lines else self._column_before + len(passed)
        self._lines_before += lines
        data = self._file.read(HEAD_BYTES)
        self._ended = not data
        self._text = self._text[self._at :] + self._decode(data)
        self._at = 0
        return True


class _Decoder:
    """UTF-8, with or without a byte order mark, in pieces."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._lines = 0
        self._bytes_of_line = 0

    def __call__(self, data: bytes) -> str:
        """Decode the next piece; an empty one is the last."""
        pending = self._decoder.getstate()[0]
        try:
            text = self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            piece = pending + data
            before = piece[: self._position(error, piece)]
            in_line = len(before) - before.rfind(b"\n") - 1 + (0 if b"\n" in before else self._bytes_of_line)
            raise not_utf8(piece[len(before)], in_line + 1, self._lines + before.count(b"\n") + 1) from error
        taken = (pending + data)[: len(pending) + len(data) - len(self._decoder.getstate()[0])]
        newline = taken.rfind(b"\n")
        self._lines += taken.count(b"\n")
        self._bytes_of_line = len(taken) - newline - 1 + (0 if newline >= 0 else self._bytes_of_line)
        return text

    @staticmethod
    def _position(error: UnicodeDecodeError, piece: bytes) -> int:
        # The codec omits the byte order mark of the first piece.
        return error.start + len(piece) - len(error.object)
