"""Every command of the README is run here, so that the README stays true."""

import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from cli.common.service_process import running_service
from cli.demo import print_next_steps
from tests.e2e.fake_service import COMMAND
from tests.repository.documents import (
    ADDRESS,
    CURL,
    DRCAP,
    MAKE,
    ROOT,
    DocumentedCommand,
    blocks,
    commands,
    commands_of,
    read,
)
from tests.repository.running import check_curl, check_drcap, run

README = read("README.md")
# A screen or two; the rest belongs into docs/.
LINES = 180
PICTURE_BYTES = 200_000


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The service over fakes, in a process of its own."""
    with running_service(tmp_path_factory.mktemp("service"), COMMAND) as url:
        yield url


def test_no_command_of_the_readme_goes_unchecked() -> None:
    assert commands(README)
    assert {command.words[0] for command in commands(README)} == {MAKE, CURL, DRCAP}


@pytest.mark.parametrize("command", commands_of(README, MAKE), ids=lambda command: command.line)
def test_every_make_command_names_a_target_and_variables_that_exist(command: DocumentedCommand) -> None:
    makefile = read("Makefile")
    for word in command.words[1:]:
        name, assigned, _ = word.partition("=")
        assert re.search(rf"^{name} \?=" if assigned else rf"^{name}:", makefile, re.MULTILINE), word
    if shutil.which("make"):
        assert run(["make", "--dry-run", *command.words[1:]]).returncode == 0


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_every_curl_command_is_answered_as_the_readme_says(url: str) -> None:
    # In the order of the README, since later ones use the domains of earlier ones.
    for command in commands_of(README, CURL):
        check_curl(command, url)


def test_every_drcap_command_runs(url: str, tmp_path: Path) -> None:
    for command in commands_of(README, DRCAP):
        check_drcap(command, url, tmp_path)


def test_the_python_example_shows_a_caption(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    body = (ROOT / "examples" / "domains" / "field-notes.txt").read_bytes()
    put = f"{url}/domains/field-notes?wait=true"
    httpx.put(put, content=body, headers={"Content-Type": "text/plain"}).raise_for_status()
    (example,) = blocks(README, "python")
    exec(compile(example.replace(ADDRESS, url), "README.md", "exec"), {"__name__": "__main__"})  # noqa: S102 - our own
    assert capsys.readouterr().out.strip()


def test_the_answer_shown_has_the_fields_of_a_real_one(url: str) -> None:
    corpus = {"captions": ["Rain falls.", "A bell rings."]}
    httpx.put(f"{url}/domains/shown", params={"wait": "true"}, json=corpus).raise_for_status()
    recording = (ROOT / "examples" / "audio" / "rain.ogg").read_bytes()
    real = httpx.post(f"{url}/caption", params={"domain": "shown"}, content=recording).raise_for_status().json()
    (shown,) = (json.loads(block) for block in blocks(README, "json"))
    assert list(shown) == list(real)
    assert list(shown["similar_captions"][0]) == list(real["similar_captions"][0])
    assert shown["duration"] == real["duration"]


def test_every_file_that_the_readme_names_exists() -> None:
    named = re.findall(r"`((?:examples|docker|models|service)/[\w./-]+|\w+\.txt)`", README)
    named += re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_commands_that_the_demo_ends_with_stand_in_the_readme() -> None:
    said = io.StringIO()
    print_next_steps(Console(file=said, width=500))
    lines = [line.strip() for line in said.getvalue().splitlines() if line.startswith("  ")]
    assert [line.split()[0] for line in lines] == ["make", "curl", "curl"]
    for line in lines:
        assert line in README


def test_the_readme_is_short_and_its_picture_small() -> None:
    assert len(README.splitlines()) <= LINES
    assert (ROOT / "docs" / "images" / "page.png").stat().st_size < PICTURE_BYTES
