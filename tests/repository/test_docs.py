"""The documents beside the README: commands and snippets run, links lead somewhere, variables and files exist."""

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import typer
from typer.testing import CliRunner

from cli.app import app
from service.settings import known_variables
from tests.api.live import live
from tests.memory_store import MemoryStore
from tests.repository.documents import ADDRESS, CURL, DRCAP, MAKE, PYTHON, ROOT, blocks, commands, commands_of, read
from tests.repository.running import check_curl, run

DOCUMENTS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))
EVERYTHING = ["README.md", "CONTRIBUTING.md", *DOCUMENTS]
# operations.md is tried in test_operations, against the files it speaks of; the README in test_readme.
TRIED = [name for name in EVERYTHING if name not in ("README.md", "docs/operations.md")]


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The service over fakes."""
    monkeypatch.setenv("DRCAP_JOBS__PATH", str(tmp_path))
    monkeypatch.chdir(ROOT)
    with live(MemoryStore()) as url:
        yield url


def test_every_snippet_of_the_quickstart_runs_in_order_and_shows_something(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, object] = {"__name__": "__main__"}
    text = read("docs/quickstart.md")
    snippets = blocks(text, "python")
    assert len(snippets) == text.count("```python")
    for snippet in snippets:
        exec(compile(snippet.replace(ADDRESS, url), "docs/quickstart.md", "exec"), names)  # noqa: S102 - our own
        shown = capsys.readouterr().out.strip()
        assert shown, snippet
    assert shown == "succeeded"


@pytest.mark.parametrize("name", TRIED)
def test_no_command_goes_unchecked(name: str) -> None:
    assert {command.words[0] for command in commands(read(name))} <= {CURL, DRCAP, MAKE, PYTHON}


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_every_curl_command_is_answered_as_the_documents_say(url: str) -> None:
    # docs/api.md first: it registers the domains that the others search.
    for name in sorted(TRIED, key=lambda name: name != "docs/api.md"):
        for command in commands_of(read(name), CURL):
            check_curl(command, url)


@pytest.mark.slow
def test_every_drcap_command_runs(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRCAP_SERVER__PORT", str(httpx.URL(url).port))
    tried = {command.words: command for name in TRIED for command in commands_of(read(name), DRCAP)}
    for words, command in tried.items():
        # In this process, which has imported everything already. test_readme runs the command as a process.
        done = CliRunner().invoke(app, [word.replace("/tmp/", f"{tmp_path}/") for word in words[1:]])  # noqa: S108
        assert done.exit_code == 0, (command.line, done.output, done.exception)


def test_every_drcap_command_that_is_only_shown_has_the_options_that_it_shows() -> None:
    shown = [
        line.split("#")[0].split()
        for name in TRIED
        for line in re.findall(r"^ {4}(?:.*[ |/])?drcap (\w.*)$", read(name), re.MULTILINE)
    ]
    assert {words[0] for words in shown} >= {"caption", "train", "evaluate", "bundle"}
    for words in shown:
        command, groups = typer.main.get_command(app), list(words)
        while groups and groups[0] in getattr(command, "commands", {}):
            command = command.commands[groups.pop(0)]  # type: ignore[attr-defined]
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in groups if word.startswith("--")} <= options, words


@pytest.mark.slow
@pytest.mark.parametrize("name", TRIED)
def test_every_module_and_every_target_exists(name: str) -> None:
    for command in commands_of(read(name), PYTHON):
        assert command.words[1] == "-m"
        assert command.words[-1] == "--help"
        done = run([sys.executable, *command.words[1:]])
        assert done.returncode == 0, done.stderr
    for command in commands_of(read(name), MAKE):
        assert re.search(rf"^{command.words[1]}:", read("Makefile"), re.MULTILINE), command.line


@pytest.mark.parametrize("name", EVERYTHING)
def test_every_link_to_a_file_and_every_variable_exists(name: str) -> None:
    text = read(name)
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", text)
    assert [target for target in targets if not ((ROOT / name).parent / target).exists()] == []
    # A name that ends in an underscore stands for all variables that begin so.
    variables = {variable for variable in re.findall(r"\bDRCAP_[A-Z_]+\b", text) if not variable.endswith("_")}
    composed = set(re.findall(r"\$\{(DRCAP_[A-Z_]+)", read("docker-compose.yml")))
    assert variables - set(known_variables()) - composed - {"DRCAP_TEST_QDRANT_URL"} == set()


@pytest.mark.parametrize("name", EVERYTHING)
def test_every_link_to_a_heading_leads_to_one(name: str) -> None:
    for target, heading in re.findall(r"\]\((?!https?:)([^)#]*)#([\w-]+)\)", read(name)):
        path = (ROOT / name).parent / target if target else ROOT / name
        headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert heading in {re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in headings}, target


def test_every_page_is_reached_from_the_readme() -> None:
    assert [name for name in [*DOCUMENTS, "CONTRIBUTING.md"] if name not in read("README.md")] == []


def test_every_file_that_the_architecture_names_exists() -> None:
    named = re.findall(r"`([\w.-]+/[\w./-]*)`", read("docs/architecture.md"))
    assert len(named) > 50
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_map_of_the_architecture_has_every_package_and_no_other_folder() -> None:
    (tree, *_) = (block for block in blocks(read("docs/architecture.md"), "text") if block.startswith("cli/"))
    folders: list[str] = []
    for line in tree.splitlines():
        indent, name = re.match(r"( *)(\S+)/ ", line).groups()  # type: ignore[union-attr]
        above = next((one for one in reversed(folders) if one.count("/") == len(indent) // 2), "") if indent else ""
        folders.append(f"{above}{name}/")
    assert [folder for folder in folders if not (ROOT / folder).is_dir()] == []
    packages = {
        f"{path.parent.relative_to(ROOT).as_posix()}/"
        for path in ROOT.glob("[a-z]*/**/__init__.py")
        if path.relative_to(ROOT).parts[0] not in ("tests", "build")
    }
    assert packages - set(folders) == set()
