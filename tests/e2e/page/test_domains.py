"""Domains on the page: registered with progress, searched, rolled back, deleted, and kept from who may not."""

import re
from collections.abc import Callable

import httpx
import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from playwright.sync_api import Page, Route, expect

from tests.e2e.page.browser import captioned
from tests.e2e.page.service import LARGE_CORPUS, large_corpus

LIKE_PROGRESS = re.compile(r"^[\d,]+ captions so far.* · [1-9]\d?%$")


@pytest.fixture
def shelf(page: Page) -> Page:
    """The view of the domains."""
    page.click("nav a[href='#domains']")
    expect(page.locator("#domains-title")).to_be_focused()
    return page


def give_corpus(page: Page, data: bytes, name: str, media_type: str = "text/plain") -> None:
    page.set_input_files("#corpus", {"name": name, "mimeType": media_type, "buffer": data})


def names(url: str) -> list[str]:
    return [one["name"] for one in httpx.get(f"{url}/domains").json()["domains"]]


def delete(url: str, name: str) -> None:
    assert httpx.delete(f"{url}/domains/{name}").status_code == 204


def test_a_corpus_is_registered_with_progress_and_captions_at_once(shelf: Page, url: str, recording: bytes) -> None:
    shelf.click("#new-domain")
    give_corpus(shelf, large_corpus(), "Kettle songs.txt")
    expect(shelf.locator("#new-name")).to_have_value("kettle-songs")
    shelf.click("#register-go")
    expect(shelf.locator("#job-title")).to_have_text("Registering kettle-songs")
    # A share of the whole between nothing and everything, in words and as the bar's value.
    expect(shelf.locator("#job-text")).to_have_text(LIKE_PROGRESS)
    assert 0 < float(shelf.get_attribute("#job-bar", "value") or 0) < 1
    expect(shelf.locator("#panel-title")).to_have_text("kettle-songs")
    assert f"{LARGE_CORPUS:,}" in shelf.inner_text("#domain-facts")
    shelf.click("nav a[href='#caption']")
    shelf.select_option("#domain", "kettle-songs")
    assert "kettle" in captioned(shelf, recording)
    delete(url, "kettle-songs")


def test_a_registration_that_is_cancelled_leaves_no_domain(shelf: Page, url: str) -> None:
    shelf.click("#new-domain")
    give_corpus(shelf, large_corpus(), "dropped.txt")
    shelf.click("#register-go")
    expect(shelf.locator("#job-text")).to_have_text(LIKE_PROGRESS)
    shelf.click("#job-cancel")
    expect(shelf.locator("#register")).to_be_visible()
    assert shelf.is_hidden("#domains-problem")
    assert "dropped" not in names(url)


def test_a_corpus_that_cannot_be_read_is_answered_with_what_is_wrong(shelf: Page, url: str) -> None:
    shelf.click("#new-domain")
    give_corpus(shelf, b'{"captions": 3}', "wrong.json", "application/json")
    shelf.click("#register-go")
    expect(shelf.locator("#domains-problem")).to_contain_text("captions")
    assert shelf.is_visible("#register")
    assert shelf.input_value("#new-name") == "wrong"
    shelf.fill("#new-name", "No such name!")
    shelf.click("#register-go")
    expect(shelf.locator("#domains-problem")).to_contain_text("No such name!")


def test_a_registration_without_captions_is_not_sent(shelf: Page) -> None:
    shelf.click("#new-domain")
    shelf.fill("#new-name", "nothing")
    shelf.click("#register-go")
    expect(shelf.locator("#domains-problem")).to_contain_text("Choose a file with captions")
    expect(shelf.locator("#corpus")).to_be_focused()


def test_a_domain_is_searched(shelf: Page) -> None:
    shelf.click("[data-name=storyteller]")
    expect(shelf.locator("#panel-title")).to_be_focused()
    shelf.fill("#query", "the old bell counts the hours")
    shelf.press("#query", "Enter")
    expect(shelf.locator("#search-list .bar-text").first).to_contain_text("The old bell counts the hours")
    shares = [float(text) for text in shelf.locator("#search-list .bar-figure").all_inner_texts()]
    assert shares == sorted(shares, reverse=True)
    shelf.click("[data-name=field-notes]")
    expect(shelf.locator("#search-list li")).to_have_count(0)


def test_a_new_version_can_be_rolled_back_and_a_domain_deleted_after_a_question(shelf: Page, url: str) -> None:
    httpx.put(f"{url}/domains/brief", params={"wait": "true"}, json={"captions": ["One bell."]}).raise_for_status()
    shelf.reload()
    shelf.click("[data-name=brief]")
    shelf.click("#replace")
    assert not shelf.is_editable("#new-name")
    shelf.fill("#lines", "Two bells ring.\nThree bells ring.\n")
    shelf.click("#register-go")
    expect(shelf.locator("[data-name=brief]")).to_contain_text("2 captions")
    shelf.click("#roll-back")
    shelf.click("#confirm-go")
    expect(shelf.locator("[data-name=brief]")).to_contain_text("1 caption")
    shelf.click("#delete")
    expect(shelf.locator("#confirm-title")).to_have_text("Delete brief?")
    shelf.keyboard.press("Escape")
    assert "brief" in names(url)
    shelf.click("#delete")
    shelf.click("#confirm-go")
    expect(shelf.locator("[data-name=brief]")).to_have_count(0)
    assert "brief" not in names(url)


def guarded(keys: set[str], status: int, detail: str) -> Callable[[Route], None]:
    """A proxy that lets only those keys pass."""

    def answer(route: Route) -> None:
        if route.request.headers.get("authorization", "") in {f"Bearer {key}" for key in keys}:
            route.continue_()
        else:
            route.fulfill(status=status, json={"detail": detail}, headers={"content-type": "application/problem+json"})

    return answer


def test_a_key_is_asked_for_kept_in_the_tab_and_sent(page: Page, recording: bytes) -> None:
    for pattern in ("**/domains", "**/caption"):
        page.route(pattern, guarded({"right"}, 401, "this service wants a key"))
    page.reload()
    expect(page.locator("#key-why")).to_have_text("this service wants a key")
    page.fill("#key", "wrong")
    page.keyboard.press("Enter")
    expect(page.locator("#key-dialog")).to_be_visible()
    page.fill("#key", "right")
    page.keyboard.press("Enter")
    expect(page.locator("#domain")).to_be_enabled()
    captioned(page, recording)
    assert "Bearer $DRCAP_KEY" in page.inner_text("#curl")
    assert "right" not in page.content()
    assert page.evaluate("[localStorage.length, document.cookie, {...sessionStorage}]") == [
        0,
        "",
        {"drcap.key": "right"},
    ]


def test_a_key_that_may_not_change_domains_turns_the_buttons_off_and_says_why(shelf: Page, url: str) -> None:
    shelf.route("**/domains/*", guarded({"admin"}, 403, "this key may caption only"))
    shelf.click("[data-name=storyteller]")
    shelf.click("#delete")
    shelf.click("#confirm-go")
    expect(shelf.locator("#read-only")).to_contain_text("this key may caption only")
    for button in ("#replace", "#roll-back", "#delete"):
        expect(shelf.locator(button)).to_be_disabled()
        assert shelf.get_attribute(button, "aria-describedby") == "read-only"
    assert "storyteller" in names(url)
    shelf.evaluate("sessionStorage.setItem('drcap.key', 'other')")
    shelf.reload()
    expect(shelf.locator("#delete")).to_be_enabled()
