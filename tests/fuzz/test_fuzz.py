"""Whatever is sent, the service answers it for what it is, in time, and is afterwards as it was before.

Some hundred requests as a rule; ``FUZZ_REQUESTS=10000 python -m pytest tests/fuzz -s`` sends so many and shows how
they were answered. The same few are sent every time, the many differ from run to run.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from cli.common.service_process import running_service
from tests.fuzz.account import NOTHING, Held, Tally, held, leftovers, under_way
from tests.fuzz.corpora import Sent, corpora
from tests.fuzz.recordings import KINDS, recordings, whole
from tests.fuzz.wires import Sent as Bytes
from tests.fuzz.wires import requests
from tests.raw import status_of, wire
from tests.recordings import wav

USUAL = 300
REQUESTS = int(os.environ.get("FUZZ_REQUESTS", str(USUAL)))
# Within which each answer comes, on a machine that is busy with other things.
BOUND = 20.0
# By which the memory may have grown: pieces that are free lie between others that are not. And threads of pools that
# grow when they are needed.
MEGABYTES, THREADS = 40.0, 20
PATIENCE = 0.15
CAPTIONS = ["tone 4", "tone 9 in the city", "rain on a roof"]
LIMITS = {
    "DRCAP_AUDIO__MAX_BYTES": "200000",
    "DRCAP_CORPUS__MAX_BYTES": "20000",
    "DRCAP_CORPUS__MAX_UNPACKED_BYTES": "100000",
    "DRCAP_CORPUS__MAX_CAPTIONS": "50",
    "DRCAP_LOG__FORMAT": "json",
}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@dataclass
class Fuzzed:
    """A service in a process of its own, and the account of what it was sent."""

    client: httpx.Client
    folder: Path
    pid: int
    before: Held
    tally: Tally = field(default_factory=Tally)

    def ask(self, kind: str, method: str, path: str, **request: Any) -> httpx.Response:
        """Ask once; what is no problem document of an expected kind fails the test."""
        started = time.monotonic()
        answer = self.client.request(method, path, **request)
        self.tally.add(kind, answer.status_code, time.monotonic() - started)
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == "application/problem+json", answer.text
            assert answer.status_code != 500, answer.text
        return answer

    def has_city(self) -> None:
        """See to it that the domain ``city`` is as at the start."""
        eventually(lambda: not under_way(self.client))
        params = {"wait": "true"}
        self.client.put("/domains/city", params=params, json={"captions": CAPTIONS}).raise_for_status()


def share(part: float) -> settings:
    """The settings of a test that sends this part of all requests."""
    return settings(
        max_examples=max(5, round(REQUESTS * part)),
        deadline=None,
        database=None,
        derandomize=REQUESTS <= USUAL,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzed]:
    """The service with the domain ``city``."""
    folder = tmp_path_factory.mktemp("fuzzed")
    command = [sys.executable, "-m", "tests.fuzz.service", str(folder / "pid")]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in LIMITS.items():
            patch.setenv(name, value)
        with running_service(folder, command) as url, httpx.Client(base_url=url, timeout=BOUND) as client:
            pid = int((folder / "pid").read_text())
            _warm_up(client)
            yield Fuzzed(client, folder, pid, held(pid))


def _warm_up(client: httpx.Client) -> None:
    """Have every pool of threads as large as it gets, and what is read or made once read and made."""
    with ThreadPoolExecutor(16) as pool:
        put = partial(client.put, params={"wait": "true"}, json={"captions": CAPTIONS})
        for answer in pool.map(put, [f"/domains/{name}" for name in ("city", *"abcdefgh")]):
            answer.raise_for_status()
        for number in range(60):
            kind = KINDS[number % len(KINDS)]
            pool.submit(client.post, "/caption?domain=city", files={"file": ("a", whole(kind, number))})
            pool.submit(client.get, "/domains/city/captions")
    for name in "abcdefgh":
        client.delete(f"/domains/{name}").raise_for_status()


def test_recordings(fuzzed: Fuzzed) -> None:
    @share(0.4)
    @given(recordings, st.booleans())
    def send(data: bytes, as_form: bool) -> None:
        request: dict[str, Any] = {"files": {"file": ("a.wav", data)}} if as_form else {"content": data}
        answer = fuzzed.ask("recording", "POST", "/caption?domain=city", **request)
        assert answer.status_code in (200, 413, 415, 422), answer.text
        if answer.status_code == 200:
            assert answer.json()["caption"].startswith("Heard: ")

    send()


def _register(fuzzed: Fuzzed, kind: str, sent: Sent, name: str, wait: bool) -> None:
    params = {"wait": str(wait).lower(), "on_error": sent.on_error} | ({"column": sent.column} if sent.column else {})
    headers = [(b"content-type", sent.media_type.encode())]
    answer = fuzzed.ask(kind, "PUT", f"/domains/{name}", content=sent.body, params=params, headers=headers)
    # 409 and 503: of the registrations that nobody waited for, this domain's or too many are still under way.
    assert answer.status_code in ((200, 201, 400, 413, 415) + (() if wait else (202,)) + (409, 503)), answer.text
    if answer.status_code == 503:
        assert answer.headers["retry-after"]


def test_corpora(fuzzed: Fuzzed) -> None:
    @share(0.2)
    @given(corpora(), st.sampled_from("abcdefgh"), st.integers(0, 3))
    def send(sent: Sent, name: str, wait: int) -> None:
        _register(fuzzed, "corpus", sent, name, wait > 0)

    send()


def test_forms_and_http_that_are_broken(fuzzed: Fuzzed) -> None:
    @share(0.2)
    @given(requests)
    def send(sent: Bytes) -> None:
        started = time.monotonic()
        with wire(str(fuzzed.client.base_url)) as client:
            for piece in sent.pieces:
                client.send(piece)
            answer = client.answer(PATIENCE)
        status = status_of(answer)
        fuzzed.tally.add("bytes", status or NOTHING, time.monotonic() - started - PATIENCE)
        assert status is None or status < 500 or status in (501, 503, 504), answer

    send()


def test_requests_after_the_openapi_document(fuzzed: Fuzzed) -> None:
    fuzzed.has_city()
    schema = schemathesis.openapi.from_url(f"{fuzzed.client.base_url}/openapi.json")
    operations = [one.ok() for one in schema.get_all_operations() if isinstance(one, Ok)]
    cases = [one.as_strategy(mode) for one in operations for mode in schemathesis.GenerationMode]

    @share(0.18)
    @given(st.one_of(cases))
    def send(case: Any) -> None:
        started = time.monotonic()
        answer = case.call(timeout=BOUND)
        fuzzed.tally.add("OpenAPI", answer.status_code, time.monotonic() - started)
        case.validate_response(answer, checks=CHECKS)

    send()


def test_afterwards_the_service_is_as_it_was(fuzzed: Fuzzed) -> None:
    eventually(lambda: not under_way(fuzzed.client))
    fuzzed.has_city()
    for domain in fuzzed.client.get("/domains").json()["domains"]:
        if domain["name"] != "city":
            fuzzed.client.delete(f"/domains/{domain['name']}").raise_for_status()
    eventually(lambda: held(fuzzed.pid).files <= fuzzed.before.files)
    after = held(fuzzed.pid)
    print(f"\n{fuzzed.tally}\nbefore {fuzzed.before}\nafter  {after}")
    assert after.threads <= fuzzed.before.threads + THREADS
    assert after.children == 0
    assert after.megabytes < fuzzed.before.megabytes + MEGABYTES
    assert leftovers(fuzzed.folder / "jobs") == []
    log = (fuzzed.folder / "service.log").read_text().splitlines()
    assert not {line for line in log if '"level": "error"' in line or "Traceback" in line}
    answer = fuzzed.ask("good recording", "POST", "/caption?domain=city", content=wav())
    assert answer.json()["caption"] == "Heard: tone 4"


def eventually(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + BOUND
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)
