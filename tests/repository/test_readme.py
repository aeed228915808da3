"""Every command in the README is run here or checked to exist, so that the README stays true."""

import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from cli.common.service_process import running_service
from cli.demo import print_next_steps
from service.settings import Settings, known_variables
from tests.e2e.fake_service import COMMAND

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTED = "http://127.0.0.1:8000"


@dataclass(frozen=True)
class Command:
    """One line of a ``sh`` block: its words, the variables set in front of them, the status it announces."""

    line: str
    words: tuple[str, ...]
    variables: dict[str, str]
    status: int | None

    @classmethod
    def parse(cls, line: str) -> "Command":
        words = shlex.split(line, comments=True)
        variables = {}
        while words and (assigned := re.match(r"([A-Z_]+)=(.*)", words[0])):
            variables[assigned[1]] = assigned[2]
            words = words[1:]
        announced = re.search(r"# (\d{3})$", line)
        return cls(line, tuple(words), variables, int(announced[1]) if announced else None)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands(program: str) -> list[Command]:
    parsed = (Command.parse(line) for block in blocks("sh") for line in block.splitlines() if line.strip())
    return [command for command in parsed if command.words[0] == program]


MAKE, CURL, DRCAP = commands("make"), commands("curl"), commands(".venv/bin/drcap")
PYTHON, DOCKER = commands(".venv/bin/python"), commands("docker")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The service over fakes, in a process of its own."""
    with running_service(tmp_path_factory.mktemp("service"), COMMAND) as url:
        yield url


def run(words: list[str], url: str = DOCUMENTED) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": str(Path(sys.executable).parent) + ":/usr/local/bin:/usr/bin:/bin",
        "DRCAP_SERVER__PORT": str(httpx.URL(url).port),
        "PYTHONPATH": ":".join(path for path in sys.path if path),
        "COLUMNS": "120",
    }
    return subprocess.run(  # noqa: S603 - commands of our own README
        words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_no_command_of_the_readme_goes_unchecked() -> None:
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.strip()]
    assert lines
    checked = {command.line for command in (*MAKE, *CURL, *DRCAP, *PYTHON, *DOCKER)}
    assert [line for line in lines if line not in checked] == []


@pytest.mark.parametrize("command", MAKE, ids=lambda command: command.line)
def test_every_make_command_names_a_target_and_variables_that_exist(command: Command) -> None:
    targets = [word for word in command.words[1:] if "=" not in word]
    assigned = [word.split("=")[0] for word in command.words[1:] if "=" in word]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    for name in assigned:
        assert re.search(rf"^{name} \?=", makefile, re.MULTILINE)
    assert set(command.variables) <= set(known_variables())
    if shutil.which("make"):
        assert run(["make", "--dry-run", *command.words[1:]]).returncode == 0


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_every_curl_command_is_answered_as_the_readme_says(url: str) -> None:
    # In the order of the README, since later ones use what earlier ones registered.
    for command in CURL:
        words = [word.replace(DOCUMENTED, url) for word in command.words]
        assert any(word.startswith(url) for word in words), command.line
        done = run([*words, "--silent", "--show-error", "--max-time", "60", "--write-out", "\n%{http_code}"])
        assert done.returncode == 0, (command.line, done.stderr)
        body, _, status = done.stdout.rpartition("\n")
        if command.status is None:
            assert int(status) in (200, 201, 202, 204), (command.line, body)
        else:
            assert int(status) == command.status, (command.line, body)
            assert json.loads(body)["status"] == command.status


def test_the_answer_shown_has_the_fields_of_a_real_one(url: str) -> None:
    corpus = {"captions": ["Rain falls.", "A bell rings."]}
    httpx.put(f"{url}/domains/shown", params={"wait": "true"}, json=corpus).raise_for_status()
    recording = (ROOT / "examples" / "audio" / "rain.ogg").read_bytes()
    real = httpx.post(f"{url}/caption", params={"domain": "shown"}, content=recording).raise_for_status().json()
    (shown,) = (json.loads(block) for block in blocks("json"))
    assert list(shown) == list(real)
    assert list(shown["similar_captions"][0]) == list(real["similar_captions"][0])
    assert shown["duration"] == real["duration"]


def test_every_drcap_command_runs(url: str, tmp_path: Path) -> None:
    for command in DRCAP:
        # A folder of its own: what an earlier run left in /tmp may be of other options.
        words = [word.replace("/tmp/", f"{tmp_path}/") for word in command.words[1:]]  # noqa: S108
        words = [sys.executable, "-c", "from cli.app import main; main()", *words]
        done = run(words, url)
        assert done.returncode == 0, (command.line, done.stdout, done.stderr)


@pytest.mark.parametrize("command", PYTHON, ids=lambda command: command.line)
def test_every_module_that_is_run_explains_itself_and_knows_its_options(command: Command) -> None:
    assert command.words[1] == "-m"
    done = run([sys.executable, "-m", command.words[2], "--help"])
    assert done.returncode == 0, done.stderr
    for word in command.words[3:]:
        if word.startswith("--"):
            assert word in done.stdout


@pytest.mark.parametrize("command", DOCKER, ids=lambda command: command.line)
def test_every_file_that_a_docker_command_names_exists(command: Command) -> None:
    if command.words[1] == "compose":
        assert (ROOT / "docker-compose.yml").is_file()
    else:
        assert (ROOT / command.words[command.words.index("-f") + 1]).is_file()


def test_the_settings_table_has_every_setting_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(DRCAP_\w+)` \| `([^`]*)` \|", README, re.MULTILINE))
    assert sorted(rows) == sorted(known_variables())
    defaults = Settings.model_construct()
    for variable, shown in rows.items():
        value: Any = defaults
        for level in variable.removeprefix("DRCAP_").lower().split("__"):
            value = getattr(value, level)
        assert shown == str(value), variable


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
