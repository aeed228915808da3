"""Over HTTP: who may ask what, and that nothing of a body is read before that is known."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.types import Message, Scope

from service.app import create_app
from service.auth.keys import Scope as KeyScope
from service.auth.keys import digest_of
from service.http.problems import MEDIA_TYPE
from service.runtime import Loaders
from service.settings import AuthSettings, ServerSettings, Settings, SettingsError
from tests.api.conftest import serving
from tests.fakes import FakeBundle
from tests.memory_store import MemoryStore
from tests.recordings import wav

CAPTION, ADMIN = KeyScope.caption.value, KeyScope.admin.value


def settings(*entries: dict[str, Any], **server: Any) -> Settings:
    """Settings with these keys; the key of an entry is its name with ``-key`` behind."""
    keys = {"keys": [{"digest": digest_of(f"{entry['name']}-key")} | entry for entry in entries]}
    return Settings.model_validate({"auth": {"keys": json.dumps(keys)}, "server": server})


def keys() -> Settings:
    """Made anew: the folder of the jobs is another one in each test."""
    return settings(
        {"name": "studio", "scopes": [CAPTION]},
        {"name": "admin", "scopes": [ADMIN]},
        {"name": "both", "scopes": [CAPTION, ADMIN]},
        {"name": "city", "scopes": [CAPTION, ADMIN], "domains": ["city"]},
    )


@pytest.fixture
async def guarded(store: MemoryStore) -> AsyncIterator[httpx.AsyncClient]:
    """A service with keys and two domains."""
    async with serving(store, settings=keys()) as client:
        yield client


def bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {name}-key"}


def assert_refused(answer: httpx.Response, status: int) -> None:
    assert answer.status_code == status
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert "-key" not in answer.text
    assert answer.headers.get("www-authenticate") == ("Bearer" if status == 401 else None)


async def test_a_key_without_scope_a_wrong_key_and_no_key(guarded: httpx.AsyncClient) -> None:
    path, body = "/caption?domain=city", wav()
    assert_refused(await guarded.post(path, content=body, headers=bearer("admin")), 403)
    assert_refused(await guarded.post(path, content=body, headers=bearer("other")), 401)
    assert_refused(await guarded.post(path, content=body), 401)
    assert (await guarded.post(path, content=body, headers=bearer("studio"))).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": "Bearer studio-key"}, 200),
        ({"Authorization": "bearer studio-key"}, 200),
        ({"X-API-Key": "studio-key"}, 200),
        ({"Authorization": "Basic c3R1ZGlvOng=", "X-API-Key": "studio-key"}, 200),
        ({"Authorization": "studio-key"}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": "Bearer studio-key "}, 200),
        ({"Authorization": "Bearer \xff\x80"}, 401),
        ({"X-API-Key": ""}, 401),
    ],
)
async def test_how_a_key_is_presented(guarded: httpx.AsyncClient, headers: dict[str, str], status: int) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    assert (await guarded.get("/domains", headers=raw)).status_code == status


GUARDED = [
    ("POST", "/caption", {CAPTION}),
    ("GET", "/domains", {CAPTION, ADMIN}),
    ("GET", "/domains/city", {CAPTION, ADMIN}),
    ("GET", "/domains/city/search?q=rain", {CAPTION, ADMIN}),
    ("GET", "/domains/city/captions", {ADMIN}),
    ("PUT", "/domains/city", {ADMIN}),
    ("POST", "/domains/city/captions", {ADMIN}),
    ("POST", "/domains/city/rollback", {ADMIN}),
    ("DELETE", "/domains/city", {ADMIN}),
    ("GET", "/jobs", {ADMIN}),
    ("GET", "/jobs/1", {ADMIN}),
    ("DELETE", "/jobs/1", {ADMIN}),
    ("GET", "/domains/no/such/path", {CAPTION, ADMIN}),
]


@pytest.mark.parametrize(("method", "path", "scopes"), GUARDED)
async def test_every_route_asks_for_its_scope(
    guarded: httpx.AsyncClient, method: str, path: str, scopes: set[str]
) -> None:
    for name, scope in (("studio", CAPTION), ("admin", ADMIN)):
        answer = await guarded.request(method, path, headers=bearer(name))
        assert (answer.status_code == 403) == (scope not in scopes), answer.text
    assert_refused(await guarded.request(method, path), 401)


async def test_every_documented_route_is_known_to_need_a_key_or_none(guarded: httpx.AsyncClient) -> None:
    document = (await guarded.get("/openapi.json")).json()
    assert set(document["components"]["securitySchemes"]) == {"HTTPBearer", "APIKeyHeader"}
    either: list[dict[str, list[str]]] = [{"HTTPBearer": []}, {"APIKeyHeader": []}]
    needs_none = set()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if "security" not in operation:
                needs_none.add(path)
                continue
            assert sorted(operation["security"], key=str) == sorted(either, key=str)
            assert {"401", "403", "429"} <= set(operation["responses"])
    assert needs_none == {"/livez", "/readyz", "/metrics"}


@pytest.mark.parametrize("path", ["/", "/static/base.css", "/livez", "/readyz", "/docs", "/openapi.json", "/metrics"])
async def test_these_are_open_without_a_key(guarded: httpx.AsyncClient, path: str) -> None:
    assert (await guarded.get(path)).status_code == 200


async def test_a_key_for_one_domain_reaches_no_other(guarded: httpx.AsyncClient) -> None:
    own = bearer("city")
    listed = (await guarded.get("/domains", headers=own)).json()["domains"]
    assert [domain["name"] for domain in listed] == ["city"]
    assert (await guarded.get("/domains/city", headers=own)).status_code == 200
    for path in ("/domains/forest", "/domains/forest/search?q=owl", "/domains/forest/captions", "/domains/none"):
        assert_refused(await guarded.get(path, headers=own), 403)
    assert_refused(await guarded.put("/domains/forest", content=b"an owl\n", headers=own), 403)
    assert_refused(await guarded.delete("/domains/forest", headers=own), 403)
    assert_refused(await guarded.post("/caption?domain=forest", content=wav(), headers=own), 403)
    form = {"files": {"file": ("clip.wav", wav())}, "data": {"domain": "forest"}}
    assert_refused(await guarded.post("/caption", headers=own, **form), 403)  # type: ignore[arg-type]


async def test_a_caption_without_a_domain_is_of_the_only_one_a_key_reaches(guarded: httpx.AsyncClient) -> None:
    assert (await guarded.post("/caption", content=wav(), headers=bearer("city"))).json()["domain"] == "city"
    several = await guarded.post("/caption", content=wav(), headers=bearer("studio"))
    assert several.status_code == 400
    assert "city, forest" in several.json()["detail"]


async def test_jobs_of_domains_that_a_key_does_not_reach_are_not_shown_nor_cancelled(
    guarded: httpx.AsyncClient,
) -> None:
    text = {"Content-Type": "text/plain"}
    job = (await guarded.put("/domains/forest", content=b"an owl\n", headers=bearer("both") | text)).json()["id"]
    assert [one["id"] for one in (await guarded.get("/jobs", headers=bearer("both"))).json()["jobs"]] == [job]
    assert (await guarded.get("/jobs", headers=bearer("city"))).json()["jobs"] == []
    assert_refused(await guarded.get(f"/jobs/{job}", headers=bearer("city")), 403)
    assert_refused(await guarded.delete(f"/jobs/{job}", headers=bearer("city")), 403)
    assert (await guarded.get(f"/jobs/{job}", headers=bearer("admin"))).status_code == 200


async def test_a_key_over_its_rate_is_told_when_to_come_back(store: MemoryStore) -> None:
    limited = settings(
        {"name": "slow", "scopes": [CAPTION, ADMIN], "requests_per_minute": 2},
        {"name": "free", "scopes": [CAPTION]},
    )
    async with serving(store, settings=limited) as client:
        for _ in range(2):
            assert (await client.get("/domains", headers=bearer("slow"))).status_code == 200
        refused = await client.get("/domains", headers=bearer("slow"))
        assert_refused(refused, 429)
        assert 1 <= int(refused.headers["retry-after"]) <= 30
        assert "2 requests per minute" in refused.json()["detail"]
        assert (await client.get("/domains", headers=bearer("free"))).status_code == 200
        assert (await client.get("/jobs", headers=bearer("slow"))).status_code == 200


async def call_unread(settings: Settings, method: str, path: str, headers: dict[str, str]) -> list[Message]:
    """What is answered to a request whose body never comes, and fails the test when it is asked for."""

    async def open_store(_: Settings) -> MemoryStore:
        return MemoryStore()

    async def receive() -> Message:
        raise AssertionError("the body was read")

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    app = create_app(settings, Loaders(lambda _: FakeBundle(), open_store))
    async with app.router.lifespan_context(app) as state:
        raw = {"content-type": "audio/wav", "content-length": "1000000"} | headers
        scope: Scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(name.lower().encode(), value.encode()) for name, value in raw.items()],
            "state": dict(state or {}),
        }
        await app(scope, receive, send)
    return sent


@pytest.mark.parametrize(("name", "status"), [(None, 401), ("other", 401), ("studio", 403)])
@pytest.mark.parametrize(("method", "path"), [("PUT", "/domains/city"), ("POST", "/domains/city/captions")])
async def test_nothing_of_a_corpus_is_read_from_who_may_not_send_it(
    method: str, path: str, name: str | None, status: int
) -> None:
    sent = await call_unread(keys(), method, path, bearer(name) if name else {})
    assert sent[0]["status"] == status


@pytest.mark.parametrize(("name", "status"), [(None, 401), ("other", 401), ("admin", 403)])
async def test_nothing_of_a_recording_is_read_from_who_may_not_send_it(name: str | None, status: int) -> None:
    sent = await call_unread(keys(), "POST", "/caption", bearer(name) if name else {})
    assert sent[0]["status"] == status


async def test_a_slow_upload_without_a_key_is_answered_before_it_ends(store: MemoryStore) -> None:
    read = 0

    async def trickle() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield b"x"
            await asyncio.sleep(0)

    async with serving(store, settings=keys()) as client:
        answer = await client.post("/caption", content=trickle())
    assert answer.status_code == 401
    assert read == 0


async def test_without_keys_everybody_may_do_everything(client: httpx.AsyncClient) -> None:
    assert (await client.get("/domains")).status_code == 200
    assert (await client.get("/domains", headers=bearer("any"))).status_code == 200
    assert (await client.delete("/domains/city")).status_code == 204


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "drcap.example", "127.evil.example", ""])  # noqa: S104
def test_other_machines_are_not_served_without_keys(host: str) -> None:
    with pytest.raises(SettingsError) as caught:
        create_app(Settings(server=ServerSettings(host=host)))
    message = str(caught.value)
    assert "\n" not in message
    for way in ("DRCAP_AUTH__KEYS_FILE", "DRCAP_SERVER__HOST", "DRCAP_AUTH__OPEN=true"):
        assert way in message


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_this_machine_is_served_without_keys(host: str) -> None:
    assert create_app(Settings(server=ServerSettings(host=host)))


def test_other_machines_are_served_with_keys_or_on_purpose() -> None:
    assert create_app(settings({"name": "a", "scopes": [ADMIN]}, host="0.0.0.0"))  # noqa: S104
    everywhere = ServerSettings(host="0.0.0.0")  # noqa: S104
    assert create_app(Settings(server=everywhere, auth=AuthSettings(open=True)))


def test_keys_that_cannot_be_read_stop_the_service(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=r"none\.json cannot be read"):
        create_app(Settings(auth=AuthSettings(keys_file=tmp_path / "none.json")))
    monkeypatch.setenv(
        "DRCAP_AUTH__KEYS", '{"keys": [{"name": "a", "digest": "my-secret-key", "scopes": ["caption"]}]}'
    )
    with pytest.raises(SettingsError, match=r"DRCAP_AUTH__KEYS: keys\.0\.digest") as caught:
        create_app(Settings())
    assert "my-secret-key" not in str(caught.value)
    with pytest.raises(ValueError, match="DRCAP_AUTH__KEYS_FILE and DRCAP_AUTH__KEYS are both set"):
        AuthSettings.model_validate({"keys": "{}", "keys_file": "keys.json"})


@asynccontextmanager
async def lines_of(caplog: pytest.LogCaptureFixture) -> AsyncIterator[list[dict[str, Any]]]:
    """The fields of the lines that requests leave meanwhile."""
    lines: list[dict[str, Any]] = []
    with caplog.at_level("INFO", logger="service.http.middleware"):
        caplog.clear()
        yield lines
        lines += [vars(record) for record in caplog.records if record.name == "service.http.middleware"]


async def test_the_line_of_a_request_names_the_key_and_never_shows_it(
    guarded: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    async with lines_of(caplog) as lines:
        await guarded.post("/caption?domain=city", content=wav(), headers=bearer("studio"))
        await guarded.post("/caption", content=wav(), headers=bearer("admin"))
        await guarded.get("/domains", headers=bearer("other"))
    assert [(line["route"], line["status"], line["key"]) for line in lines] == [
        ("/caption", 200, "studio"),
        ("/caption", 403, "admin"),
        ("/domains", 401, None),
    ]
    assert [line["bytes_in"] for line in lines] == [len(wav()), 0, 0]
    assert "-key" not in str(lines)


async def test_refusals_are_counted_by_reason(store: MemoryStore) -> None:
    async with serving(store, settings=keys()) as client:
        await client.get("/domains")
        await client.get("/jobs", headers=bearer("studio"))
        figures = (await client.get("/metrics")).text.splitlines()
    assert 'drcap_rejections_total{reason="key"} 2.0' in figures


async def test_a_key_that_is_removed_from_the_file_is_refused_in_seconds(store: MemoryStore, tmp_path: Any) -> None:
    path = tmp_path / "keys.json"

    def write(*names: str) -> None:
        entries = [{"name": name, "digest": digest_of(f"{name}-key"), "scopes": [CAPTION]} for name in names]
        path.write_text(json.dumps({"keys": entries}))

    async def statuses() -> list[int]:
        return [(await client.get("/domains", headers=bearer(name))).status_code for name in ("studio", "new")]

    write("studio")
    async with serving(store, settings=Settings(auth=AuthSettings(keys_file=path))) as client:
        assert await statuses() == [200, 401]
        path.write_text("broken")
        for _ in range(500):
            if "drcap_keys_stale 1.0" in (await client.get("/metrics")).text:
                break
            await asyncio.sleep(0.02)
        assert await statuses() == [200, 401]
        write("new")
        for _ in range(500):
            if await statuses() == [401, 200]:
                break
            await asyncio.sleep(0.02)
        assert await statuses() == [401, 200]
        assert "drcap_keys_stale 0.0" in (await client.get("/metrics")).text
