"""What is wrong with a corpus, and where."""


class CorpusError(Exception):
    """A corpus that cannot be taken, or one row of it.

    Attributes:
        kind: ``format``, ``encoding``, ``row``, ``column``, ``damaged``, ``too-long``, ``too-many`` or ``empty``.
        line: number of the line, from 1, where there is one; of a JSON document the number of the caption, of a
            Parquet file that of the row.
    """

    def __init__(self, message: str, kind: str, line: int | None = None, unit: str = "line") -> None:
        super().__init__(message if line is None else f"{unit} {line}: {message}")
        self.kind = kind
        self.line = line
