"""Limits of a corpus and the configuration of a Qdrant server, as the settings' defaults have them."""

from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from datastores.corpus import reader
from datastores.corpus.reader import Corpus, CorpusLimits
from datastores.qdrant.config import QdrantConfig
from service.jobs.corpus_reading import corpus_limits
from service.loading import qdrant_config
from service.settings import CorpusSettings, DatastoreSettings


def limits(**changes: int) -> CorpusLimits:
    """The default limits, with changes."""
    return corpus_limits(CorpusSettings(**changes))


def read_corpus(source: BinaryIO | Path, limited: CorpusLimits | None = None, **options: Any) -> Corpus:
    """Read a corpus within the default limits, or those given."""
    return reader.read_corpus(source, limits=limited or limits(), **options)


def server_config(url: str, **changes: Any) -> QdrantConfig:
    """The default configuration of a server, with changes."""
    return replace(qdrant_config(DatastoreSettings(url=url)), **changes)
