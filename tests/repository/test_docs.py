"""The documents beside the README: their snippets run, their links lead somewhere, their variables exist."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.settings import known_variables
from tests.api.live import live
from tests.memory_store import MemoryStore

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted((ROOT / "docs").glob("*.md"))
DOCUMENTED = "http://127.0.0.1:8000"


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The service over fakes."""
    monkeypatch.setenv("DRCAP_JOBS__PATH", str(tmp_path))
    monkeypatch.chdir(ROOT)
    with live(MemoryStore()) as url:
        yield url


def text_of(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_every_snippet_of_the_quickstart_runs_in_order_and_shows_something(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, object] = {"__name__": "__main__"}
    snippets = blocks(text_of("quickstart.md"), "python")
    assert len(snippets) == text_of("quickstart.md").count("```python")
    for snippet in snippets:
        exec(compile(snippet.replace(DOCUMENTED, url), "docs/quickstart.md", "exec"), names)  # noqa: S102 - our own
        shown = capsys.readouterr().out.strip()
        assert shown, snippet
    assert shown == "succeeded"


def test_the_commands_of_the_page_on_domains_are_answered(url: str) -> None:
    corpus = (ROOT / "examples/domains/field-notes.txt").read_bytes()
    httpx.put(f"{url}/domains/field-notes?wait=true", content=corpus, headers={"Content-Type": "text/plain"})
    (block,) = blocks(text_of("domains.md"), "sh")
    for line in block.splitlines():
        words = [word.replace(DOCUMENTED, url) for word in shlex.split(line)]
        done = subprocess.run([*words, "--silent", "--fail"], capture_output=True, check=False, timeout=60)  # noqa: S603
        assert done.returncode == 0, line
        assert b"results" in done.stdout


@pytest.mark.parametrize("path", [ROOT / "README.md", *DOCUMENTS], ids=lambda path: path.name)
def test_every_link_to_a_file_and_every_variable_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", text)
    assert [target for target in targets if not (path.parent / target).exists()] == []
    # A name that ends in an underscore stands for all variables that begin so.
    variables = {name for name in re.findall(r"\bDRCAP_[A-Z_]+\b", text) if not name.endswith("_")}
    composed = set(re.findall(r"\$\{(DRCAP_[A-Z_]+)", (ROOT / "docker-compose.yml").read_text(encoding="utf-8")))
    assert variables - set(known_variables()) - composed - {"DRCAP_TEST_QDRANT_URL"} == set()


def test_every_page_is_reached_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in DOCUMENTS if f"docs/{path.name}" not in readme] == []
