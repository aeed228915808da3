"""Errors under /v1: in the shape of OpenAI's API, and typed by its client."""

import json
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import openai
import pytest

from models.vectors import FloatArray
from service.settings import Settings
from tests.api.live import live, live_with_two_domains, openai_client
from tests.api.test_keys import bearer, call_unread, keys, settings
from tests.api.test_openai import figure
from tests.fakes import FakeBundle, FakeClap, GatedClap
from tests.memory_store import MemoryStore
from tests.recordings import wav

PATH = "/v1/audio/transcriptions"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with live_with_two_domains(tmp_path_factory.mktemp("jobs")) as url:
        yield url


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service with keys."""
    with live_with_two_domains(tmp_path_factory.mktemp("jobs"), keys().auth, "both-key") as url:
        yield url


def ask(url: str, key: str = "any", **options: Any) -> Any:
    given: dict[str, Any] = {"file": ("clip.wav", wav()), "model": "city"}
    return openai_client(url, key).audio.transcriptions.create(**given | options)


def assert_error(error: openai.APIStatusError, code: str, param: str | None, *words: str) -> None:
    assert (error.code, error.param) == (code, param)
    assert error.type == ("server_error" if error.status_code >= 500 else "invalid_request_error")
    assert error.request_id == error.response.headers["x-request-id"]
    assert set(error.response.json()["error"]) == {"message", "type", "param", "code"}
    for word in words:
        assert word in error.message


def test_no_key_and_a_wrong_key(guarded: str) -> None:
    for call in (lambda: ask(guarded, "other-key"), lambda: openai_client(guarded, "other-key").models.list()):
        with pytest.raises(openai.AuthenticationError) as caught:
            call()
        assert_error(caught.value, "invalid_api_key", None, "unknown key")
    bare = httpx.post(guarded + PATH, content=b"")
    assert (bare.status_code, bare.json()["error"]["code"]) == (401, "invalid_api_key")
    assert bare.headers["www-authenticate"] == "Bearer"
    assert ask(guarded, "studio-key").text


def test_a_key_without_the_scope_and_one_for_another_domain(guarded: str) -> None:
    with pytest.raises(openai.PermissionDeniedError) as caught:
        ask(guarded, "admin-key")
    assert_error(caught.value, "forbidden", None, "scope caption")
    for model in ("forest", "none"):
        with pytest.raises(openai.PermissionDeniedError) as caught:
            ask(guarded, "city-key", model=model)
        assert_error(caught.value, "forbidden", None, repr(model))
        with pytest.raises(openai.PermissionDeniedError):
            openai_client(guarded, "city-key").models.retrieve(model)


def test_a_key_for_one_domain_sees_one_model(guarded: str) -> None:
    assert [model.id for model in openai_client(guarded, "city-key").models.list()] == ["city"]
    assert openai_client(guarded, "city-key").models.retrieve("city").id == "city"
    assert [model.id for model in openai_client(guarded, "admin-key").models.list()] == ["city", "forest"]


def test_a_key_over_its_rate(store: MemoryStore) -> None:
    slow = settings({"name": "slow", "scopes": ["caption"], "requests_per_minute": 1})
    with live(store, settings=slow) as url:
        client = openai_client(url, "slow-key").with_options(max_retries=0)
        client.models.list()
        with pytest.raises(openai.RateLimitError) as caught:
            client.audio.transcriptions.create(file=wav(), model="city")
    error = caught.value
    assert (error.code, error.type) == ("rate_limit_exceeded", "requests")
    assert 1 <= int(error.response.headers["retry-after"]) <= 60
    assert error.response.headers["x-should-retry"] == "true"


@pytest.mark.parametrize("model", ["sea", "openai/whisper-1", "../x", "Whisper 1", "%2e%2e"])
def test_a_model_that_is_no_domain(url: str, model: str) -> None:
    for stream in (False, True):
        with pytest.raises(openai.NotFoundError) as caught:
            ask(url, model=model, stream=stream)
        assert_error(caught.value, "model_not_found", "model", "GET /v1/models")
    with pytest.raises(openai.NotFoundError) as caught:
        openai_client(url).models.retrieve(model)
    assert_error(caught.value, "model_not_found", "model")


def test_a_domain_of_another_clap_is_refused_and_not_asked_for_again(store: MemoryStore) -> None:
    clap = FakeClap()
    clap.fingerprint = "fake-2"
    with live(store, FakeBundle(clap=clap)) as url:
        with pytest.raises(openai.ConflictError) as caught:
            ask(url)
        assert_error(caught.value, "fingerprint_mismatch", None, "register the domain again")
        assert figure(url, f'drcap_requests_total{{method="POST",route="{PATH}",status="409"}}') == 1
        with pytest.raises(openai.ConflictError):
            openai_client(url).models.retrieve("city")


@pytest.mark.parametrize(
    ("options", "param", "words"),
    [
        ({"model": ""}, "model", "at least 1"),
        ({"temperature": 3}, "temperature", "2"),
        ({"response_format": "diarized_json"}, "response_format", "verbose_json"),
        ({"timestamp_granularities": ["word"]}, "timestamp_granularities", "use segment"),
        ({"timestamp_granularities": ["segment"]}, "timestamp_granularities", "verbose_json"),
        ({"timestamp_granularities": ["hour"]}, "timestamp_granularities", "segment"),
        ({"include": ["logprobs"]}, "include", "log probabilities"),
        ({"chunking_strategy": {"type": "server_vad", "threshold": 0.5}}, "chunking_strategy", "use auto"),
        ({"known_speaker_names": ["Ada"]}, "known_speaker_names", "speakers"),
        ({"stream": True, "response_format": "srt"}, "stream", "json or text"),
        ({"extra_body": {"domain": "city"}}, "domain", "not a known field"),
        ({"extra_body": {"num_beams": 4}, "temperature": 0.5}, None, "num_beams 1 only"),
        ({"extra_headers": {"X-Request-Timeout": "soon"}}, "X-Request-Timeout", "decimal number"),
    ],
)
def test_what_cannot_be_done_is_refused_by_its_field(
    url: str, options: dict[str, Any], param: str | None, words: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(url, **options)
    assert_error(caught.value, "bad_field", param, words)


@pytest.mark.parametrize(
    ("data", "kind", "code"),
    [
        (b"I am a text", openai.APIStatusError, "not_audio"),
        (wav(0.0), openai.UnprocessableEntityError, "empty_audio"),
        (wav(2.0)[:20_000], openai.UnprocessableEntityError, "unreadable_audio"),
    ],
)
def test_a_file_that_cannot_be_heard(url: str, data: bytes, kind: type[openai.APIStatusError], code: str) -> None:
    for stream in (False, True):
        with pytest.raises(kind) as caught:
            ask(url, file=("clip.wav", data), stream=stream)
        assert_error(caught.value, code, None)
    if code == "not_audio":
        assert caught.value.status_code == 415


def test_too_large_and_too_long_a_file(store: MemoryStore) -> None:
    with live(store, settings=Settings.model_validate({"audio": {"max_bytes": 40_000, "max_seconds": 1.0}})) as url:
        with pytest.raises(openai.APIStatusError) as caught:
            ask(url, file=("clip.wav", wav(2.0)))
        assert caught.value.status_code == 413
        assert_error(caught.value, "too_large", None, "DRCAP_AUDIO__MAX_BYTES")
        with pytest.raises(openai.APIStatusError) as caught:
            ask(url, file=("clip.wav", wav(1.1)))
        assert caught.value.status_code == 413
        assert_error(caught.value, "too_large", None, "DRCAP_AUDIO__MAX_SECONDS")


def test_more_than_is_let_in_and_later_than_is_waited_for(store: MemoryStore) -> None:
    clap = GatedClap()
    only_one = Settings.model_validate({"admission": {"captions": 1}})
    with live(store, FakeBundle(clap=clap), only_one) as url:
        first = threading.Thread(target=ask, args=(url,))
        first.start()
        assert clap.entered.wait(10)
        with pytest.raises(openai.InternalServerError) as caught:
            openai_client(url).with_options(max_retries=0).audio.transcriptions.create(file=wav(), model="city")
        assert caught.value.status_code == 503
        assert_error(caught.value, "overloaded", None, "DRCAP_ADMISSION__CAPTIONS")
        assert caught.value.response.headers["retry-after"] == "2"
        assert caught.value.response.headers["x-should-retry"] == "true"
        clap.gate.set()
        first.join()

        clap.gate.clear()
        with pytest.raises(openai.InternalServerError) as caught:
            ask(url, extra_headers={"X-Request-Timeout": "0.2"})
        assert caught.value.status_code == 504
        assert_error(caught.value, "deadline_passed", None, "X-Request-Timeout")
        assert figure(url, f'drcap_requests_total{{method="POST",route="{PATH}",status="504"}}') == 1
        clap.gate.set()


class BrokenClap(FakeClap):
    """Hears nothing at all."""

    def embed_audio(self, windows: Sequence[FloatArray]) -> FloatArray:
        raise RuntimeError("secret path")


def test_a_failure_is_told_by_the_status_or_as_the_last_event_of_a_stream(store: MemoryStore) -> None:
    with live(store, FakeBundle(clap=BrokenClap())) as url:
        with pytest.raises(openai.InternalServerError) as caught:
            ask(url)
        assert_error(caught.value, "internal_error", None, "request id")
        with pytest.raises(openai.APIError) as streamed:
            list(ask(url, stream=True))
        assert (streamed.value.code, streamed.value.type) == ("internal_error", "server_error")
        assert "secret" not in str(streamed.value)


@pytest.mark.parametrize(
    ("method", "path", "status"), [("POST", "/v1/chat/completions", 404), ("GET", PATH, 405), ("GET", "/v1/", 404)]
)
def test_other_routes_under_v1_answer_in_the_same_shape(url: str, method: str, path: str, status: int) -> None:
    answer = httpx.request(method, url + path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_the_native_routes_keep_their_problem_documents(url: str) -> None:
    for path in ("/domains/none", "/v1x", "/v1"):
        answer = httpx.get(url + path)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["type"].startswith("urn:drcap:problem:")


async def test_nothing_of_a_recording_is_read_from_who_may_not_send_it() -> None:
    for name, status in ((None, 401), ("other", 401), ("admin", 403)):
        sent = await call_unread(keys(), "POST", PATH, bearer(name) if name else {})
        assert sent[0]["status"] == status
        assert json.loads(sent[1]["body"])["error"]["message"]
