"""OpenAI's own client against the service: formats, streams and models."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import httpx
import numpy as np
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.audio import TranscriptionTextDeltaEvent, TranscriptionTextDoneEvent

from tests.api.live import live, live_with_two_domains, openai_client
from tests.fakes import FakeBundle, FakeClap, GatedClap
from tests.memory_store import MemoryStore
from tests.recordings import encode, tone, wav

HEARD = "Heard: tone 4"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with live_with_two_domains(tmp_path_factory.mktemp("jobs")) as url:
        yield url


@pytest.fixture(scope="module")
def openai(url: str) -> OpenAI:
    return openai_client(url)


def transcribe(client: OpenAI, seconds: float = 1.0, **options: Any) -> Any:
    return client.audio.transcriptions.create(file=("clip.wav", wav(seconds)), model="city", **options)


def figure(url: str, line: str) -> float:
    """A value of the service's figures."""
    for shown in httpx.get(f"{url}/metrics").text.splitlines():
        if shown.startswith(line + " "):
            return float(shown.rpartition(" ")[2])
    return 0.0


def test_a_model_is_a_domain_and_the_text_its_caption(openai: OpenAI) -> None:
    answer = transcribe(openai)
    assert answer.text == HEARD
    assert answer.usage.type == "duration"
    assert answer.usage.seconds == 1.0
    forest = openai.audio.transcriptions.create(file=wav(), model="forest")
    assert forest.text == "Heard: tone 4 between trees"


def test_plain_text_and_subtitles_are_those_of_the_native_route(openai: OpenAI, url: str) -> None:
    for wanted in ("text", "srt", "vtt"):
        native = httpx.post(f"{url}/caption", params={"domain": "city", "response_format": wanted}, content=wav(5.0))
        assert transcribe(openai, 5.0, response_format=wanted) == native.text
    assert "-->" in native.text


def test_a_verbose_answer_fits_the_type_of_the_client(url: str) -> None:
    strict = OpenAI(base_url=f"{url}/v1", api_key="any", _strict_response_validation=True)
    sound = encode(np.concatenate([tone(6.0, hertz=400), tone(6.0, hertz=900)]))
    options: Any = {"response_format": "verbose_json", "timestamp_granularities": ["segment"]}
    answer: Any = strict.audio.transcriptions.create(file=sound, model="city", **options)
    fields = {"domain": "city", "response_format": "verbose_json"}
    native = httpx.post(f"{url}/caption", params=fields, content=sound).json()
    assert (answer.text, answer.duration, answer.words) == (native["caption"], 12.0, None)
    shown = [{"start": one.start, "end": one.end, "caption": one.text} for one in answer.segments]
    assert shown == native["segments"]
    assert len(shown) == 2
    assert [(one.id, one.seek) for one in answer.segments] == [(0, 0), (1, round(shown[1]["start"] * 100))]
    assert {one.temperature for one in answer.segments} == {0.0}


def test_a_verbose_answer_names_what_it_does_not_know(openai: OpenAI) -> None:
    answer = transcribe(openai, response_format="verbose_json")
    assert answer.language == "und"
    (segment,) = answer.segments
    assert {name: getattr(segment, name) for name in answer.not_measured} == {
        "tokens": [],
        "avg_logprob": 0.0,
        "no_speech_prob": 0.0,
    }
    assert 0 < segment.compression_ratio < 1


def test_a_temperature_reaches_the_decoder_as_do_the_fields_of_the_native_route(store: MemoryStore) -> None:
    seen = []

    class Watched(type(FakeBundle().decoder)):  # type: ignore[misc]
        def generate(self, prompts: Any, options: Any, gone: Any) -> Any:
            seen.append((options, prompts[0].similar_captions))
            return super().generate(prompts, options, gone)

    with live(store, FakeBundle(decoder=Watched())) as url:
        answer = transcribe(
            openai_client(url),
            response_format="verbose_json",
            temperature=0.5,
            extra_body={"seed": 7, "similar_captions": 1, "max_new_tokens": 9},
        )
    ((options, similar),) = seen
    assert (options.temperature, options.seed, options.max_new_tokens, len(similar)) == (0.5, 7, 9, 1)
    assert answer.segments[0].temperature == 0.5


def test_hints_are_accepted_and_the_answer_says_that_they_were_not_used(openai: OpenAI) -> None:
    raw = openai.audio.transcriptions.with_raw_response
    hints: dict[str, Any] = {"prompt": "As in the park.", "language": "en", "chunking_strategy": "auto"}
    hints |= {"languages": ["en", "de"], "keywords": ["tram", "bell"]}
    answer = raw.create(file=wav(), model="city", **hints)
    assert answer.parse().text == HEARD
    assert answer.headers["x-ignored-fields"] == "chunking_strategy, keywords, language, languages, prompt"
    plain = raw.create(file=wav(), model="city", prompt="", include=[])
    assert "x-ignored-fields" not in plain.headers
    stream = raw.create(file=wav(), model="city", language="en", stream=True)
    assert stream.headers["x-ignored-fields"] == "language"


def test_a_stream_brings_the_text_and_then_all_of_it(openai: OpenAI) -> None:
    delta, done = transcribe(openai, 5.0, stream=True)
    assert isinstance(delta, TranscriptionTextDeltaEvent)
    assert isinstance(done, TranscriptionTextDoneEvent)
    assert delta.delta == done.text == HEARD


def test_a_stream_is_sent_as_events_that_nothing_on_the_way_keeps_back(url: str) -> None:
    form = {"model": "city", "stream": "true"}
    answer = httpx.post(f"{url}/v1/audio/transcriptions", files={"file": ("a.wav", wav())}, data=form)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-accel-buffering"] == "no"
    assert [line.partition(": ")[0] for line in answer.text.split("\n") if line] == ["data", "data"]


def test_leaving_a_stream_cancels_the_work(store: MemoryStore) -> None:
    clap = GatedClap()
    with live(store, FakeBundle(clap=clap)) as url:
        stream = transcribe(openai_client(url), stream=True)
        assert clap.entered.wait(10)
        assert figure(url, 'drcap_admitted{kind="captions"}') == 1
        stream.close()
        for _ in range(1000):
            if not figure(url, 'drcap_admitted{kind="captions"}'):
                break
        clap.gate.set()
        assert figure(url, 'drcap_admitted{kind="captions"}') == 0
        assert figure(url, 'drcap_captions_total{domain="city"}') == 0


def test_transcriptions_count_as_captions(store: MemoryStore) -> None:
    with live(store) as url:
        client = openai_client(url)
        transcribe(client, 2.0)
        list(transcribe(client, 2.0, stream=True))
        assert figure(url, 'drcap_captions_total{domain="city"}') == 2
        assert figure(url, "drcap_audio_seconds_total") == 4
        counted = 'drcap_requests_total{method="POST",route="/v1/audio/transcriptions",status="200"}'
        assert figure(url, counted) == 2


async def test_the_asynchronous_client_works_the_same(url: str) -> None:
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="any") as client:
        answer = await client.audio.transcriptions.create(file=wav(), model="city")
        assert answer.text == HEARD
        stream = await client.audio.transcriptions.create(file=wav(), model="city", stream=True)
        assert [event.type async for event in stream] == ["transcript.text.delta", "transcript.text.done"]
        assert [model.id async for model in client.models.list()] == ["city", "forest"]


def test_the_models_are_the_domains(url: str) -> None:
    strict = OpenAI(base_url=f"{url}/v1", api_key="any", _strict_response_validation=True)
    assert [model.id for model in strict.models.list()] == ["city", "forest"]
    model = strict.models.retrieve("city")
    assert (model.id, model.object, model.owned_by) == ("city", "model", "drcap")
    version = httpx.get(f"{url}/domains/city").json()
    assert model.created == int(datetime.fromisoformat(version["created"]).timestamp())


def test_without_domains_there_are_no_models() -> None:
    with live(MemoryStore()) as url:
        assert openai_client(url).models.list().data == []


def test_a_domain_of_another_clap_is_not_offered(store: MemoryStore) -> None:
    clap = FakeClap()
    clap.fingerprint = "fake-2"
    with live(store, FakeBundle(clap=clap)) as url:
        assert openai_client(url).models.list().data == []


def test_the_document_describes_the_routes_and_their_errors(url: str) -> None:
    document = httpx.get(f"{url}/openapi.json").json()
    operation = document["paths"]["/v1/audio/transcriptions"]["post"]
    form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["required"] == ["file", "model"]
    assert {"response_format", "temperature", "timestamp_granularities", "stream"} <= set(form["properties"])
    assert "domain" not in form["properties"]
    schemas = document["components"]["schemas"]
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}}}
    for path in ("/v1/audio/transcriptions", "/v1/models", "/v1/models/{name}"):
        for described in document["paths"][path].values():
            for status, answer in described["responses"].items():
                if int(status) >= 400:
                    assert answer["content"] == error
    assert set(schemas["ErrorBody"]["properties"]) == {"message", "type", "param", "code"}
    assert "Problem" in str(document["paths"]["/caption"]["post"]["responses"]["404"])
