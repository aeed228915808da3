import shutil

import pytest

from evaluation.java import JavaFailed, ask_java

needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="there is no Java")


@needs_java
def test_a_child_that_takes_too_long_is_ended_with_the_limits_name() -> None:
    with pytest.raises(JavaFailed, match=r"tokenize took longer than java_seconds = 0\.01"):
        ask_java("tokenize", ["rain"], 0.01)


def test_a_child_that_fails_says_why() -> None:
    with pytest.raises(JavaFailed, match="KeyError: 'stemming'"):
        ask_java("stemming", [], 60.0)
