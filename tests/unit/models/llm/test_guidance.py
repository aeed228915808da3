import math

import pytest
import torch

from models.decoder import GenerationOptions
from models.llm.generation import decode
from models.llm.guidance import Guidance, guided
from tests.unit.models.llm.test_generation import END, TableModel

# The neighbours say 2 3, and one of them 2 4.
GUIDE = Guidance([(2, 3, END), (2, 4, END)], [0.75, 0.25])
FREE = {1: {5: 0.6, 2: 0.4}, 2: {3: 0.5, 4: 0.5}, 3: {END: 1.0}, 4: {END: 1.0}, 5: {END: 1.0}}


def chances(*tokens: int) -> dict[int, float]:
    found = GUIDE.after(tokens)
    assert found is not None
    return dict(zip(found[0].tolist(), found[1].tolist(), strict=True))


@pytest.mark.parametrize("tokens", [(), (2,), (2, 3), (5,), (9, 9, 9, 9)])
def test_the_chances_of_what_follows_sum_to_one(tokens: tuple[int, ...]) -> None:
    assert sum(chances(*tokens).values()) == pytest.approx(1.0, abs=1e-6)


def test_what_neighbours_say_after_the_same_words_is_likely() -> None:
    assert chances()[2] > 0.9
    assert chances(2)[3] == pytest.approx(0.75, abs=0.05)
    assert chances(2, 4)[END] > 0.9


def test_after_unknown_words_only_the_commonness_of_a_word_counts() -> None:
    assert chances(5) == pytest.approx({2: 1 / 3, 3: 0.25, 4: 1 / 12, END: 1 / 3})


def test_guided_scores_are_a_mixture_of_both() -> None:
    scores = torch.log(torch.tensor([[0.0, 0.0, 0.2, 0.2, 0.3, 0.3]]))
    mixed = guided(scores, [(2,)], [GUIDE], 0.5).exp()
    assert mixed.sum() == pytest.approx(1.0 - 0.5 * chances(2)[END], abs=1e-5)
    assert mixed[0, 3] == pytest.approx(0.5 * 0.2 + 0.5 * chances(2)[3], abs=1e-5)
    assert mixed[0, 5] == pytest.approx(0.5 * 0.3, abs=1e-5)


def test_a_forbidden_token_stays_forbidden() -> None:
    scores = torch.full((1, 6), -math.inf)
    scores[0, 5] = 0.0
    assert guided(scores, [()], [GUIDE], 0.5)[0, 2] == -torch.inf


def test_without_neighbours_the_scores_stay() -> None:
    scores = torch.log(torch.tensor([[0.5, 0.5]]))
    assert torch.equal(guided(scores, [()], [Guidance([], [])], 0.5), scores)


@pytest.mark.parametrize("beams", [1, 2])
def test_neighbours_decide_where_the_llm_hesitates(beams: int) -> None:
    free, told = (
        decode(
            TableModel(FREE, [1]),
            1,
            GenerationOptions(num_beams=beams, guidance=share),
            frozenset({END}),
            guides=[GUIDE],
        )[0][0]
        for share in (0.0, 0.5)
    )
    assert (free, told) == ((5,), (2, 3))


def test_a_caption_does_not_depend_on_its_batch_mates() -> None:
    options = GenerationOptions(num_beams=3, guidance=0.4)
    guides = [GUIDE, Guidance([], []), Guidance([(4, END)], [1.0])]
    together = decode(TableModel(FREE, [1, 1, 2]), 3, options, frozenset({END}), guides=guides)
    alone = [
        decode(TableModel(FREE, [start]), 1, options, frozenset({END}), guides=[guide])[0]
        for start, guide in zip([1, 1, 2], guides, strict=True)
    ]
    assert together == alone
