from research.corpora.composed import composed_captions


def test_composed_captions_repeat_with_their_seed_and_are_distinct() -> None:
    captions = composed_captions(500, seed=3)
    assert captions == composed_captions(500, seed=3)
    assert captions != composed_captions(500, seed=4)
    assert len(set(captions)) == 500
