import shutil
from typing import Any

import pytest

from evaluation.java import JavaFailed
from evaluation.metrics import References
from evaluation.tokens import Tokenizer

needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="there is no Java")


def test_a_tokenizer_that_fails_gives_way_unless_it_was_insisted_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(job: str, payload: Any, seconds: float) -> None:
        raise JavaFailed("no room")

    monkeypatch.setattr("evaluation.tokens.ask_java", fail)
    monkeypatch.setattr("evaluation.tokens.java_found", lambda: True)
    assert References([["A dog barks."]]).tokenizer.name == "words"
    with pytest.raises(JavaFailed, match="no room"):
        References([["A dog barks."]], java=True)


@needs_java
def test_line_ends_that_only_java_knows_shift_no_caption() -> None:
    texts = ["Rain\u2028falls.", "", "It's a\rdog!", "...", "Bells\x85ring\nhere"]
    assert Tokenizer("ptb", 60.0)(texts) == ["rain falls", "", "it 's a dog", "", "bells ring here"]
