import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from models.decoder import Generated, GenerationOptions, Gone, nobody
from models.prompt import Prompt
from service.http import deadlines
from service.settings import AdmissionSettings, AudioSettings, JobsSettings, Settings, TimeoutSettings
from tests.api.conftest import serving
from tests.api.live import live
from tests.fakes import FakeBundle, FakeDecoder, GatedClap
from tests.memory_store import MemoryStore
from tests.recordings import encode, tones, wav

AS_EVENTS = {"accept": "text/event-stream"}


def events(answer: httpx.Response) -> list[tuple[str, str]]:
    """Name and data of each event, as a reader after the standard has them."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = []
    for block in answer.text.split("\n\n"):
        lines = [line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":")]
        if lines:
            names = [value for field, value in lines if field == "event"]
            found.append((names[0], "\n".join(value for field, value in lines if field == "data")))
    return found


async def stream(client: httpx.AsyncClient, data: bytes, **query: str) -> list[tuple[str, str]]:
    return events(await client.post("/caption", params={"domain": "city"} | query, content=data, headers=AS_EVENTS))


async def test_progress_comes_before_the_caption(client: httpx.AsyncClient) -> None:
    *told, (last, data) = await stream(client, wav(5.0))
    assert {name for name, _ in told} == {"progress"}
    reports = [json.loads(one) for _, one in told]
    assert [set(one) for one in reports] == [{"stage", "percent", "segments"}] * len(reports)
    assert [one["percent"] for one in reports] == sorted(one["percent"] for one in reports)
    assert reports[-1]["percent"] == 100.0
    assert {one["stage"] for one in reports} <= {"embed_audio", "generate"}
    assert last == "caption"
    assert json.loads(data)["caption"] == "Heard: tone 4"


async def test_a_stream_may_be_asked_for_by_a_field(client: httpx.AsyncClient) -> None:
    sent = {"files": {"file": ("clip.wav", wav())}, "data": {"domain": "city", "stream": "true"}}
    assert events(await client.post("/caption", **sent))[-1][0] == "caption"  # type: ignore[arg-type]
    plain = await client.post("/caption?domain=city&stream=false", content=wav())
    assert plain.headers["content-type"] == "application/json"


@pytest.mark.parametrize("kind", ["json", "text", "srt", "vtt"])
async def test_the_last_event_holds_the_body_of_the_plain_answer(client: httpx.AsyncClient, kind: str) -> None:
    recording = encode(tones(4.0, 400, 900, 400))
    query = {"domain": "city", "response_format": kind}
    plain = await client.post("/caption", params=query, content=recording)
    assert (await stream(client, recording, response_format=kind))[-1] == ("caption", plain.text)


async def test_segments_come_as_they_are_written_and_make_up_all_of_them(client: httpx.AsyncClient) -> None:
    recording = encode(tones(4.0, *[400, 900] * 10))
    *told, (_, data) = await stream(client, recording, response_format="verbose_json")
    bits = [json.loads(one)["segments"] for _, one in told]
    segments = json.loads(data)["segments"]
    assert [one for bit in bits for one in bit] == segments
    assert len(segments) == 20


async def test_what_is_wrong_with_a_request_is_said_by_its_status(store: MemoryStore) -> None:
    async with serving(store, settings=Settings(audio=AudioSettings(max_seconds=2.0))) as client:
        for query, data, status in (
            ("domain=city", b"I am a text", 415),
            ("domain=city", wav(3.0), 413),
            ("domain=city", wav()[:500], 422),
            ("domain=sea", wav(), 404),
            ("domain=city&num_beams=0", wav(), 400),
            ("domain=city&stream=perhaps", wav(), 400),
            ("", wav(), 400),
        ):
            answer = await client.post(f"/caption?{query}", content=data, headers=AS_EVENTS)
            assert answer.status_code == status, answer.text
            assert answer.headers["content-type"] == "application/problem+json"


async def test_a_failure_on_the_way_is_the_last_event(store: MemoryStore, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(FakeDecoder):
        def generate(
            self, prompts: Sequence[Prompt], options: GenerationOptions, gone: Gone = nobody
        ) -> list[Generated]:
            raise RuntimeError("secret path")

    async with serving(store, FakeBundle(decoder=Broken())) as client:
        answer = await client.post("/caption?domain=city", content=wav(), headers=AS_EVENTS)
        name, data = events(answer)[-1]
        problem = json.loads(data)
        assert (name, problem["status"], problem["type"]) == ("error", 500, "urn:drcap:problem:internal-error")
        assert problem["request_id"] == answer.headers["x-request-id"]
        assert "secret" not in answer.text
        assert "secret path" in caplog.text
        assert 'drcap_admitted{kind="captions"} 0.0' in (await client.get("/metrics")).text


async def test_a_stream_past_its_deadline_ends_with_the_settings(store: MemoryStore) -> None:
    clap = GatedClap()
    settings = Settings(timeouts=TimeoutSettings(caption_seconds=0.3))
    async with serving(store, FakeBundle(clap=clap), settings) as client:
        name, data = (await stream(client, wav()))[-1]
        clap.gate.set()
        problem = json.loads(data)
        assert (name, problem["status"]) == ("error", 504)
        assert "(DRCAP_TIMEOUTS__CAPTION_SECONDS and 30 s for each minute of audio)" in problem["detail"]


async def test_a_longer_recording_has_longer(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    clap = GatedClap()
    monkeypatch.setattr(deadlines, "AUDIO_MINUTE_SECONDS", 600.0)
    settings = Settings(timeouts=TimeoutSettings(caption_seconds=0.5))
    async with serving(store, FakeBundle(clap=clap), settings) as client:
        asked = asyncio.create_task(client.post("/caption?domain=city", content=wav(2.0)))
        await asyncio.to_thread(clap.entered.wait, 10)
        await asyncio.sleep(0.6)
        clap.gate.set()
        assert (await asked).status_code == 200


@contextmanager
def live_city(tmp_path: Path, bundle: FakeBundle, **admission: int) -> Iterator[str]:
    """The service with the domain ``city`` behind a real port, so that answers come bit by bit."""
    settings = Settings(jobs=JobsSettings(path=tmp_path), admission=AdmissionSettings(**admission))
    with live(MemoryStore(), bundle, settings) as url:
        put = httpx.put(f"{url}/domains/city?wait=true", json={"captions": ["tone 4", "tone 9", "a bell rings"]})
        put.raise_for_status()
        yield url


def test_a_client_that_leaves_takes_its_work_along(tmp_path: Path) -> None:
    clap = GatedClap()
    long = encode(tones(4.0, *[400, 900] * 20))
    with live_city(tmp_path, FakeBundle(clap=clap), captions=1) as url:
        asked = f"{url}/caption?domain=city&response_format=srt"
        with httpx.stream("POST", asked, content=long, headers=AS_EVENTS) as answer:
            lines = answer.iter_lines()
            assert next(lines) == "event: progress"
            assert clap.entered.wait(10)
            # The permit is held while the stream goes on.
            refused = httpx.post(asked, content=wav())
            assert refused.status_code == 503
            assert "DRCAP_ADMISSION__CAPTIONS" in refused.json()["detail"]
        clap.gate.set()
        for _ in range(1000):
            if (again := httpx.post(asked, content=wav())).status_code == 200:
                break
        assert again.status_code == 200
        # Of more than two hundred windows, the batch that was under way, and the one of the last request.
        assert clap.heard <= 21
        assert 'drcap_rejections_total{reason="client-gone"} ' in httpx.get(f"{url}/metrics").text


def test_progress_is_sent_when_it_is_made(tmp_path: Path) -> None:
    clap = GatedClap()
    with live_city(tmp_path, FakeBundle(clap=clap)) as url:
        asked = f"{url}/caption?domain=city&response_format=srt"
        with httpx.stream("POST", asked, content=wav(), headers=AS_EVENTS) as answer:
            lines = answer.iter_lines()
            assert (next(lines), next(lines)) == (
                "event: progress",
                'data: {"stage":"embed_audio","percent":0.0,"segments":[]}',
            )
            assert clap.heard == 0
            clap.gate.set()
            assert "event: caption" in list(lines)
