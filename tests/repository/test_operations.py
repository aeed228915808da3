"""What docs/operations.md tells people to do fits the files it speaks of."""

import re
import shlex
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import typer

from cli.app import app
from service.settings import known_variables
from tests.repository.deployment import COMPOSE, OPERATIONS, ROOT, SERVICES, compose, run, yaml


def documented(program: str) -> list[list[str]]:
    """The commands of the documentation that start with a program, as words."""
    blocks = re.findall(r"^```sh\n(.*?)^```", OPERATIONS, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(r"^    (drcap .*)$", OPERATIONS, re.MULTILINE) + re.findall(r"`(drcap \w+ [^`]*)`", OPERATIONS)
    return [words for line in lines if (words := shlex.split(line))[0] == program]


def interpolated() -> set[str]:
    """The variables that the compose file itself asks for."""
    return set(re.findall(r"\$\{(\w+):", COMPOSE))


def test_the_documented_steps_make_every_secret_that_compose_asks_for() -> None:
    made = set(re.findall(r"(?<!/run/)secrets/([\w.-]+)", OPERATIONS))
    assert made == {Path(source["file"]).name for source in compose()["secrets"].values()} | {"keys"}


def test_every_variable_that_the_documentation_names_is_one() -> None:
    named = set(re.findall(r"\b(?:DRCAP|QDRANT)_\w+", OPERATIONS))
    assert named
    assert named - set(known_variables()) - interpolated() == set()
    assert interpolated() <= named


def test_documented_docker_commands_name_files_services_and_profiles_that_exist() -> None:
    commands = documented("docker")
    assert commands
    for words in commands:
        if words[1] == "compose":
            profiles = [words[i + 1] for i, word in enumerate(words) if word == "--profile"]
            assert set(profiles) <= {"gpu"}
            verb = next(i for i, word in enumerate(words) if word in ("up", "stop", "exec", "cp", "build", "logs"))
            first = words[verb + 1 :][:1] if words[verb] in ("exec", "cp") else words[verb + 1 :]
            named = {word.split(":")[0] for word in first if not word.startswith("-")}
            assert named <= set(SERVICES), words
        elif words[1] == "build":
            assert (ROOT / words[words.index("-f") + 1]).is_file()


def test_documented_drcap_commands_exist_with_their_options() -> None:
    commands = documented("drcap")
    for words in documented("docker"):
        if words[1] == "run":
            commands.append(words[words.index("drcap") :])
    assert {tuple(words[1:3]) for words in commands} >= {("keys", "new"), ("keys", "rm"), ("domains", "export")}
    for words in commands:
        command: Any = typer.main.get_command(app)
        for word in words[1:3]:
            command = command.commands[word]
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words[3:] if word.startswith("--")} <= options, words


def test_the_documented_command_for_a_snapshot_asks_qdrant_with_the_key_that_writes(tmp_path: Path) -> None:
    (words,) = [words for words in documented("docker") if words[2] == "exec"]
    assert words[3:6] == ["drcap", "python", "-c"]
    assert "/run/secrets/qdrant_write_key" in words[6]
    (tmp_path / "qdrant_write_key").write_text("w\n")
    asked: list[tuple[str, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append((self.path, self.headers["api-key"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.timeout = 20
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        script = words[6].replace("/run/secrets", str(tmp_path))
        code = run([sys.executable, "-c", script.replace("qdrant:6333", f"127.0.0.1:{server.server_port}")])
        thread.join()
    assert code == 0
    assert asked == [("/snapshots", "w")]


def test_the_documented_override_fits_the_compose_file() -> None:
    (override,) = (yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```", OPERATIONS, re.M | re.S))
    assert set(override["services"]) <= set(SERVICES)
    for one in override["services"].values():
        assert set(one["environment"]) <= set(known_variables())


def test_every_heading_that_the_documentation_links_to_exists() -> None:
    headings = {line.lower().replace(" ", "-") for line in re.findall(r"^## (.*)$", OPERATIONS, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([\w-]+)\)", OPERATIONS)) == headings
