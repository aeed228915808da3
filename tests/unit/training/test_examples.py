"""Similarity selection, composed captions and training examples."""

import gzip
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from datastores.corpus.reader import CorpusError
from models.bundle.config import read_config
from models.bundle.load import load_source
from models.llm.projector import Projector
from models.prompt import PromptTemplate
from research.corpora.composed import composed_captions
from research.corpora.embedded import SHIPPABLE, corpora
from tests.fakes import FakeClap
from tests.tiny_bundle import tiny_captions, write_tiny_bundle
from training import similarity
from training.batches import IGNORED, Batch, BatchSource, CaptionLoss, collate
from training.corpora import Corpus, embed_corpus, hold_out, load_corpus
from training.examples import Example, ExampleOptions, ExampleSource
from training.similarity import SelectionRange, candidate_pool, choose_range, on_grid


def _unit_rows(count: int, seed: int = 0) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).normal(size=(count, 8)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def test_candidates_lie_inside_the_range_most_similar_first() -> None:
    rows = _unit_rows(200)
    pool = candidate_pool(rows, SelectionRange(0.2, 0.7), size=10)
    for row, candidates in enumerate(pool):
        scores = rows[candidates[candidates >= 0]] @ rows[row]
        assert ((scores > 0.2) & (scores < 0.7)).all()
        assert (np.diff(scores) <= 1e-6).all()
        inside = np.sort((rows @ rows[row])[(rows @ rows[row] > 0.2) & (rows @ rows[row] < 0.7)])[::-1]
        np.testing.assert_allclose(scores, inside[:10], atol=1e-6)


@pytest.mark.kernels
def test_the_chunk_size_does_not_change_the_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = _unit_rows(100)
    one = candidate_pool(rows, SelectionRange(0.1, 0.8), 6)
    monkeypatch.setattr(similarity, "_SCORES_AT_ONCE", 700)
    assert np.array_equal(one, candidate_pool(rows, SelectionRange(0.1, 0.8), 6))


@pytest.mark.kernels
def test_the_order_in_which_a_similarity_is_added_up_changes_neither_range_nor_candidates() -> None:
    vectors = FakeClap().embed_text(tiny_captions(120))
    other_way = np.ascontiguousarray(vectors[:, np.random.default_rng(0).permutation(64)])
    chosen = choose_range([vectors], seed=1)
    assert choose_range([other_way], seed=1) == chosen
    assert np.array_equal(candidate_pool(vectors, chosen, 12), candidate_pool(other_way, chosen, 12))


@pytest.mark.kernels
def test_a_caption_at_the_edge_of_the_range_is_outside_whatever_adds_up_its_similarity() -> None:
    vectors = on_grid(_unit_rows(40))
    for row in range(40):
        exact = {other: math.fsum((vectors[row] * vectors[other]).tolist()) for other in range(40) if other != row}
        low, *_, high = sorted(exact.values())[10:-10]
        pool = candidate_pool(vectors.astype(np.float32), SelectionRange(low, high), 40)[row]
        assert set(pool[pool >= 0]) == {other for other, score in exact.items() if low < score < high}


def test_of_equally_similar_captions_the_first_are_candidates() -> None:
    rows = np.repeat(_unit_rows(4), 30, axis=0)
    pool = candidate_pool(rows, SelectionRange(-0.99, 0.99), 40)
    scores = np.round(rows.astype(np.float64) @ rows.T.astype(np.float64), 4)
    for row, candidates in enumerate(pool):
        inside = [other for other in range(120) if other // 30 != row // 30]
        assert candidates.tolist() == sorted(inside, key=lambda other: (-scores[row][other], other))[:40]


def test_no_caption_is_a_candidate_of_its_own() -> None:
    pool = candidate_pool(_unit_rows(50), SelectionRange(-1.0, 1.0), 50)
    assert not (pool == np.arange(50)[:, None]).any()
    assert (np.sort(pool, axis=1)[:, 1:] >= 0).all()


def test_the_chosen_range_lies_between_unrelated_captions_and_near_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    centres = np.repeat(_unit_rows(50), 8, axis=0)
    rows = centres + 0.12 * rng.normal(size=centres.shape).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    chosen = choose_range([rows], seed=1)
    own = np.sort(rows @ rows.T, axis=1)[:, -8:-1]
    assert np.quantile(rows @ rows.T, 0.9) < chosen.low < chosen.high < 1
    assert own.min(axis=1).mean() < chosen.high <= own.max()
    assert choose_range([rows], seed=1) == chosen
    monkeypatch.setattr(similarity, "_SCORES_AT_ONCE", 900)
    assert choose_range([rows], seed=1).high == pytest.approx(chosen.high, abs=1e-6)


def test_a_range_is_found_even_where_all_captions_are_near_copies() -> None:
    rows = np.ones((20, 8), dtype=np.float32) / np.sqrt(8.0)
    chosen = choose_range([np.asarray(rows, dtype=np.float32)], seed=0)
    assert chosen.high - chosen.low >= 0.09


def test_a_corpus_smaller_than_the_pool_is_filled_up_with_none() -> None:
    pool = candidate_pool(_unit_rows(3), SelectionRange(-0.99, 0.99), size=5)
    assert pool.shape == (3, 5)
    assert (pool[:, 3:] == -1).all()


def test_an_empty_range_is_refused() -> None:
    with pytest.raises(ValueError, match="low < high"):
        SelectionRange(0.8, 0.4)


def test_composed_captions_repeat_with_their_seed_and_are_distinct() -> None:
    captions = composed_captions(500, seed=3)
    assert captions == composed_captions(500, seed=3)
    assert captions != composed_captions(500, seed=4)
    assert len(set(captions)) == 500


def _source(**options: Any) -> ExampleSource:
    captions = tuple(f"Sound number {i}." for i in range(60))
    fields = {"noise": 0.5, "blind": 0.0} | options
    return ExampleSource(
        [Corpus("one", captions)], [_unit_rows(60)], ExampleOptions(SelectionRange(-0.5, 0.9), **fields)
    )


def test_examples_repeat_with_their_seed() -> None:
    one, two = (_source(restyle=0.5).draw(np.random.default_rng(5)) for _ in range(2))
    assert (one.similar_captions, one.captions) == (two.similar_captions, two.captions)
    assert np.array_equal(one.vector, two.vector)


@pytest.mark.kernels
def test_the_order_in_which_a_similarity_is_added_up_changes_no_example() -> None:
    captions, vectors = tiny_captions(125), FakeClap().embed_text(tiny_captions(125))
    order = np.random.default_rng(0).permutation(64)
    turned = np.ascontiguousarray(vectors[:, order])
    options = ExampleOptions(choose_range([vectors], seed=1), noise=0.0, project=0.0, plain=0.0, drop=0.0)
    sources = [ExampleSource([Corpus("one", tuple(captions))], [one], options) for one in (vectors, turned)]
    for seed in range(200):
        one, other = (source.draw(np.random.default_rng(seed)) for source in sources)
        assert (one.captions, one.similar_captions) == (other.captions, other.similar_captions)
        assert np.array_equal(one.vector[order], other.vector)


def test_no_caption_stands_in_its_own_prompt() -> None:
    rng = np.random.default_rng(0)
    source = _source(plain=0.0, drop=0.0, similar=(3, 3))
    for _ in range(100):
        example = source.draw(rng)
        assert len(set(example.captions)) == len(example.captions)
        assert not set(example.captions) & set(example.similar_captions)
        assert len(example.similar_captions) == 3


def test_shares_of_examples_are_those_asked_for() -> None:
    rng = np.random.default_rng(0)
    source = _source(plain=0.3, blind=0.4, similar=(2, 2), drop=0.0)
    examples = [source.draw(rng) for _ in range(400)]
    assert np.mean([not e.similar_captions for e in examples]) == pytest.approx(0.3, abs=0.07)
    assert np.mean([not e.vector.any() for e in examples]) == pytest.approx(0.4, abs=0.07)


def test_similar_captions_are_left_out_at_random() -> None:
    def mean_number(drop: float) -> float:
        source = _source(plain=0.0, drop=drop, similar=(40, 40), mishear=0.0)
        return float(np.mean([len(source.draw(np.random.default_rng(i)).similar_captions) for i in range(50)]))

    assert mean_number(0.5) == pytest.approx(mean_number(0.0) / 2, rel=0.15)


def test_the_projected_vector_does_not_use_the_caption_itself() -> None:
    rows = np.concatenate([np.eye(8, dtype=np.float32)[:1], np.eye(8, dtype=np.float32)[1:3]])
    options = ExampleOptions(SelectionRange(-0.5, 0.9), project=1.0, noise=0.1, plain=1.0, blind=0.0, mishear=0.0)
    source = ExampleSource([Corpus("one", ("a", "b", "c"))], [rows], options)
    vector = source.example(0, 0, np.random.default_rng(0)).vector
    assert vector[0] == pytest.approx(0.0, abs=1e-6)
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)


def test_what_is_misheard_is_less_like_the_captions_and_still_a_unit_vector() -> None:
    def likeness(mishear: float) -> float:
        source, rng = _source(mishear=mishear, project=0.0, noise=0.0, targets=1), np.random.default_rng(0)
        found = []
        for row in range(60):
            vector = source.example(0, row, rng).vector
            assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)
            found.append(float(vector @ _unit_rows(60)[row]))
        return float(np.mean(found))

    assert likeness(0.0) == pytest.approx(1.0, abs=1e-5)
    assert 0.3 < likeness(1.0) < 0.9


@pytest.mark.parametrize("wrong", [{"plain": 1.2}, {"similar": (3, 2)}, {"targets": 0}, {"noise": -1.0}])
def test_options_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        _source(**wrong)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = write_tiny_bundle(tmp_path_factory.mktemp("tiny"))
    return load_source(read_config(folder).llm, folder)


TEMPLATE = PromptTemplate("{similar}\n{audio}:", "- {caption}", "\n", "-")


def _vectors(count: int) -> NDArray[np.float32]:
    return FakeClap().embed_text(tiny_captions(count))


@pytest.mark.kernels
def test_captions_that_share_a_prompt_cost_what_they_cost_alone(tiny: Any) -> None:
    torch.manual_seed(3)
    loss = CaptionLoss(tiny.model, Projector(64, 8, tiny.hidden_size, 4)).eval()
    heard, other = _vectors(2)
    one, two, three = tiny_captions(3)
    similar = ("Rain falls", "A bell")
    shared = collate(tiny, TEMPLATE, [Example(heard, similar, (one, two, three)), Example(other, (), (two,))], 4)
    examples = [*(Example(heard, similar, (caption,)) for caption in (one, two, three)), Example(other, (), (two,))]
    alone = [collate(tiny, TEMPLATE, [example], 4) for example in examples]
    total = sum(float(loss(batch).detach()) * batch.tokens() for batch in alone)
    assert sum(batch.tokens() for batch in alone) == shared.tokens()
    assert float(loss(shared).detach()) == pytest.approx(total / shared.tokens(), rel=1e-5)


def test_only_the_captions_and_their_end_are_asked_for(tiny: Any) -> None:
    batch = collate(tiny, TEMPLATE, [Example(_vectors(1)[0], ("Rain",), tuple(tiny_captions(2)))], 4)
    asked = batch.labels[0][batch.labels[0] != IGNORED].tolist()
    assert asked == [token for text in tiny_captions(2) for token in (*tiny.tokenize(" " + text), tiny.end_token)]


@pytest.mark.kernels
def test_a_batch_is_a_function_of_its_number_alone(tiny: Any) -> None:
    def batches() -> BatchSource:
        return BatchSource(tiny, TEMPLATE, _source(), 2, 4, seed=1)

    def same(one: Batch, two: Batch) -> bool:
        return torch.equal(one.ids, two.ids) and torch.equal(one.vectors, two.vectors)

    forwards = batches()
    ahead = [forwards[i] for i in range(10)]
    assert same(batches()[9], ahead[9])
    assert same(forwards[2], ahead[2])
    assert not same(ahead[2], ahead[9])


def test_captions_that_the_clap_cuts_are_not_trained_on(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write("caption\nA dog barks.\n" + "very " * 60 + "long.\n")
    corpus = load_corpus(path, FakeClap())
    assert (corpus.name, corpus.captions, corpus.cut) == ("mine", ("A dog barks.",), 1)


def test_a_corpus_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("\n\n")
    with pytest.raises(CorpusError, match="no caption"):
        load_corpus(tmp_path / "mine.txt", FakeClap())


def test_captions_held_out_are_not_trained_on() -> None:
    corpus = Corpus("one", tuple(tiny_captions(80)))
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

    clap, corpus = Counting(), Corpus("one", tuple(tiny_captions(20)))
    first = embed_corpus(corpus, clap, tmp_path, lambda _: None)
    assert np.array_equal(first, embed_corpus(corpus, clap, tmp_path, lambda _: None))
    assert clap.calls == 1
    embed_corpus(Corpus("one", tuple(tiny_captions(19))), clap, tmp_path, lambda _: None)
    assert clap.calls == 2


def test_remarks_on_the_recording_are_cut_or_dropped(tmp_path: Path) -> None:
    for name in SHIPPABLE:
        with gzip.open(tmp_path / f"{name}.csv.gz", "wt", encoding="utf-8") as file:
            file.write(
                "audio_id,caption\n"
                "1,Waves break on rocks with heavy audio artifacts.\n"
                "2,Poor recording quality of something noisy.\n"
                "3,A dog barks at night.\n"
                "4,a dog barks at night\n"
            )
    read = dict(corpora(tmp_path, seed=0))
    assert read["mecat_sound"] == ["Waves break on rocks.", "A dog barks at night."]
