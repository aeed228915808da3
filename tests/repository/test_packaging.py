"""The files that package the service."""

import re
import tomllib
from pathlib import Path

import yaml  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parents[2]


def test_everything_the_dockerfile_copies_exists_and_passes_the_dockerignore() -> None:
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
    passed = set(re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE))
    copied = [
        source
        for arguments in re.findall(r"^COPY (?!--from)(.+)$", dockerfile, re.MULTILINE)
        for source in arguments.split()[:-1]
    ]
    assert copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert source in passed, source


def test_the_container_is_not_root_and_reports_readiness() -> None:
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
    last_stage = dockerfile.rsplit("\nFROM ", 1)[1]
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", last_stage, re.MULTILINE)
    assert "/readyz" in last_stage
    assert "--require-hashes --requirement weights.txt" in dockerfile


def test_compose_keeps_the_datastore_in_a_volume_that_the_service_writes_to() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    service = compose["services"]["drcap"]
    volume, folder = service["volumes"][0].split(":")
    assert volume in compose["volumes"]
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
    assert f"DRCAP_DATASTORE__PATH={folder}/" in dockerfile
    assert (ROOT / service["build"]["dockerfile"]).is_file()
    assert service["read_only"] is True


def test_every_package_of_the_distribution_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    missing = [
        package
        for package in project["tool"]["setuptools"]["packages"]
        if not (ROOT / package.replace(".", "/")).is_dir()
    ]
    assert not missing


def test_every_direct_dependency_is_pinned_exactly() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = {
        re.split(r"[<>=\[ ;]", requirement)[0].replace("_", "-").lower()
        for requirement in (*project["dependencies"], *extras["dev"], *extras["eval"], *extras["train"])
    }
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.split("==")[0].replace("_", "-").lower() for line in lines if "==" in line}
    assert wanted <= pinned
