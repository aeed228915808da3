import numpy as np

from research.alignment.synthesis import RECIPES, synthesise


def test_every_recipe_makes_sound() -> None:
    for label, samples in synthesise(1, np.random.default_rng(0)):
        assert label in RECIPES
        assert np.isfinite(samples).all()
        assert np.abs(samples).max() > 0
