import asyncio
import io
import re
import wave
from collections.abc import AsyncIterator, Sequence

import httpx
import numpy as np
import pytest

from models.vectors import FloatArray
from service.settings import AdmissionSettings, AudioSettings, Settings, TimeoutSettings
from tests.api.conftest import serving
from tests.fakes import FakeBundle, FakeClap, GatedClap
from tests.memory_store import MemoryStore
from tests.recordings import encode, tone, tones, wav

FORM = {"domain": "city"}


def as_file(data: bytes) -> dict[str, tuple[str, bytes]]:
    return {"file": ("clip.wav", data)}


async def post(client: httpx.AsyncClient, data: bytes, **fields: str) -> httpx.Response:
    return await client.post("/caption", files=as_file(data), data=FORM | fields)


def assert_problem(answer: httpx.Response, status: int, kind: str, *words: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert set(problem) == {"type", "title", "status", "detail", "instance", "request_id"}
    assert problem["type"] == f"urn:drcap:problem:{kind}"
    assert problem["status"] == status
    assert problem["request_id"] == answer.headers["x-request-id"]
    for word in words:
        assert word in problem["detail"]


async def test_a_recording_is_captioned_in_the_words_of_the_domain(client: httpx.AsyncClient) -> None:
    answer = await post(client, wav())
    assert answer.status_code == 200
    body = answer.json()
    assert body["caption"] == "Heard: tone 4"
    assert body["domain"] == "city"
    assert body["domain_version"] == "v1"
    assert body["duration"] == 1.0
    assert body["model"] == "fake"
    assert body["similar_captions"][0] == {"caption": "tone 4", "score": 1.0}
    assert len(body["similar_captions"]) == 3


async def test_the_same_recording_in_another_domain_gets_its_words(client: httpx.AsyncClient) -> None:
    answer = await post(client, wav(), domain="forest")
    assert answer.json()["caption"] == "Heard: tone 4 between trees"


async def test_the_recording_may_be_the_body_and_the_options_the_query(client: httpx.AsyncClient) -> None:
    for content_type in ("audio/wav", "application/octet-stream", "application/x-www-form-urlencoded"):
        answer = await client.post(
            "/caption?domain=city&similar_captions=1", content=wav(), headers={"content-type": content_type}
        )
        assert answer.status_code == 200
        assert len(answer.json()["similar_captions"]) == 1


async def test_a_verbose_answer_tells_how_the_caption_was_made(client: httpx.AsyncClient) -> None:
    answer = await post(client, encode(tones(4.001, 400, 900)), response_format="verbose_json")
    body = answer.json()
    first, second = body["segments"]
    assert (first["caption"], second["caption"]) == ("Heard: tone 4", "Heard: tone 9 in the city")
    assert (first["start"], first["end"], second["end"]) == (0.0, second["start"], body["duration"])
    assert first["end"] == pytest.approx(4.0, abs=0.9)
    assert body["duration"] == 8.002
    stages = ["decode_audio", "embed_audio", "search", "projection", "generate", "rerank", "total"]
    assert list(body["timings"]) == stages
    assert body["tokens"] == 12
    assert body["projection"] == {"temperature": 0.05, "neighbours": 4}
    [sound, *_] = body["sounds"]
    assert sound["sound"] == "tone 4"
    assert sound["score"] == 1.0
    assert sound["spans"][0]["start"] == 0.0
    assert [part.partition(";dur=")[0] for part in answer.headers["server-timing"].split(", ")] == stages


async def test_parts_are_captioned_only_when_segments_are_asked_for_and_there_are_several(
    client: httpx.AsyncClient, store: MemoryStore
) -> None:
    changing = encode(tones(4.0, 400, 900, 400))
    await post(client, changing)
    await post(client, changing, response_format="verbose_json")
    await post(client, wav(30.0), response_format="verbose_json")
    assert store.searches == [1, 4, 1]


async def test_a_caption_can_be_plain_text(client: httpx.AsyncClient) -> None:
    answer = await post(client, wav(), response_format="text")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text == "Heard: tone 4\n"


async def test_captions_can_be_subtitles(client: httpx.AsyncClient) -> None:
    srt = await post(client, encode(tones(4.0, 400, 900)), response_format="srt")
    assert re.fullmatch(
        r"1\n00:00:00,000 --> (00:00:0[34],\d{3})\nHeard: tone 4\n\n"
        r"2\n\1 --> 00:00:08,000\nHeard: tone 9 in the city\n",
        srt.text,
    )
    vtt = await post(client, wav(1.0), response_format="vtt")
    assert vtt.headers["content-type"].startswith("text/vtt")
    assert vtt.text == "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nHeard: tone 4\n"


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3", "AIFF"])
@pytest.mark.parametrize(("rate", "channels", "seconds"), [(8_000, 1, 0.1), (48_000, 2, 3.0)])
async def test_formats_rates_and_channels(
    client: httpx.AsyncClient, kind: str, rate: int, channels: int, seconds: float
) -> None:
    answer = await post(client, encode(tone(seconds, rate, channels=channels), rate, kind))
    assert answer.status_code == 200
    assert answer.json()["caption"] == "Heard: tone 4"


async def test_surround_sound_at_192_khz_and_a_minute_of_sound(client: httpx.AsyncClient) -> None:
    surround = await post(client, encode(tone(0.5, 192_000, channels=6), 192_000, "WAVEX"))
    assert surround.json()["caption"] == "Heard: tone 4"
    minute = await post(client, encode(tone(60.0, 8_000), 8_000))
    assert minute.json()["duration"] == 60.0


async def test_what_is_not_audio_is_refused_with_415(client: httpx.AsyncClient) -> None:
    assert_problem(await post(client, b"I am a text"), 415, "not-audio", "WAV, FLAC, OGG")
    assert_problem(await client.post("/caption?domain=city", json={"audio": "x"}), 415, "not-audio", "JSON")


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (b"", "empty-audio", "0 bytes"),
        (wav(0.0), "empty-audio", "0 samples"),
        (encode(tone() * 0), "empty-audio", "nothing to hear"),
        (wav(2.0)[:20_000], "unreadable-audio", "cut short"),
        (encode(tone() * np.float32(np.nan), subtype="FLOAT"), "unreadable-audio", "NaN"),
        (b"RIFF\0\0\0\0WAVE", "unreadable-audio", "damaged"),
    ],
)
async def test_unreadable_and_empty_audio_is_refused_with_422(
    client: httpx.AsyncClient, data: bytes, kind: str, words: str
) -> None:
    assert_problem(await post(client, data), 422, kind, words)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("similar_captions", "many"),
        ("similar_captions", "-1"),
        ("num_beams", "0"),
        ("num_beams", "1.5"),
        ("temperature", "nan"),
        ("temperature", "3"),
        ("max_new_tokens", "100000"),
        ("seed", "-1"),
        ("response_format", "xml"),
        ("beams", "4"),
    ],
)
async def test_a_wrong_field_is_refused_with_400_and_named(client: httpx.AsyncClient, field: str, value: str) -> None:
    assert_problem(await post(client, wav(), **{field: value}), 400, "bad-field", field)
    in_query = await client.post("/caption", params=FORM | {field: value}, content=wav())
    assert_problem(in_query, 400, "bad-field", field)


async def test_the_file_must_be_in_the_field_file(client: httpx.AsyncClient) -> None:
    wrong = await client.post("/caption", files={"audio": ("clip.wav", wav())}, data=FORM)
    assert_problem(wrong, 400, "bad-field", "audio", "use 'file'")
    text = await client.post("/caption", files={"file": (None, "clip.wav")}, data=FORM)
    assert_problem(text, 400, "bad-field", "not a file")
    missing = await client.post("/caption", files={"domain": (None, "city")})
    assert_problem(missing, 400, "bad-field", "missing")
    twice = await client.post("/caption", files=[("file", ("a", wav())), ("file", ("b", wav()))])
    assert_problem(twice, 400, "bad-field", "more than once")


async def test_a_broken_form_is_refused_with_400(client: httpx.AsyncClient) -> None:
    headers = {"content-type": "multipart/form-data"}
    answer = await client.post("/caption", content=wav(), headers=headers)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_field_that_differs_in_form_and_query_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post("/caption?domain=forest", files=as_file(wav()), data=FORM)
    assert_problem(answer, 400, "bad-field", "domain")
    same = await client.post("/caption?domain=city&seed=1", files=as_file(wav()), data=FORM)
    assert same.status_code == 200


async def test_sampling_with_beams_is_refused(client: httpx.AsyncClient) -> None:
    answer = await post(client, wav(), num_beams="4", temperature="1")
    assert_problem(answer, 400, "bad-field", "temperature", "num_beams")


async def test_an_unknown_domain_is_refused_with_404(client: httpx.AsyncClient) -> None:
    assert_problem(await post(client, wav(), domain="sea"), 404, "unknown-domain", "'sea'")


async def test_a_path_is_no_domain(client: httpx.AsyncClient) -> None:
    assert_problem(await post(client, wav(), domain="../x"), 400, "invalid-domain-name", "../x")


async def test_the_domain_may_be_left_out_while_there_is_only_one(store: MemoryStore) -> None:
    async with serving(store) as client:
        several = await client.post("/caption", content=wav())
        assert_problem(several, 400, "bad-field", "domain", "city, forest")
        await store.delete("forest")
        assert (await client.post("/caption", content=wav())).json()["domain"] == "city"
        await store.delete("city")
        assert_problem(await client.post("/caption", content=wav()), 404, "unknown-domain", "PUT /domains")


async def test_a_domain_of_another_clap_is_refused_with_the_names_of_both(store: MemoryStore) -> None:
    clap = FakeClap()
    clap.fingerprint = "fake-2"
    async with serving(store, FakeBundle(clap=clap)) as client:
        assert_problem(await post(client, wav()), 409, "fingerprint-mismatch", "'fake-1'", "'fake-2'")


async def test_control_tokens_in_a_corpus_stay_text() -> None:
    caption = "tone 4 <|im_end|> </s> <script>"
    store, clap = MemoryStore(), FakeClap()
    await store.put("odd", [caption], clap.embed_text([caption]), clap.fingerprint)
    async with serving(store) as client:
        body = (await client.post("/caption?domain=odd", content=wav())).json()
        assert body["caption"] == f"Heard: {caption}"
        assert body["similar_captions"][0]["caption"] == caption
        vtt = await client.post("/caption?domain=odd&response_format=vtt", content=wav())
        assert "&lt;|im_end|&gt;" in vtt.text


async def test_too_large_a_body_is_refused_with_the_setting(store: MemoryStore) -> None:
    settings = Settings(audio=AudioSettings(max_bytes=10_000))
    async with serving(store, settings=settings) as client:
        stated = await client.post("/caption?domain=city", content=wav())
        assert_problem(stated, 413, "too-large", "DRCAP_AUDIO__MAX_BYTES", "10000")
        assert stated.headers["connection"] == "close"

        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(100):
                yield wav()[:1000]

        counted = await client.post("/caption?domain=city", content=chunks())
        assert_problem(counted, 413, "too-large", "DRCAP_AUDIO__MAX_BYTES", "10000")


async def test_too_long_a_recording_is_refused_with_the_setting(store: MemoryStore) -> None:
    async with serving(store, settings=Settings(audio=AudioSettings(max_seconds=2.0))) as client:
        assert_problem(await post(client, wav(3.0)), 413, "too-large", "DRCAP_AUDIO__MAX_SECONDS", "3.0 s")


async def test_the_service_answers_while_a_model_runs(store: MemoryStore) -> None:
    clap = GatedClap()
    async with serving(store, FakeBundle(clap=clap)) as client:
        caption = asyncio.create_task(post(client, wav()))
        await asyncio.to_thread(clap.entered.wait, 10)
        assert (await client.get("/livez")).status_code == 200
        assert not caption.done()
        clap.gate.set()
        assert (await caption).status_code == 200


async def test_more_requests_than_are_let_in_are_refused_with_retry_after(store: MemoryStore) -> None:
    clap = GatedClap()
    settings = Settings(admission=AdmissionSettings(captions=1))
    async with serving(store, FakeBundle(clap=clap), settings) as client:
        first = asyncio.create_task(post(client, wav()))
        await asyncio.to_thread(clap.entered.wait, 10)
        refused = await post(client, wav())
        assert_problem(refused, 503, "overloaded", "DRCAP_ADMISSION__CAPTIONS")
        assert refused.headers["retry-after"] == "2"  # nothing was measured yet
        clap.gate.set()
        assert (await first).status_code == 200
        assert (await post(client, wav())).status_code == 200


async def test_a_request_past_its_deadline_is_answered_with_504(store: MemoryStore) -> None:
    clap = GatedClap()
    settings = Settings(timeouts=TimeoutSettings(caption_seconds=0.05))
    async with serving(store, FakeBundle(clap=clap), settings) as client:
        late = await post(client, wav())
        assert_problem(late, 504, "deadline-passed", "DRCAP_TIMEOUTS__CAPTION_SECONDS")
        clap.gate.set()


async def test_queued_work_of_a_request_that_ended_is_dropped(store: MemoryStore) -> None:
    clap = GatedClap()
    async with serving(store, FakeBundle(clap=clap)) as client:
        stays = asyncio.create_task(post(client, wav()))
        await asyncio.to_thread(clap.entered.wait, 10)
        leaves = asyncio.create_task(post(client, wav()))
        for _ in range(1000):
            if 'drcap_admitted{kind="captions"} 2.0' in (await client.get("/metrics")).text:
                break
        leaves.cancel()
        await asyncio.gather(leaves, return_exceptions=True)
        clap.gate.set()
        assert (await stays).status_code == 200
        assert (await post(client, wav())).status_code == 200
        assert clap.calls == 2


async def test_a_wav_of_the_standard_library_is_read(client: httpx.AsyncClient) -> None:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(22_050)
        file.writeframes((tone(0.5, 22_050) * 32_000).astype("<i2").tobytes())
    assert (await post(client, buffer.getvalue())).json()["caption"] == "Heard: tone 4"


async def test_a_failure_of_the_service_is_a_500_that_tells_only_the_log(
    store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    class BrokenClap(FakeClap):
        def embed_audio(self, windows: Sequence[FloatArray]) -> FloatArray:
            raise RuntimeError("secret path")

    async with serving(store, FakeBundle(clap=BrokenClap())) as client:
        answer = await post(client, wav())
        assert_problem(answer, 500, "internal-error", "request id")
        assert "secret" not in answer.text
        assert answer.headers["x-request-id"] in caplog.text
        assert "secret path" in caplog.text
        assert (await client.get("/livez")).status_code == 200
