"""docs/settings.md is what ``make settings`` writes."""

import re
from pathlib import Path

from service.settings import known_variables
from service.settings_page import settings_page

PAGE = Path(__file__).resolve().parents[2] / "docs" / "settings.md"


def test_the_page_of_settings_is_generated_from_their_classes() -> None:
    assert PAGE.read_text(encoding="utf-8") == settings_page()


def test_the_page_has_every_setting_once_with_a_default_and_a_sentence() -> None:
    rows = re.findall(r"^\| `(DRCAP_\w+)` \| (?:not set|`[^`]+`) \| [A-Z].*\. \|$", settings_page(), re.MULTILINE)
    assert rows
    assert sorted(rows) == sorted(known_variables())
