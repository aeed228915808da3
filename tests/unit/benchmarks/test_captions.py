from pathlib import Path

import pytest

from benchmarks.captions import TooFewCaptions, load_captions


def test_generated_captions_differ_and_are_the_same_every_time() -> None:
    captions = load_captions(None, 500)
    assert len(set(captions)) == 500
    assert captions == load_captions(None, 500)


def test_a_corpus_with_too_few_captions_is_refused(tmp_path: Path) -> None:
    corpus = tmp_path / "few.txt"
    corpus.write_text("Rain falls.\nA dog barks.\n")
    assert sorted(load_captions(corpus, 2)) == ["A dog barks.", "Rain falls."]
    with pytest.raises(TooFewCaptions, match="holds 2 captions and 3 are needed"):
        load_captions(corpus, 3)
