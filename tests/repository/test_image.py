"""The image: what can be known of it without a container engine."""

import importlib
import json
import os
import shutil
import sys
import tomllib

import pytest

from service.settings import known_variables
from tests.repository.deployment import (
    DOCKERFILE,
    OURS,
    ROOT,
    answering,
    copied,
    instructions,
    packages,
    run,
    service,
    variables,
)


def sent_to_the_builder(path: str) -> bool:
    """Whether .dockerignore lets a file or folder at the root through."""
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert ignored[0] == "*"
    return f"!{path}" in ignored


def test_whatever_the_image_copies_exists_and_reaches_the_builder() -> None:
    assert copied()
    for source in copied():
        assert (ROOT / source).exists(), source
        assert sent_to_the_builder(source), source


def test_whatever_reaches_the_builder_is_copied() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert {line.removeprefix("!") for line in ignored if line.startswith("!")} == set(copied())


def test_the_image_has_every_package_and_every_package_exists() -> None:
    for package in packages():
        assert package.split(".")[0] in copied(), package
        assert (ROOT / package.replace(".", "/")).is_dir(), package


def test_no_folder_with_modules_is_left_out_of_the_packages() -> None:
    roots = {package.split(".")[0] for package in packages()}
    found = {
        ".".join(module.parent.relative_to(ROOT).parts) for root in roots for module in (ROOT / root).rglob("*.py")
    }
    assert found - set(packages()) == set()


def test_the_files_of_the_page_are_package_data() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "static/*" in project["tool"]["setuptools"]["package-data"]["service"]
    assert (ROOT / "service" / "static" / "index.html").is_file()


def test_the_image_starts_a_command_that_the_project_installs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (entry,) = instructions("ENTRYPOINT")
    module, _, function = project["project"]["scripts"][json.loads(entry)[0]].partition(":")
    assert callable(getattr(importlib.import_module(module), function))
    # The last one: the health check has a CMD of its own.
    (arguments,) = json.loads(instructions("CMD")[-1])
    started = [sys.executable, "-c", f"from {module} import {function}; {function}()", arguments, "--help"]
    environment = {**os.environ, **{k: v for k, v in variables().items() if k.startswith("DRCAP_")}}
    assert run(started, environment) == 0


def test_the_image_does_not_run_as_root_and_its_user_owns_the_one_folder_it_writes() -> None:
    assert instructions("USER") == ["10001:10001"]
    (volume,) = instructions("VOLUME")
    written = [value for name, value in variables().items() if name.endswith(("__PATH", "_CACHE"))]
    assert written
    for folder in written:
        assert folder.startswith(f"{volume}/"), folder
    assert f"install -d -o drcap -g drcap {volume}" in DOCKERFILE


def test_the_variables_of_the_image_and_of_compose_are_settings() -> None:
    named = {name for name in variables() if name.startswith("DRCAP_")}
    named |= {name for one in OURS for name in service(one)["environment"] if name.startswith("DRCAP_")}
    assert named - set(known_variables()) == set()


def test_every_build_argument_that_compose_sets_is_one_of_the_dockerfile() -> None:
    known = {line.split("=")[0] for line in instructions("ARG")}
    for name in OURS:
        build = service(name)["build"]
        assert (ROOT / build["context"] / build["dockerfile"]).is_file()
        assert set(build.get("args", {})) <= known


def test_the_extras_that_are_built_in_exist_and_those_for_a_gpu_come_with_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (default,) = [line.partition("=")[2] for line in instructions("ARG") if line.startswith("EXTRAS=")]
    on_gpu = service("drcap-gpu")["build"]["args"]["EXTRAS"]
    for extras in (default, on_gpu):
        assert set(extras.split(",")) <= set(project["project"]["optional-dependencies"])
    assert set(on_gpu.split(",")) == {*default.split(","), "gpu"}


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_the_image_is_healthy_exactly_while_the_service_is_ready(status: int, healthy: bool) -> None:
    (check,) = instructions("HEALTHCHECK")
    words = json.loads(check.partition(" CMD ")[2])
    assert words[0] == "python"
    with answering(status) as (port, asked):
        code = run([sys.executable, *words[1:]], {"DRCAP_SERVER__PORT": str(port)})
    assert (code == 0) is healthy
    assert asked == ["/readyz"]


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="hadolint is not installed")
def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    assert run([str(shutil.which("hadolint")), "docker/Dockerfile"]) == 0
