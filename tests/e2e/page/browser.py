"""Chromium for the tests of the page: found or the tests are skipped, watched for anything it complains about."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Response, expect, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_PATIENCE_MS = 30_000
# A microphone that beeps, and that nobody has to allow.
_FLAGS = ("--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium of this machine; skips where there is none."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        pytest.skip(f"no browser on this machine: none of {', '.join(_NAMES)}")
    expect.set_options(timeout=_PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(_FLAGS))
        yield browser
        browser.close()


@contextmanager
def visit(browser: Browser, url: str, width: int = 1280, scheme: str = "light") -> Iterator[Page]:
    """The page, opened in a new profile and ready to be used.

    Fails at the end for anything on the console but the answers of 4xx and 5xx that Chromium notes there, for
    an exception, and for a request to another host.
    """
    dark = scheme == "dark"
    context: BrowserContext = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light", accept_downloads=True
    )
    context.grant_permissions(["microphone", "clipboard-read", "clipboard-write"], origin=url)
    complaints: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith("Failed to load resource"):
            complaints.append(message.text)

    def answered(response: Response) -> None:
        if not response.url.startswith((url, "blob:", "data:")):
            complaints.append(f"a request to {response.url}")

    page = context.new_page()
    page.set_default_timeout(_PATIENCE_MS)
    page.on("console", heard)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("response", answered)
    try:
        page.goto(url)
        page.wait_for_selector("#status[data-state=ready]")
        yield page
    finally:
        context.close()
    assert complaints == []


def overflow(page: Page) -> int:
    """By how many pixels the document is wider than the window."""
    width: int = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return width


def choose(page: Page, data: bytes, name: str = "rain-then-bell.wav") -> None:
    """Give the page a recording."""
    page.set_input_files("#file", {"name": name, "mimeType": "audio/wav", "buffer": data})


def captioned(page: Page, data: bytes, name: str = "rain-then-bell.wav") -> str:
    """Give the page a recording and wait for its caption."""
    choose(page, data, name)
    page.wait_for_selector("#result:visible")
    return sentence(page)


def sentence(page: Page) -> str:
    """The caption that is shown."""
    return page.inner_text("#sentence")
