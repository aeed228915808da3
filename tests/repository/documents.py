"""Documents as tests read them: their code blocks, and the commands in these."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ADDRESS = "http://127.0.0.1:8000"
"""The address of the service in every document."""
CURL, DRCAP, MAKE, PYTHON = "curl", ".venv/bin/drcap", "make", ".venv/bin/python"


def read(path: str) -> str:
    """Return the text of a file of the repository."""
    return (ROOT / path).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """Return the contents of the fenced code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class DocumentedCommand:
    """One line of a ``sh`` block.

    Attributes:
        line: the whole line.
        words: its words, without variables and comment.
        status: the HTTP status that a comment at the end announces.
    """

    line: str
    words: tuple[str, ...]
    status: int | None

    @classmethod
    def parse(cls, line: str) -> "DocumentedCommand":
        """Split a line into words as a shell does."""
        announced = re.search(r"# (\d{3})$", line)
        return cls(line, tuple(shlex.split(line, comments=True)), int(announced[1]) if announced else None)


def commands(text: str) -> list[DocumentedCommand]:
    """Return every command in the ``sh`` blocks of a text, in order."""
    lines = [line for block in blocks(text, "sh") for line in block.splitlines() if line.strip()]
    return [DocumentedCommand.parse(line) for line in lines]


def commands_of(text: str, program: str) -> list[DocumentedCommand]:
    """Return the commands of one program."""
    return [command for command in commands(text) if command.words[0] == program]
