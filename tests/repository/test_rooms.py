"""What users run does not depend on how its weights were made or measured."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INSTALLED = ("cli", "service", "models", "datastores", "training", "evaluation", "examples")


def _imported(room: str) -> set[tuple[str, str]]:
    """Every file of a room with the room of each module that it imports, at its head or in a function."""
    found = set()
    for path in (ROOT / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            else:
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found |= {(str(path.relative_to(ROOT)), name.split(".")[0]) for name in names}
    return found


@pytest.mark.parametrize("room", INSTALLED)
def test_nothing_installed_imports_research_or_benchmarks(room: str) -> None:
    assert [pair for pair in _imported(room) if pair[1] in ("research", "benchmarks", "tests")] == []


@pytest.mark.parametrize("room", ["training", "evaluation"])
def test_training_and_evaluation_know_models_and_datastores_alone(room: str) -> None:
    rooms = {other for _, other in _imported(room) if (ROOT / other).is_dir()}
    assert rooms <= {room, "models", "datastores"}


def test_the_sample_recordings_know_no_other_room() -> None:
    assert {other for _, other in _imported("examples") if (ROOT / other).is_dir()} == {"examples"}
