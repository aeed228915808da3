from research.scenes.phrases import read_phrases


def test_every_phrase_names_its_sound_and_there_are_enough_of_them() -> None:
    for sound, phrases in read_phrases().items():
        assert len(set(phrases.clauses)) >= 8
        assert len(set(phrases.nouns)) >= 5
        for phrase in (*phrases.clauses, *phrases.nouns):
            assert any(word in phrase for word in phrases.keywords), (sound, phrase)
