"""What goes on, on the page: captions with their moments as they come, and registrations found after a reload."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytest.importorskip("axe_playwright_python", reason="axe-playwright-python, which has axe-core in it, is not installed")

from playwright.sync_api import Browser, Page, expect

from tests.e2e.page.browser import choose, visit
from tests.e2e.page.looks import is_well
from tests.e2e.page.service import SteppedDecoder, large_corpus, page_service, rain_then_bell

MOMENTS = 32
# Of eight captions: the clip's, and those of moments, the last of which may still become longer.
FIRST_BATCH = 8 - 1 - 1
BATCHES = 5


@pytest.fixture(scope="module")
def decoder() -> SteppedDecoder:
    return SteppedDecoder()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, decoder: SteppedDecoder) -> Iterator[str]:
    """A service that writes step by step."""
    with page_service(tmp_path_factory.mktemp("jobs"), decoder=decoder) as url:
        yield url


@pytest.fixture(scope="module")
def long_recording() -> bytes:
    """Over two minutes of rain and bell in turn."""
    return rain_then_bell(times=MOMENTS // 2)


def begun(page: Page, data: bytes, decoder: SteppedDecoder) -> None:
    """Give the page a recording and let the first batch of its captions be written."""
    expect(page.locator("#domain")).to_be_enabled()
    choose(page, data)
    expect(page.locator("#busy-text")).to_have_text(re.compile(r"Writing… \d+%"))
    decoder.let(1)
    expect(page.locator("#so-far-list li")).to_have_count(FIRST_BATCH)


def share(page: Page) -> float:
    return float(page.get_attribute("#busy-bar", "value") or -1)


def admitted(url: str) -> str:
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    return next(line for line in lines if line.startswith('drcap_admitted{kind="captions"}'))


def test_moments_appear_as_they_are_written_and_the_caption_last(
    page: Page, decoder: SteppedDecoder, long_recording: bytes
) -> None:
    begun(page, long_recording, decoder)
    first = share(page)
    assert 0 < first < 1
    assert f"{int(100 * first)}%" in page.inner_text("#busy-text")
    expect(page.locator("#timeline > *")).to_have_count(FIRST_BATCH)
    expect(page.locator("#live")).to_have_text(re.compile(r"^Writing, (25|50) percent$"))
    assert page.get_attribute("#answer", "aria-busy") == "true"
    expect(page.locator("#so-far-list button").first).to_be_enabled()
    page.locator("#so-far-list button").nth(2).click()
    expect(page.locator("#so-far-list button").nth(2)).to_have_attribute("aria-current", "true")
    decoder.let(1)
    expect(page.locator("#timeline > *")).to_have_count(FIRST_BATCH + 8)
    assert share(page) > first
    so_far = page.locator("#so-far-list li").all_inner_texts()
    decoder.let(BATCHES - 2)
    expect(page.locator("#result")).to_be_visible()
    assert page.is_hidden("#busy")
    assert page.locator("#segment-list li").all_inner_texts()[: len(so_far)] == so_far
    expect(page.locator("#segment-list li")).to_have_count(MOMENTS)
    expect(page.locator("#timeline > *")).to_have_count(MOMENTS)
    expect(page.locator("#live")).to_contain_text("Caption in the words of field-notes: Heard: ")


def test_cancelling_stops_the_work_and_leaves_the_page_as_it_was(
    page: Page, url: str, decoder: SteppedDecoder, long_recording: bytes
) -> None:
    begun(page, long_recording, decoder)
    written = decoder.batches
    assert admitted(url).endswith(" 1.0")
    page.locator("#cancel").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#answer")).to_be_hidden()
    expect(page.locator("#live")).to_have_text("Cancelled")
    expect(page.locator("#timeline > *")).to_have_count(0)
    assert page.is_hidden("#caption-problem")
    for _ in range(200):
        if admitted(url).endswith(" 0.0"):
            break
        page.wait_for_timeout(25)
    assert admitted(url).endswith(" 0.0")
    assert decoder.batches == written
    begun(page, long_recording, decoder)
    decoder.let(BATCHES - 1)
    expect(page.locator("#segment-list li")).to_have_count(MOMENTS)


def test_what_goes_wrong_on_the_way_is_told_and_what_came_is_taken_back(
    browser: Browser, tmp_path: Path, long_recording: bytes
) -> None:
    class Failing(SteppedDecoder):
        def generate(self, prompts, options, gone=lambda _: False):  # type: ignore[no-untyped-def]
            if self.batches == 1:
                raise RuntimeError("no memory left")
            return super().generate(prompts, options, gone)

    decoder = Failing()
    with page_service(tmp_path, decoder=decoder) as url, visit(browser, url) as page:
        expect(page.locator("#domain")).to_be_enabled()
        choose(page, long_recording)
        decoder.let(1)
        problem = page.get_by_role("alert").filter(visible=True)
        expect(problem).to_contain_text("its log has the details under the request id")
        expect(problem).to_contain_text(re.compile(r"Request [0-9a-f]{32}"))
        assert page.is_hidden("#answer")
        expect(page.locator("#timeline > *")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 375])
def test_progress_fits_its_screen_and_is_accessible(
    browser: Browser,
    url: str,
    decoder: SteppedDecoder,
    long_recording: bytes,
    pictures: Path,
    width: int,
    scheme: str,
) -> None:
    with visit(browser, url, width, scheme) as page:
        begun(page, long_recording, decoder)
        expect(page.locator("#scope-note")).to_be_hidden()
        expect(page.locator("#scope-picture:not([aria-busy])")).to_be_visible()
        is_well(page, pictures / f"progress-{scheme}-{width}.png")
        page.click("#cancel")
        job = begin_registration(url, "kettles", 40_000)
        page.reload()
        page.click("nav a[href='#domains']")
        expect(page.locator("#job-list li")).to_have_count(1)
        is_well(page, pictures / f"under-way-{scheme}-{width}.png")
        httpx.delete(f"{url}/jobs/{job}").raise_for_status()
        expect(page.locator("#under-way")).to_be_hidden()


def begin_registration(url: str, name: str, captions: int) -> str:
    """Register captions elsewhere than on the page; gives the job."""
    headers = {"content-type": "text/plain"}
    answer = httpx.put(f"{url}/domains/{name}", content=large_corpus(captions), headers=headers)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def test_a_registration_under_way_is_found_after_a_reload_and_followed_to_its_end(page: Page, url: str) -> None:
    page.click("nav a[href='#domains']")
    page.click("#new-domain")
    page.set_input_files("#corpus", {"name": "mine.txt", "mimeType": "text/plain", "buffer": large_corpus(6_000)})
    page.click("#register-go")
    expect(page.locator("#job-text")).to_have_text(re.compile(r"captions so far"))
    assert page.is_hidden("#under-way")
    page.reload()
    expect(page.get_by_role("heading", name="Registering mine")).to_be_visible()
    expect(page.locator("#job-list .muted")).to_have_text(re.compile(r"^[\d,]+ captions so far.* · [1-9]\d?%$"))
    assert 0 < float(page.get_attribute("#job-list progress", "value") or 0) < 1
    expect(page.locator("[data-name=mine]")).to_contain_text("6,000 captions")
    expect(page.locator("#under-way")).to_be_hidden()
    expect(page.locator("#live")).to_have_text("mine is registered with 6,000 captions")
    httpx.delete(f"{url}/domains/mine").raise_for_status()


def test_a_registration_that_was_found_can_be_cancelled(page: Page, url: str) -> None:
    begin_registration(url, "dropped", 40_000)
    page.reload()
    page.click("nav a[href='#domains']")
    cancel = page.get_by_role("button", name="Cancel Registering dropped")
    cancel.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#under-way")).to_be_hidden()
    expect(page.locator("#domains-title")).to_be_focused()
    assert page.is_hidden("#domains-problem")
    assert "dropped" not in [one["name"] for one in httpx.get(f"{url}/domains").json()["domains"]]


def test_who_may_not_see_the_jobs_is_told_nothing_of_them(page: Page, url: str) -> None:
    page.route("**/jobs", lambda route: route.fulfill(status=403, json={"detail": "the key may caption only"}))
    page.reload()
    page.click("nav a[href='#domains']")
    expect(page.locator("#panel-title")).to_be_visible()
    assert page.is_hidden("#domains-problem")
    assert page.is_hidden("#under-way")
