"""A bundle with a language model of a few thousand parameters."""

from pathlib import Path
from typing import Any

import pytest

from models.bundle.config import read_config
from models.bundle.load import load_source
from tests.tiny_bundle import write_tiny_bundle


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle's folder."""
    return write_tiny_bundle(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def tiny(base: Path) -> Any:
    """Its language model."""
    return load_source(read_config(base).llm, base)
