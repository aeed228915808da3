import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import httpx
import pytest

from datastores.edge.store import EdgeStore
from models.vectors import FloatArray
from service.settings import AdmissionSettings, CorpusSettings, JobsSettings, Settings
from tests.api.conftest import CITY, serving
from tests.api.test_caption import assert_problem
from tests.fakes import FakeBundle, FakeClap
from tests.memory_store import MemoryStore
from tests.recordings import wav

LINES = ["tone 4 anew", "a bus stops"]


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        (json.dumps({"captions": LINES}), "application/json"),
        ("".join(json.dumps({"caption": line}) + "\n" for line in LINES), "application/x-ndjson"),
        ("caption\n" + "\n".join(LINES), "text/csv"),
        ("\n".join(LINES), "text/plain"),
        ("\r\n".join(LINES), "text/plain; charset=utf-8"),
    ],
)
async def test_a_corpus_comes_in_every_format(client: httpx.AsyncClient, body: str, media_type: str) -> None:
    put = await client.put("/domains/bus?wait=true", content=body, headers={"content-type": media_type})
    assert put.status_code == 201
    assert put.json()["name"] == "bus"
    assert put.json()["captions"] == 2
    assert put.json()["seconds"] >= 0
    caption = await client.post("/caption?domain=bus", content=wav())
    assert caption.json()["caption"] == "Heard: tone 4 anew"
    assert caption.json()["domain_version"] == put.json()["version"]


@pytest.mark.parametrize("name", ["corpus.txt", "corpus.csv", "corpus.json", "corpus.ndjson"])
async def test_a_corpus_may_be_a_file_of_a_form(client: httpx.AsyncClient, name: str) -> None:
    bodies = {
        ".txt": "\n".join(LINES),
        ".csv": "caption\n" + "\n".join(LINES),
        ".json": json.dumps({"captions": LINES}),
        ".ndjson": "".join(json.dumps({"caption": line}) + "\n" for line in LINES),
    }
    file = (name, bodies[Path(name).suffix].encode(), "application/octet-stream")
    put = await client.put("/domains/bus?wait=true", files={"file": file})
    assert put.status_code == 201, put.text
    assert put.json()["captions"] == 2


async def test_a_known_domain_is_replaced_with_200(client: httpx.AsyncClient) -> None:
    put = await client.put("/domains/city?wait=true", json={"captions": LINES})
    assert put.status_code == 200
    assert put.json()["version"] == (await client.get("/domains/city")).json()["version"] != "v1"


async def test_what_was_dropped_is_counted(client: httpx.AsyncClient) -> None:
    put = await client.put("/domains/bus?wait=true", content="a bus\n\nA bus\na  bus \na tram\n")
    body = put.json()
    assert body["captions"] + body["duplicates"] + body["empty"] == body["received"]
    assert body["captions"] < body["received"]


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        ("", "text/plain"),
        ("\n \n\t\n", "text/plain"),
        ('{"captions": []}', "application/json"),
        ('{"captions": [1, 2]}', "application/json"),
        ('{"texts": ["a"]}', "application/json"),
        ("{", "application/json"),
        ('{"caption": "a"}\n{', "application/x-ndjson"),
        (b"\xff\xfe\x00caption", "text/plain"),
    ],
)
async def test_an_empty_or_broken_corpus_is_refused_and_nothing_is_lost(
    client: httpx.AsyncClient, body: str | bytes, media_type: str
) -> None:
    put = await client.put("/domains/city?wait=true", content=body, headers={"content-type": media_type})
    assert_problem(put, 400, "bad-corpus")
    assert (await client.get("/domains/city")).json()["version"] == "v1"
    assert (await client.post("/caption?domain=city", content=wav())).json()["caption"] == f"Heard: {CITY[0]}"


async def test_a_corpus_of_another_kind_is_refused_with_415(client: httpx.AsyncClient) -> None:
    put = await client.put("/domains/bus?wait=true", content=b"PK", headers={"content-type": "application/zip"})
    assert_problem(put, 415, "not-a-corpus", "application/zip")


async def test_parquet_is_refused_with_415_and_the_command_that_reads_it(client: httpx.AsyncClient) -> None:
    put = await client.put("/domains/bus", files={"file": ("bus.parquet", b"PAR1\0\0PAR1", "application/octet-stream")})
    assert_problem(put, 415, "not-a-corpus", "drcap domains put NAME FILE.parquet")


async def test_a_wrong_form_is_refused_with_400(client: httpx.AsyncClient) -> None:
    wrong = await client.put("/domains/bus?wait=true", files={"corpus": ("a.txt", b"a bus")})
    assert_problem(wrong, 400, "bad-field", "corpus", "use 'file'")
    unknown = await client.put("/domains/bus?await=true", content="a bus")
    assert_problem(unknown, 400, "bad-field", "await")


@pytest.mark.parametrize("name", ["City", "a b", "-a", "a.", "x" * 65, "é"])
async def test_a_wrong_name_is_refused_with_400(client: httpx.AsyncClient, name: str) -> None:
    put = await client.put(f"/domains/{name}?wait=true", content="a bus")
    assert_problem(put, 400, "invalid-domain-name")


async def test_too_large_a_corpus_is_refused_with_the_setting(store: MemoryStore) -> None:
    settings = Settings(corpus=CorpusSettings(max_bytes=1000, max_captions=3, max_caption_characters=20))
    async with serving(store, settings=settings) as client:
        bytes_ = await client.put("/domains/bus?wait=true", content="a bus\n" * 500)
        assert_problem(bytes_, 413, "too-large", "DRCAP_CORPUS__MAX_BYTES")
        captions = await client.put("/domains/bus?wait=true", content="a\nb\nc\nd\n")
        assert captions.status_code in (400, 413)
        assert "DRCAP_CORPUS__MAX_CAPTIONS" in captions.json()["detail"]
        long = await client.put("/domains/bus?wait=true", content="a bus " * 10)
        assert long.status_code in (400, 413)
        assert "DRCAP_CORPUS__MAX_CAPTION_CHARACTERS" in long.json()["detail"]
        assert_problem(await client.get("/domains/bus"), 404, "unknown-domain")


class SlowReader:
    """A body that waits for its gate in the middle."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.waiting = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"a bus\n"
        self.waiting.set()
        await self.gate.wait()
        yield b"a tram\n"


async def test_more_registrations_than_are_let_in_are_refused(store: MemoryStore, jobs_folder: Path) -> None:
    settings = Settings(admission=AdmissionSettings(registrations=1), jobs=JobsSettings(path=jobs_folder, waiting=0))
    async with serving(store, settings=settings) as client:
        body = SlowReader()
        first = asyncio.create_task(client.put("/domains/bus?wait=true", content=body))
        await body.waiting.wait()
        refused = await client.put("/domains/tram?wait=true", content="a tram")
        assert_problem(refused, 503, "overloaded", "DRCAP_ADMISSION__REGISTRATIONS")
        body.gate.set()
        assert (await first).json()["captions"] == 2


async def test_a_domain_under_registration_is_busy(store: MemoryStore) -> None:
    async with serving(store) as client, store.writer("bus", dimension=64, fingerprint="fake-1"):
        assert_problem(await client.put("/domains/bus?wait=true", content="a bus"), 409, "domain-busy", "bus")


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (RuntimeError("a broken kernel"), 500, "internal-error"),
        (RuntimeError("CUDA out of memory"), 503, "model-failed"),
    ],
)
async def test_a_registration_that_fails_leaves_the_old_version(
    store: MemoryStore, error: Exception, status: int, kind: str
) -> None:
    class FailingClap(FakeClap):
        def embed_text(self, texts: Sequence[str]) -> FloatArray:
            raise error

    async with serving(store, FakeBundle(clap=FailingClap())) as client:
        assert_problem(await client.put("/domains/city?wait=true", content="a bus"), status, kind)
        assert (await client.get("/domains/city")).json()["version"] == "v1"


async def test_the_embedded_datastore_serves_through_a_restart(tmp_path: Path) -> None:
    async with serving(await EdgeStore.open(tmp_path / "store")) as client:
        put = await client.put("/domains/city?wait=true", json={"captions": [*CITY, "<|im_end|> </s> hello"]})
        assert put.status_code == 201, put.text
        again = await client.put("/domains/city?wait=true", json={"captions": ["tone 4 anew"]})
        assert again.status_code == 200
        back = await client.post("/domains/city/rollback")
        assert back.json()["version"] == put.json()["version"]
    async with serving(await EdgeStore.open(tmp_path / "store")) as client:
        answer = await client.post("/caption?response_format=verbose_json", content=wav(5.0))
        assert answer.json()["caption"] == "Heard: tone 4"
        assert answer.json()["domain_version"] == put.json()["version"]
        found = await client.get("/domains/city/search", params={"q": "<|im_end|> </s> hello", "limit": 1})
        assert found.json()["results"][0] == {"caption": "<|im_end|> </s> hello", "score": 1.0}
        assert_problem(await client.put("/domains/..%2Fx?wait=true", content="a"), 400, "invalid-domain-name")
        assert (await client.delete("/domains/city")).status_code == 204
        assert_problem(await client.post("/caption?domain=city", content=wav()), 404, "unknown-domain")
