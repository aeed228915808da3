"""The rooms of `models` use only rooms below them, and nothing outside but libraries."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import models

ROOT = Path(models.__file__).parent
ROOMS = tuple(f"models{room}" for room in ("", ".device", ".conditioning", ".clap", ".llm.cpu", ".llm", ".bundle"))
OUTSIDE = ("benchmarks", "cli", "datastores", "evaluation", "research", "service", "training")


def room(module: str) -> int:
    """Index of the room that a module lies in: the longest name that it begins with."""
    return max(range(len(ROOMS)), key=lambda at: len(ROOMS[at]) if f"{module}.".startswith(f"{ROOMS[at]}.") else 0)


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from models.clap import yamnet` names the module `models.clap.yamnet`.
            yield from (f"{node.module}.{one.name}" for one in node.names)


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_uses_no_room_above_its_own_and_nothing_beside_models(path: Path) -> None:
    module = ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
    for name in imported(path):
        assert name.partition(".")[0] not in OUTSIDE
        if name.startswith("models."):
            assert room(name) <= room(module), f"{module} imports {name}"
