"""How the page looks and who can use it: keyboard, narrow screens, both themes, untrusted text, axe-core."""

from pathlib import Path

import httpx
import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytest.importorskip("axe_playwright_python", reason="axe-playwright-python, which has axe-core in it, is not installed")

from playwright.sync_api import Browser, FilePayload, Page, expect

from tests.e2e.page.browser import captioned, choose, overflow, visit
from tests.e2e.page.looks import is_well
from tests.e2e.page.service import rain_then_bell

LONG_WORD = "rain" * 90
HOSTILE = f"<img src=x onerror=alert(1)> <b>Rain</b> falls & {LONG_WORD}"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 375])
def test_every_state_fits_its_screen_and_is_accessible(
    browser: Browser, url: str, recording: bytes, pictures: Path, width: int, scheme: str
) -> None:
    with visit(browser, url, width, scheme) as page:
        expect(page.locator("#domain")).to_be_enabled()
        is_well(page, pictures / f"empty-{scheme}-{width}.png")
        captioned(page, recording)
        page.select_option("#domain", "storyteller")
        expect(page.locator("#others li")).to_have_count(1)
        expect(page.locator("#scope-picture:not([aria-busy])")).to_be_visible()
        is_well(page, pictures / f"caption-{scheme}-{width}.png")
        choose(page, b"no sound", "a-name-" + "that-goes-on-" * 12 + ".wav")
        expect(page.locator("#caption-problem")).to_be_visible()
        is_well(page, pictures / f"problem-{scheme}-{width}.png")
        page.click("nav a[href='#domains']")
        page.fill("#query", "rain at night")
        page.press("#query", "Enter")
        expect(page.locator("#search-list li").first).to_be_visible()
        is_well(page, pictures / f"domains-{scheme}-{width}.png")
        page.click("#delete")
        is_well(page, pictures / f"delete-{scheme}-{width}.png")
        page.keyboard.press("Escape")
        page.click("#new-domain")
        is_well(page, pictures / f"register-{scheme}-{width}.png")


@pytest.mark.parametrize("width", [1280, 375])
def test_captions_are_text_and_stay_in_their_place_however_long_and_hostile(
    browser: Browser, url: str, recording: bytes, pictures: Path, width: int
) -> None:
    captions = [HOSTILE, "A bell rings " + HOSTILE]
    name = "h" * 64
    httpx.put(f"{url}/domains/{name}", params={"wait": "true"}, json={"captions": captions}).raise_for_status()
    try:
        with visit(browser, url, width) as page:
            expect(page.locator("#domain")).to_be_enabled()
            page.select_option("#domain", name)
            assert HOSTILE in captioned(page, recording)
            assert page.locator("main img, main b").count() == 0
            assert overflow(page) <= 0
            page.click("nav a[href='#domains']")
            page.click(f"[data-name={name}]")
            page.fill("#query", HOSTILE)
            page.press("#query", "Enter")
            expect(page.locator("#search-list li")).to_have_count(2)
            page.screenshot(path=pictures / f"hostile-{width}.png", full_page=True)
            assert page.locator("main img, main b").count() == 0
            assert overflow(page) <= 0
    finally:
        httpx.delete(f"{url}/domains/{name}").raise_for_status()


def test_the_moments_of_a_long_recording_scroll_in_their_own_place(browser: Browser, url: str) -> None:
    with visit(browser, url, 375) as page:
        captioned(page, rain_then_bell(times=15))
        assert page.locator("#segment-list li").count() == 30
        height = page.evaluate("document.documentElement.scrollHeight")
        assert height < 4 * page.evaluate("innerHeight")
        expect(page.locator("#play")).to_be_enabled()
        page.locator("#segment-list button").last.click()
        expect(page.locator("#segment-list button").last).to_be_in_viewport()
        assert page.locator("#segment-list").evaluate("list => list.scrollTop") > 0
        assert overflow(page) <= 0


def tab_to(page: Page, selector: str, most: int = 40) -> None:
    """Press Tab until the element has the focus, which must then be seen."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            break
    else:
        pytest.fail(f"{selector} was not reached with Tab")
    seen = "element => getComputedStyle(element.matches('.hidden-input') ? element.nextElementSibling : element)"
    assert page.locator(selector).first.evaluate(f"element => ({seen})(element).outlineStyle") == "solid", selector


def test_everything_is_done_with_the_keyboard_alone(browser: Browser, url: str, recording: bytes) -> None:
    with visit(browser, url) as page:
        # Listened to from the start: Chromium is told in the background that dialogs are answered here.
        rain = FilePayload(name="rain.wav", mimeType="audio/wav", buffer=recording)
        page.on("filechooser", lambda chooser: chooser.set_files(rain))
        expect(page.locator("#domain")).to_be_enabled()
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        tab_to(page, "#domain")
        tab_to(page, "#file")
        page.keyboard.press("Enter")
        expect(page.locator("#result")).to_be_visible()
        expect(page.locator("#live")).to_contain_text("Caption in the words of field-notes: Heard: ")
        expect(page.locator("#play")).to_be_enabled()
        tab_to(page, "#seek")
        page.keyboard.press("End")
        expect(page.locator("#seek")).to_have_attribute("aria-valuetext", "0:08 of 0:08")
        tab_to(page, "#segment-list button")
        page.keyboard.press("Enter")
        expect(page.locator("#play")).to_have_accessible_name("Pause")
        tab_to(page, "#save-vtt")
        with page.expect_download():
            page.keyboard.press("Enter")
        page.reload()
        tab_to(page, "nav a[href='#domains']")
        page.keyboard.press("Enter")
        tab_to(page, "#query")
        page.keyboard.type("rain")
        page.keyboard.press("Enter")
        expect(page.locator("#search-list li").first).to_be_visible()
        tab_to(page, "#delete")
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_have_accessible_name("Delete field-notes?")
        page.keyboard.press("Escape")
        expect(page.locator("#delete")).to_be_focused()
