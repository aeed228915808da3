"""The decode engine with a language model of a few lines: a table of next-token chances by last token."""

import math

import pytest
import torch
from torch import Tensor

from models.decoder import GenerationOptions
from models.llm.generation import decode

END = 0
VOCABULARY = 6


class TableModel:
    """Next-token chances depend on the last token only; prompts start at given tokens."""

    def __init__(self, chances: dict[int, dict[int, float]], starts: list[int]) -> None:
        self._table = torch.full((VOCABULARY, VOCABULARY), -math.inf)
        for token, following in chances.items():
            for after, chance in following.items():
                self._table[token, after] = math.log(chance)
        self._starts = torch.tensor(starts)
        self.steps = 0
        self.widest = 0

    def start(self) -> Tensor:
        return self._table[self._starts]

    def step(self, rows: Tensor, tokens: Tensor) -> Tensor:
        assert len(rows) == len(tokens)
        self.steps += 1
        self.widest = max(self.widest, len(rows))
        return self._table[tokens]


class CountingModel(TableModel):
    """Remembers how many rows each step had."""

    def __init__(self, chances: dict[int, dict[int, float]], starts: list[int]) -> None:
        super().__init__(chances, starts)
        self.rows: list[int] = []

    def step(self, rows: Tensor, tokens: Tensor) -> Tensor:
        self.rows.append(len(rows))
        return super().step(rows, tokens)


# The likeliest first step (2) leads to a poor end; beams find 3, 4.
_TRAP = {
    1: {2: 0.6, 3: 0.4},
    2: {4: 0.3, 5: 0.3, END: 0.4},
    3: {4: 0.99, END: 0.01},
    4: {END: 1.0},
    5: {END: 1.0},
}


def test_greedy_takes_the_likeliest_token_each_time() -> None:
    captions = decode(TableModel(_TRAP, [1]), 1, GenerationOptions(), frozenset({END}))
    assert captions == [[(2,)]]


def test_beams_find_the_caption_of_higher_mean_probability() -> None:
    captions = decode(TableModel(_TRAP, [1]), 1, GenerationOptions(num_beams=3), frozenset({END}))
    assert captions[0][0] == (3, 4)
    # All that have ended are here, more than the beams, but not what ends where an end is unlikely: (3,).
    assert sorted(captions[0]) == [(2,), (2, 4), (2, 5), (3, 4)]


@pytest.mark.parametrize(
    "options",
    [
        GenerationOptions(),
        GenerationOptions(num_beams=2),
        GenerationOptions(num_beams=4),
        GenerationOptions(temperature=1.0, seed=5),
    ],
)
def test_a_caption_does_not_depend_on_its_batch_mates(options: GenerationOptions) -> None:
    starts = [1, 2, 3, 4, 1, 3]
    together = decode(TableModel(_TRAP, starts), len(starts), options, frozenset({END}))
    alone = [decode(TableModel(_TRAP, [s]), 1, options, frozenset({END}))[0] for s in starts]
    assert together == alone


@pytest.mark.parametrize("beams", [1, 3])
def test_a_caption_that_never_ends_stops_at_the_bound(beams: int) -> None:
    endless = {1: {2: 1.0}, 2: {2: 0.9, 3: 0.1}, 3: {2: 1.0}}
    options = GenerationOptions(num_beams=beams, max_new_tokens=7, no_repeat=0)
    model = TableModel(endless, [1])
    assert len(decode(model, 1, options, frozenset({END}))[0][0]) == 7
    assert model.steps == 6


def test_finished_captions_leave_the_batch() -> None:
    chain = {1: {2: 1.0}, 2: {3: 1.0}, 3: {END: 1.0}, 4: {END: 1.0}}
    model = TableModel(chain, [1, 4, 4])
    assert decode(model, 3, GenerationOptions(), frozenset({END})) == [[(2, 3)], [()], [()]]
    assert model.widest == 1


def test_sampling_repeats_with_its_seed_and_varies_with_it() -> None:
    fair = {1: {2: 0.5, 3: 0.5}, 2: {2: 0.45, 3: 0.45, END: 0.1}, 3: {2: 0.45, 3: 0.45, END: 0.1}}

    def sample(seed: int) -> tuple[int, ...]:
        return decode(TableModel(fair, [1]), 1, GenerationOptions(temperature=1.0, seed=seed), frozenset({END}))[0][0]

    assert sample(1) == sample(1)
    assert len({sample(seed) for seed in range(8)}) > 1


@pytest.mark.parametrize("beams", [1, 2])
def test_no_run_of_three_tokens_comes_twice(beams: int) -> None:
    loop = {1: {2: 1.0}, 2: {3: 0.9, 4: 0.1}, 3: {2: 0.9, END: 0.1}, 4: {END: 1.0}}
    options = GenerationOptions(num_beams=beams, max_new_tokens=30, no_repeat=3)
    caption = decode(TableModel(loop, [1]), 1, options, frozenset({END}))[0][0]
    runs = [caption[i : i + 3] for i in range(len(caption) - 2)]
    assert len(runs) == len(set(runs))
    assert len(caption) < 10


@pytest.mark.parametrize("beams", [1, 3])
def test_a_prompt_whose_client_has_gone_leaves_the_batch_and_changes_no_other(beams: int) -> None:
    endless = {1: {2: 1.0}, 2: {3: 0.9, 4: 0.1}, 3: {4: 0.9, 2: 0.1}, 4: {3: 0.9, 2: 0.1}}
    options = GenerationOptions(num_beams=beams, max_new_tokens=9, no_repeat=0)
    alone = decode(TableModel(endless, [1]), 1, options, frozenset({END}))
    model = CountingModel(endless, [1, 1, 1])
    asked: list[int] = []

    def gone(prompt: int) -> bool:
        asked.append(prompt)
        return prompt == 1 and asked.count(1) > 3

    captions = decode(model, 3, options, frozenset({END}), gone)
    assert captions[0] == captions[2] == alone[0]
    assert len(captions[1][0]) < 9
    assert model.rows[2:4] == [3 * beams, 2 * beams]


@pytest.mark.parametrize("beams", [1, 3])
def test_decoding_stops_when_all_clients_have_gone(beams: int) -> None:
    endless = {1: {2: 1.0}, 2: {2: 0.9, 3: 0.1}, 3: {2: 1.0}}
    options = GenerationOptions(num_beams=beams, max_new_tokens=30, no_repeat=0)
    model = TableModel(endless, [1, 1])
    assert len(decode(model, 2, options, frozenset({END}), lambda _: model.steps == 2)) == 2
    assert model.steps == 2


@pytest.mark.parametrize("beams", [1, 3])
def test_clients_that_have_gone_before_the_first_token_cost_no_step(beams: int) -> None:
    model = TableModel(_TRAP, [1, 2])
    captions = decode(model, 2, GenerationOptions(num_beams=beams), frozenset({END}), lambda _: True)
    assert (len(captions), model.steps) == (2, 0)
    assert all(found for found in captions)
