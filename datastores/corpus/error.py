"""The error of a corpus, with its place."""


class CorpusError(Exception):
    """A corpus, or one row of it, cannot be read.

    Attributes:
        kind: ``format``, ``encoding``, ``row``, ``column``, ``damaged``, ``too-long``, ``too-many`` or ``empty``.
        line: number of the line, from 1, if there is one; in a JSON document the number of the caption.
    """

    def __init__(self, message: str, kind: str, line: int | None = None, unit: str = "line") -> None:
        super().__init__(message if line is None else f"{unit} {line}: {message}")
        self.kind = kind
        self.line = line
