"""Imports point from a higher storey of the house to a lower one, never up and never in a circle."""

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.repository.documents import ROOT

# From the ground up. Rooms of one storey do not import each other. A room is a folder, or a file beside folders.
STOREYS = [
    ["models"],
    ["models.device", "models.conditioning", "datastores.corpus"],
    ["models.clap", "models.llm.cpu", "datastores"],
    ["models.llm", "datastores.edge", "datastores.qdrant"],
    ["models.bundle"],
    ["service.settings", "service.errors", "service.version", "service.rates", "service.native_libraries"],
    ["service.monitoring", "service.audio", "service.settings_page"],
    ["service.admission", "service.auth", "service.batching"],
    ["service.captioning"],
    ["service.http", "service.schemas"],
    ["service.openai", "service.answers", "service.jobs"],
    ["service.openapi", "service.runtime"],
    ["service.routes", "service.loading"],
    ["service.ops", "service.diagnosis"],
    ["service.app"],
    ["training", "evaluation", "examples"],
    ["cli.common"],
    ["cli.captioning"],
    ["cli"],
    ["research", "benchmarks"],
]
# Rooms that do not import each other although their storeys would allow it.
APART = [("models", "datastores"), ("datastores", "models"), ("training", "service"), ("evaluation", "service")]
HEIGHT = {room: height for height, rooms in enumerate(STOREYS) for room in rooms}


def modules() -> dict[str, Path]:
    tops = sorted({room.partition(".")[0] for room in HEIGHT})
    files = [file for top in tops for file in (ROOT / top).rglob("*.py")]
    return {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


def room_of(module: str) -> str:
    parts = module.split(".")
    return next(room for end in range(len(parts), 0, -1) if (room := ".".join(parts[:end])) in HEIGHT)


def imports(file: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules that a file imports, also inside functions and for types only."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            for name in node.names:
                full = f"{node.module}.{name.name}"
                if full in known or node.module in known:
                    yield full if full in known else node.module
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name in known)


@cache
def arrows() -> list[tuple[str, str]]:
    known = modules()
    return [(module, target) for module, file in known.items() for target in imports(file, known)]


def test_imports_point_down() -> None:
    upward = [
        f"{source} -> {target}"
        for source, target in arrows()
        if room_of(source) != room_of(target) and HEIGHT[room_of(target)] >= HEIGHT[room_of(source)]
    ]
    assert upward == []


@pytest.mark.parametrize(("room", "other"), APART)
def test_what_stands_apart_does_not_import_the_other(room: str, other: str) -> None:
    across = [f"{a} -> {b}" for a, b in arrows() if a.split(".")[0] == room and b.split(".")[0] == other]
    assert across == []


def test_no_files_import_each_other_in_a_circle() -> None:
    below: dict[str, set[str]] = {}
    for source, target in arrows():
        below.setdefault(source, set()).add(target)
    TopologicalSorter(below).prepare()
