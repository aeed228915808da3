"""Opens the corpus of a job: its upload on disk, within the limits of the settings."""

from functools import partial
from pathlib import Path

from datastores.corpus.reader import Corpus, CorpusLimits, read_corpus
from service.jobs.records import JobRecord
from service.settings import CorpusSettings, variable_name


def corpus_limits(settings: CorpusSettings) -> CorpusLimits:
    """Return the limits of a corpus from the settings."""
    return CorpusLimits(
        settings.max_captions,
        settings.max_caption_characters,
        settings.max_unpacked_bytes,
        partial(variable_name, "corpus"),
    )


def open_corpus(path: Path, record: JobRecord, settings: CorpusSettings) -> Corpus:
    """Open the captions of an upload. Raises `CorpusError` if the start of the file matches no corpus format."""
    return read_corpus(
        path,
        media_type=record.media_type,
        filename=record.filename,
        limits=corpus_limits(settings),
        column=record.column,
        on_error=record.on_error,
    )
