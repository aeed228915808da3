import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datastores.corpus.error import CorpusError
from tests.fakes import FakeClap
from tests.storage import limits
from tests.tiny_bundle import tiny_captions
from training.corpora import TrainingCorpus, embed_corpus, hold_out, load_corpus


def test_captions_that_the_clap_cuts_are_not_trained_on(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write("caption\nA dog barks.\n" + "very " * 60 + "long.\n")
    corpus = load_corpus(path, FakeClap(), limits())
    assert (corpus.name, corpus.captions, corpus.cut) == ("mine", ("A dog barks.",), 1)


def test_a_corpus_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("\n\n")
    with pytest.raises(CorpusError, match="no caption"):
        load_corpus(tmp_path / "mine.txt", FakeClap(), limits())


def test_captions_held_out_are_not_trained_on() -> None:
    corpus = TrainingCorpus("one", tuple(tiny_captions(80)))
    (kept,), (held,) = hold_out([corpus], 256, seed=1)
    assert len(held.captions) == 10
    assert sorted((*kept.captions, *held.captions)) == sorted(corpus.captions)
    assert hold_out([corpus], 4, seed=1)[1][0].captions != hold_out([corpus], 4, seed=2)[1][0].captions


def test_embeddings_are_kept_between_runs(tmp_path: Path) -> None:
    class Counting(FakeClap):
        calls = 0

        def embed_text(self, texts: Any) -> Any:
            self.calls += 1
            return super().embed_text(texts)

    clap, corpus = Counting(), TrainingCorpus("one", tuple(tiny_captions(20)))
    first = embed_corpus(corpus, clap, tmp_path, lambda _: None)
    again = embed_corpus(corpus, clap, tmp_path, lambda _: None)
    assert np.array_equal(first.vectors, again.vectors)
    assert clap.calls == 1
    embed_corpus(TrainingCorpus("one", tuple(tiny_captions(19))), clap, tmp_path, lambda _: None)
    assert clap.calls == 2
