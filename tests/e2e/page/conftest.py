"""Fixtures of the page's tests; without Playwright or a Chromium they are skipped, with the reason."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.page.service import page_service, rain_then_bell

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="package")
def browser() -> Iterator["Browser"]:
    """One Chromium for all of them; closed with the package, since its loop would be in the way of async tests."""
    from tests.e2e.page.browser import chromium

    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service with the two domains."""
    with page_service(tmp_path_factory.mktemp("jobs")) as url:
        yield url


@pytest.fixture
def page(browser: "Browser", url: str) -> Iterator["Page"]:
    """The page on a wide screen, in the light."""
    from tests.e2e.page.browser import visit

    with visit(browser, url) as page:
        yield page


@pytest.fixture(scope="session")
def recording() -> bytes:
    """Four seconds of rain, then four of a bell."""
    return rain_then_bell()


@pytest.fixture(scope="package")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the screenshots go; PAGE_SCREENSHOTS names a folder to keep them in."""
    kept = os.environ.get("PAGE_SCREENSHOTS")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
