"""The parts of pycocoevalcap that run Java, each in a child process with a time limit.

The package starts Java itself and waits for it without a limit. A child in a process group of its own can be ended
with its Java. Run as a script, this module is that child.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from shutil import which
from typing import Any


class JavaFailed(RuntimeError):
    """A metric or tokenizer in Java did not answer; the message says why."""


def java_found() -> bool:
    """Return whether a `java` is on the path."""
    return which("java") is not None


def spice_missing() -> str | None:
    """Return why SPICE cannot run, or None if its jars are present. They are never downloaded."""
    import pycocoevalcap

    # A namespace package has folders and no file.
    folders = [Path(folder) / "spice" / "lib" for folder in pycocoevalcap.__path__]
    for jar in ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar"):
        if not any((folder / jar).is_file() for folder in folders):
            return f"{jar} is not in pycocoevalcap/spice/lib"
    return None


def ask_java(job: str, payload: object, seconds: float) -> Any:
    """Run a job (`tokenize`, `meteor` or `spice`) in a child and return its answer.

    Raises:
        JavaFailed: the job failed, or took longer than `seconds` and was ended.
    """
    child = subprocess.Popen(  # noqa: S603
        # -P keeps this folder off the child's path, where its modules could shadow others.
        [sys.executable, "-P", str(Path(__file__)), job],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        start_new_session=True,
    )
    try:
        answer, complaints = child.communicate(json.dumps(payload).encode(), timeout=seconds)
    except subprocess.TimeoutExpired:
        raise JavaFailed(f"{job} took longer than java_seconds = {seconds:g}") from None
    finally:
        if child.returncode != 0:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
    if child.returncode != 0:
        lines = complaints.decode(errors="replace").strip().splitlines() or [f"exit status {child.returncode}"]
        raise JavaFailed(f"{job}: {lines[-1]}")
    return json.loads(answer)


def _tokenize(texts: list[str]) -> list[str]:
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    # The tokenizer works by line, and Java knows more line ends than "\n": one in a caption would shift all others.
    lines = [{"caption": " ".join(text.split())} for text in texts]
    tokenised: list[str] = PTBTokenizer().tokenize({"": lines})[""] if lines else []
    if len(tokenised) != len(texts):
        raise RuntimeError(f"{len(texts)} captions went in, {len(tokenised)} came out")
    return tokenised


def _meteor(captions: dict[str, dict[str, list[str]]]) -> list[float]:
    from pycocoevalcap.meteor.meteor import Meteor

    # "|||" separates the fields of METEOR's own protocol.
    truth, said = (
        {key: [text.replace("|", " ") for text in texts] for key, texts in captions[side].items()}
        for side in ("truth", "said")
    )
    scorer = Meteor()
    try:
        return [float(value) for value in scorer.compute_score(truth, said)[1]]
    finally:
        scorer.meteor_p.kill()


def _spice(captions: dict[str, dict[str, list[str]]]) -> list[float]:
    from pycocoevalcap.spice.spice import Spice

    scores = [score["All"]["f"] for score in Spice().compute_score(captions["truth"], captions["said"])[1]]
    # SPICE is nan where a caption has nothing to compare.
    return [float(score) if score == score else 0.0 for score in scores]


def main() -> None:
    """Run the job named by the argument: JSON payload on stdin, JSON answer on stdout."""
    jobs: dict[str, Callable[[Any], object]] = {"tokenize": _tokenize, "meteor": _meteor, "spice": _spice}
    # Java prints to stdout too; only the answer may reach it.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answer:
        os.dup2(2, 1)
        json.dump(jobs[sys.argv[1]](json.load(sys.stdin)), answer)


if __name__ == "__main__":
    main()
