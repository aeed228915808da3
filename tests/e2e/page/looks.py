"""Whether a state of the page fits its screen and can be used by everybody."""

from importlib.resources import files
from pathlib import Path

from playwright.sync_api import Page

from tests.e2e.page.browser import overflow

_SERIOUS = ("serious", "critical")


def is_well(page: Page, picture: Path) -> None:
    """Take a screenshot; nothing is wider than the window, and axe-core finds nothing serious."""
    page.screenshot(path=picture, full_page=page.locator("dialog[open]").count() == 0)
    assert picture.stat().st_size > 0
    assert overflow(page) <= 0, picture.stem
    assert _serious(page) == [], picture.stem


def _serious(page: Page) -> list[str]:
    """What axe-core finds serious or critical."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
    violations = page.evaluate("axe.run().then(found => found.violations)")
    return [f"{one['id']}: {one['nodes'][0]['html']}" for one in violations if one["impact"] in _SERIOUS]
