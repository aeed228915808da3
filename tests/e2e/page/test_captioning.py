"""A recording on the page: captioned, drawn, played, compared and taken away."""

import re
from collections.abc import Callable

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from playwright.sync_api import Browser, Page, Route, expect

from service.answers import srt, vtt
from service.captioning.segments import Segment
from tests.e2e.page.browser import captioned, choose, sentence, visit
from tests.e2e.page.service import DOMAINS, page_service


def test_a_file_is_captioned_with_its_moments_similar_captions_and_stages(page: Page, recording: bytes) -> None:
    caption = captioned(page, recording)
    assert caption.removeprefix("Heard: ") in DOMAINS["field-notes"]
    moments = page.locator("#segment-list button")
    assert moments.count() == page.locator("#timeline > *").count() == 2
    assert "rain" in moments.first.inner_text().lower()
    assert "bell" in moments.last.inner_text().lower()
    similar = page.locator("#similar-list li")
    assert similar.count() == 3
    shares = [float(text) for text in page.locator("#similar-list .bar-figure").all_inner_texts()]
    assert shares == sorted(shares, reverse=True)
    widths = page.eval_on_selector_all("#similar-list .bar", "all => all.map(one => parseFloat(one.style.width))")
    assert widths == pytest.approx([100 * max(0, share) for share in shares], abs=0.6)
    stages = page.locator("#stage-list .bar-text").all_inner_texts()
    assert {"decode audio", "embed audio", "search", "generate", "total"} <= set(stages)


def test_what_was_heard_stands_under_the_caption_with_its_score_and_its_seconds(page: Page, recording: bytes) -> None:
    captioned(page, recording)
    sounds = page.get_by_role("region", name="Heard").get_by_role("listitem")
    expect(sounds).to_have_count(2)
    when = {"rain": "0.0 – 4.0 s", "bell": "4.0 – 8.0 s"}
    for one in sounds.all():
        name = one.locator(".bar-text").inner_text()
        expect(one).to_have_attribute("title", when.pop(name))
        assert 0.3 <= float(one.locator(".bar-figure").inner_text()) <= 1
    assert when == {}


def test_no_row_of_sounds_is_there_where_none_is_told(page: Page, recording: bytes) -> None:
    def without(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=re.sub(r'"sounds":\[\{.*?\}\]\}\]', '"sounds":[]', answer.text()))

    page.route("**/caption", without)
    captioned(page, recording)
    expect(page.locator("#sounds")).to_be_hidden()


def test_waveform_and_spectrogram_are_drawn_with_ink_where_the_sound_is(page: Page, recording: bytes) -> None:
    captioned(page, recording)
    expect(page.locator("#scope-picture:not([aria-busy])")).to_be_visible()
    ink = """id => {
        const canvas = document.getElementById(id);
        const {width, height} = canvas;
        const data = canvas.getContext('2d').getImageData(0, 0, width, height).data;
        const halves = [0, 0];
        for (let n = 0; n < width * height; n++) halves[n % width < width / 2 ? 0 : 1] += data[4 * n + 3] > 40;
        return halves.map(one => one / width / height);
    }"""
    hiss, bell = page.evaluate(ink, "spectrogram")
    assert hiss > 2 * bell > 0.01
    assert min(page.evaluate(ink, "wave")) > 0.01


def test_another_domain_changes_the_wording_and_the_first_one_stays_to_compare(page: Page, recording: bytes) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.method) if request.url.endswith("/caption") else None)
    first = captioned(page, recording)
    page.select_option("#domain", "storyteller")
    expect(page.locator("#others li")).to_have_count(1)
    second = sentence(page)
    assert second.removeprefix("Heard: ") in DOMAINS["storyteller"]
    assert first in page.inner_text("#others")
    page.click("#others button")
    assert sentence(page) == first
    assert page.input_value("#domain") == "field-notes"
    assert asked == ["POST", "POST"]


def test_a_file_that_is_no_audio_is_answered_with_the_detail_of_the_problem(page: Page, recording: bytes) -> None:
    choose(page, b"this is a text, not a sound\n" * 50, "notes.wav")
    problem = page.get_by_role("alert").filter(visible=True)
    expect(problem).to_contain_text("not")
    expect(problem).to_contain_text(re.compile(r"Request [0-9a-f]{32}"))
    expect(page.locator("#scope-note")).to_have_text("This browser cannot play or draw this file.")
    assert page.is_disabled("#play")
    assert page.is_hidden("#answer")
    captioned(page, recording)
    assert page.is_hidden("#caption-problem")


def test_playing_from_a_moment_moves_the_position_and_marks_it(page: Page, recording: bytes) -> None:
    captioned(page, recording)
    expect(page.locator("#play")).to_be_enabled()
    page.locator("#segment-list button").nth(1).click()
    expect(page.locator("#play")).to_have_accessible_name("Pause")
    expect(page.locator("#segment-list button").nth(1)).to_have_attribute("aria-current", "true")
    assert page.evaluate("document.getElementById('audio').currentTime") >= 3
    page.click("#play")
    expect(page.locator("#play")).to_have_accessible_name("Play")
    box = page.locator("#scope-picture").bounding_box()
    assert box is not None
    page.click("#scope-picture", position={"x": box["width"] / 8, "y": 20})
    assert page.evaluate("document.getElementById('audio').currentTime") == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(("kind", "written_by"), [("vtt", vtt), ("srt", srt)])
def test_saved_subtitles_are_those_that_the_service_writes(
    page: Page, kind: str, written_by: Callable[[list[Segment]], str]
) -> None:
    captions = ["Rain & <wind>.", "A bell\r\n\n rings --> {\\an8}.", " "]
    segments = [
        Segment(start, start + 61.5, caption) for start, caption in zip((0.0, 2.305, 3600.0), captions, strict=True)
    ]
    sent = [{"start": one.start, "end": one.end, "caption": one.caption} for one in segments]
    text = page.evaluate("([kind, sent]) => import('/static/subtitles.js').then(all => all[kind](sent))", [kind, sent])
    assert text == written_by(segments)


def test_subtitles_are_saved_under_the_name_of_the_recording(page: Page, recording: bytes) -> None:
    captioned(page, recording, "north.field.wav")
    with page.expect_download() as saving:
        page.click("#save-vtt")
    assert saving.value.suggested_filename == "north.field.vtt"
    assert re.match(
        r"WEBVTT\n\n00:00:00.000 --> 00:00:0[34].\d{3}\nHeard: ", saving.value.path().read_text(encoding="utf-8")
    )


def test_the_curl_line_is_copied_and_quotes_what_a_shell_would_take_apart(page: Page, recording: bytes) -> None:
    captioned(page, recording, "it's; rain.wav")
    page.click("#copy-curl")
    expect(page.locator("#copy-curl")).to_have_text("Copied")
    line = page.evaluate("navigator.clipboard.readText()")
    assert line == page.inner_text("#curl")
    assert "-F 'file=@\"it'\\''s; rain.wav\"' -F domain=field-notes" in line
    assert line.endswith(f"{page.url}caption")


def test_a_recording_from_the_microphone_is_captioned_and_can_be_saved(page: Page) -> None:
    page.click("#record")
    expect(page.locator("#record-stop")).to_be_focused()
    expect(page.locator("#recording-time")).to_have_text("0:01")
    page.click("#record-stop")
    expect(page.locator("#result")).to_be_visible()
    with page.expect_download() as saving:
        page.click("#save-wav")
    saved = saving.value.path().read_bytes()
    assert saved[:4] == b"RIFF"
    assert len(saved) == int.from_bytes(saved[4:8], "little") + 8
    assert any(saved[44:])


def test_a_caption_under_way_can_be_cancelled(page: Page, recording: bytes) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/caption", hold)
    choose(page, recording)
    expect(page.locator("#busy-text")).to_have_text("Listening…")
    page.click("#cancel")
    expect(page.locator("#answer")).to_be_hidden()
    assert page.is_hidden("#caption-problem")
    page.unroute("**/caption", hold)
    captioned(page, recording)


def test_without_a_domain_the_page_asks_for_one_and_then_captions(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory, recording: bytes
) -> None:
    with page_service(tmp_path_factory.mktemp("jobs"), domains=()) as url, visit(browser, url) as page:
        choose(page, recording)
        expect(page.locator("#no-domain")).to_be_visible()
        page.click("#no-domain a")
        page.fill("#new-name", "mine")
        page.fill("#lines", "Rain falls on my roof.\nMy bell rings.\n")
        page.click("#register-go")
        expect(page.locator("#panel-title")).to_have_text("mine")
        page.click("nav a[href='#caption']")
        expect(page.locator("#sentence")).to_have_text("Heard: My bell rings.")
        assert page.is_hidden("#no-domain")


def test_the_status_says_what_is_missing_and_that_the_service_is_gone(browser: Browser, url: str) -> None:
    with visit(browser, url) as page:
        problem = {"detail": "not ready: the bundle could not be loaded: no weights"}
        page.route("**/readyz", lambda route: route.fulfill(status=503, json=problem))
        page.reload()
        expect(page.get_by_role("status").first).to_have_text("Not readythe bundle could not be loaded: no weights")
        page.unroute("**/readyz")
        expect(page.locator("#status")).to_have_attribute("data-state", "ready")
        page.route("**/readyz", lambda route: route.abort())
        page.reload()
        expect(page.locator("#status-detail")).to_have_text("the service cannot be reached")
