"""Every snippet of docs/openai.md is run here, in order, by OpenAI's own client."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.api.live import live
from tests.memory_store import MemoryStore
from tests.repository.documents import ADDRESS, ROOT, blocks, read

DOCUMENT = read("docs/openai.md")


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The service over fakes, with the domain that the snippets caption in."""
    monkeypatch.setenv("DRCAP_JOBS__PATH", str(tmp_path))
    monkeypatch.chdir(ROOT)
    with live(MemoryStore()) as url:
        corpus = Path("examples/domains/field-notes.txt").read_bytes()
        put = f"{url}/domains/field-notes?wait=true"
        httpx.put(put, content=corpus, headers={"Content-Type": "text/plain"}).raise_for_status()
        yield url


def test_every_snippet_runs_and_shows_something(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {"__name__": "__main__"}
    snippets = blocks(DOCUMENT, "python")
    assert len(snippets) == DOCUMENT.count("```python")
    for snippet in snippets:
        exec(compile(snippet.replace(ADDRESS, url), "docs/openai.md", "exec"), names)  # noqa: S102 - our own
        assert capsys.readouterr().out.strip(), snippet


def test_the_error_shown_is_a_real_one(url: str) -> None:
    (shown,) = map(json.loads, blocks(DOCUMENT, "json"))
    form = {"files": {"file": b"RIFF"}, "data": {"model": "sea"}}
    assert httpx.post(f"{url}/v1/audio/transcriptions", **form).json() == shown  # type: ignore[arg-type]


def test_every_field_and_route_of_the_document_exists_and_none_is_left_out(url: str) -> None:
    described = httpx.get(f"{url}/openapi.json").json()["paths"]
    routes = [path for path in described if path.startswith("/v1/")]
    assert sorted(routes) == sorted(set(re.findall(r"^\| `\w+ (/v1/[\w/{}]+)`", DOCUMENT, re.MULTILINE)))
    form = described["/v1/audio/transcriptions"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    table = DOCUMENT[DOCUMENT.index("| field |") :].split("\n\n")[0]
    named = {name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert named - {"diarized_json"} == set(form["properties"])
