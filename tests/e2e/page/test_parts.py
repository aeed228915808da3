"""The page's own arithmetic against numpy and libsndfile, and the files it consists of."""

import io
import re
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from playwright.sync_api import Page

from service.http.streaming import Event

STATIC = Path(__file__).resolve().parents[3] / "service" / "static"


def test_the_transform_gives_the_power_that_numpy_gives(page: Page) -> None:
    samples = np.random.default_rng(3).normal(size=400)
    power = page.evaluate(
        """samples => import('/static/fft.js').then(({Fourier}) => {
            const power = new Float64Array(129); new Fourier(256).power(samples, 100, power); return [...power] })""",
        samples.tolist(),
    )
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(256) / 256)
    np.testing.assert_allclose(power, np.abs(np.fft.rfft(samples[100:356] * window)) ** 2, rtol=1e-9, atol=1e-9)


def test_samples_outside_of_the_recording_count_as_silence(page: Page) -> None:
    power = page.evaluate(
        """() => import('/static/fft.js').then(({Fourier}) => {
            const power = new Float64Array(9); new Fourier(16).power([1, 1], -40, power); return [...power] })"""
    )
    assert power == [0] * 9


def test_a_recording_is_written_as_a_wav_that_libsndfile_reads(page: Page) -> None:
    written = page.evaluate(
        """() => import('/static/wav.js').then(async ({encodeWav}) => {
            const blob = encodeWav([Float32Array.of(0, 0.5, -0.5), Float32Array.of(2, -2)], 22050);
            return [...new Uint8Array(await blob.arrayBuffer())] })"""
    )
    samples, rate = soundfile.read(io.BytesIO(bytes(written)))
    assert rate == 22_050
    np.testing.assert_allclose(samples, [0, 0.5, -0.5, 1, -1], atol=1e-4)


def test_events_are_read_once_they_are_whole_and_comments_are_none(page: Page) -> None:
    told = Event('{"percent": 4.5}', "progress").encode() + b": still working\n\n"
    told += Event("1\nrain: é\n", "caption").encode() + Event("plain").encode()
    text = told.decode()
    read = page.evaluate(
        """text => import('/static/events.js').then(({EventReader}) => {
            const heard = []; const reader = new EventReader((event) => heard.push(event));
            for (let end = 0; end <= text.length; end += 7) reader.read(text.slice(0, end));
            const before = heard.length; reader.read(text); reader.read(text); return [before, heard] })""",
        text,
    )
    assert read == [
        2,
        [
            {"name": "progress", "data": '{"percent": 4.5}'},
            {"name": "caption", "data": "1\nrain: é\n"},
            {"name": "message", "data": "plain"},
        ],
    ]


def test_the_page_and_its_files_are_revalidated_and_let_nothing_in_from_elsewhere(url: str) -> None:
    for path in ("/", "/static/app.js", "/static/base.css"):
        answer = httpx.get(url + path)
        assert answer.status_code == 200
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'self';")
        assert "unsafe" not in policy
        assert answer.headers["cache-control"] == "no-cache"
        again = httpx.get(url + path, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["/static/", "/static/none.js", "/static/..%2f__init__.py", "/static/%2e%2e/app.py"])
def test_what_is_no_file_of_the_page_is_a_404_problem(url: str, path: str) -> None:
    answer = httpx.get(url + path)
    assert answer.status_code == 404
    assert answer.json()["type"] == "urn:drcap:problem:not-found"


def test_no_file_of_the_page_names_another_host_or_sets_markup() -> None:
    files = [path for path in STATIC.iterdir() if path.is_file()]
    assert {"index.html", "app.js", "base.css", "favicon.svg"} <= {path.name for path in files}
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text), path.name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text), path.name
