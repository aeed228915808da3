import numpy as np
import pytest

from evaluation.intervals import bootstrap, resampled_means


def test_the_interval_holds_the_mean_and_repeats() -> None:
    values = np.array([0.0, 1.0, 2.0, 5.0])
    figure = bootstrap(values)
    assert figure.low < figure.value == 2.0 < figure.high
    assert bootstrap(values) == figure


def test_equal_values_leave_no_doubt() -> None:
    figure = bootstrap(np.full(10, 0.3))
    assert figure.low == pytest.approx(0.3)
    assert figure.high == pytest.approx(0.3)


def test_the_interval_holds_the_true_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    figures = [bootstrap(rng.exponential(size=80), draws=400) for _ in range(200)]
    held = sum(figure.low <= 1.0 <= figure.high for figure in figures)
    assert 175 <= held <= 199


def test_columns_are_resampled_together_and_as_one_column_would_be() -> None:
    values = np.random.default_rng(2).normal(size=(50, 2))
    means = resampled_means(np.column_stack([values, values.sum(axis=1)]), draws=300)
    assert means[:, 0] + means[:, 1] == pytest.approx(means[:, 2])
    assert means[:, :1] == pytest.approx(resampled_means(values[:, :1], draws=300))


def test_draws_made_in_pieces_are_all_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluation.intervals._DRAWN_AT_ONCE", 70)
    means = resampled_means(np.arange(10.0)[:, None], draws=25)
    assert means.shape == (25, 1)
    assert ((means > 0) & (means < 9)).all()
    assert len(np.unique(means)) > 10
