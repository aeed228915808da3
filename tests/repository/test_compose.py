"""The compose file: what can be known of it without a container engine."""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.repository.deployment import (
    BASH,
    COMPOSE,
    OURS,
    ROOT,
    SERVICES,
    answering,
    compose,
    instructions,
    run,
    service,
    yaml,
)


def test_the_compose_file_follows_the_specification() -> None:
    specification = pytest.importorskip("compose_spec")
    filled = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", re.sub(r"\$\{\w+:\?[^}]*\}", "/secrets", COMPOSE))
    read = specification.PyCompose.from_json(json.dumps(yaml.safe_load(filled)))
    assert sorted(read.service_names()) == SERVICES


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_can_change_nothing_but_its_volumes(name: str) -> None:
    one = service(name)
    assert one["read_only"] is True
    assert one["cap_drop"] == ["ALL"]
    assert one["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in one
    assert "cap_add" not in one
    mounted = [volume.split(":") for volume in one["volumes"]]
    for source, _, *mode in mounted:
        assert source in compose()["volumes"] or mode == ["ro"], source


@pytest.mark.parametrize("name", SERVICES)
def test_no_container_runs_as_root(name: str) -> None:
    assert int(service(name)["user"].split(":")[0]) > 0


def test_the_user_of_the_service_is_that_of_its_image() -> None:
    assert {service(name)["user"] for name in OURS} == set(instructions("USER"))


@pytest.mark.parametrize("name", SERVICES)
def test_memory_and_processes_are_bounded(name: str) -> None:
    limits = service(name)["deploy"]["resources"]["limits"]
    assert limits["memory"]
    assert limits["pids"] > 0


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_gets_time_to_end(name: str) -> None:
    assert int(service(name)["stop_grace_period"].removesuffix("s")) >= 30


@pytest.mark.parametrize("name", SERVICES)
def test_only_this_machine_reaches_a_port(name: str) -> None:
    for port in service(name).get("ports", []):
        assert port.startswith("127.0.0.1:"), port


@pytest.mark.parametrize("name", [name for name in SERVICES if name not in OURS])
def test_the_version_of_an_image_is_pinned(name: str) -> None:
    assert re.fullmatch(r"[a-z/]+:v?\d+\.\d+\.\d+(-\w+)?", service(name)["image"])


def test_the_server_is_of_the_version_that_the_client_is_made_for() -> None:
    server = re.search(r":v(\d+\.\d+)\.", service("qdrant")["image"])
    client = re.search(r"^qdrant-client==(\d+\.\d+)\.", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert server is not None
    assert client is not None
    assert server[1] == client[1]


def test_the_datastore_is_in_a_network_that_nothing_leaves_and_publishes_no_port() -> None:
    assert service("qdrant")["networks"] == ["data"]
    assert compose()["networks"]["data"] == {"internal": True}
    assert "ports" not in service("qdrant")


@pytest.mark.parametrize("name", SERVICES)
def test_whatever_is_waited_for_can_say_that_it_is_healthy(name: str) -> None:
    for other, how in service(name).get("depends_on", {}).items():
        assert how == {"condition": "service_healthy"}
        assert "healthcheck" in service(other), other


def test_the_service_waits_for_its_datastore() -> None:
    for name in OURS:
        assert "qdrant" in service(name)["depends_on"]


def test_every_secret_must_be_named_and_every_secret_is_used() -> None:
    secrets = compose()["secrets"]
    used = {secret for name in SERVICES for secret in service(name).get("secrets", [])}
    assert used == set(secrets)
    for secret, source in secrets.items():
        assert re.fullmatch(r"\$\{DRCAP_SECRETS:\?[^}]+\}/[\w.-]+", source["file"]), secret


@pytest.mark.parametrize("name", SERVICES)
def test_a_secret_is_read_only_where_it_was_given(name: str) -> None:
    named = re.findall(r"/run/secrets/(\w+)", json.dumps(service(name)))
    if name == "prometheus":
        named += re.findall(r"/run/secrets/(\w+)", (ROOT / "docker" / "prometheus.yml").read_text(encoding="utf-8"))
    assert set(named) == set(service(name).get("secrets", []))


def test_no_secret_stands_in_the_environment() -> None:
    for name in SERVICES:
        for variable, value in service(name).get("environment", {}).items():
            if re.search(r"KEY|PASSWORD|SECRET|TOKEN", variable):
                assert str(value).startswith(("/run/secrets/", "/run/keys/")), variable


def test_the_keys_are_mounted_as_a_folder_for_the_service_alone() -> None:
    mounted = {name: [one for one in service(name)["volumes"] if "/keys" in one] for name in SERVICES}
    keys = ["${DRCAP_SECRETS}/keys:/run/keys:ro"]
    assert mounted == {name: keys if name in OURS else [] for name in SERVICES}
    for name in OURS:
        assert service(name)["environment"]["DRCAP_AUTH__KEYS_FILE"].startswith("/run/keys/")


@pytest.mark.parametrize("name", SERVICES)
def test_every_file_that_is_mounted_exists(name: str) -> None:
    for volume in service(name)["volumes"]:
        source = volume.split(":")[0]
        if source.startswith("."):
            assert (ROOT / source).exists(), source


def test_every_volume_and_network_is_declared() -> None:
    for name in SERVICES:
        assert set(service(name)["networks"]) <= set(compose()["networks"])
    used = {volume.split(":")[0] for name in SERVICES for volume in service(name)["volumes"]}
    assert {source for source in used if not source.startswith((".", "$"))} == set(compose()["volumes"])


def test_the_gpu_is_asked_for_in_a_profile_only_and_all_else_is_as_on_the_cpu() -> None:
    cpu, gpu = service("drcap"), service("drcap-gpu")
    assert gpu["profiles"] == ["gpu"]
    assert "profiles" not in cpu
    (device,) = gpu["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]
    same = set(cpu) - {"image", "build", "deploy", "environment", "networks"}
    assert {key: cpu[key] for key in same} == {key: gpu[key] for key in same}
    assert cpu["environment"].items() <= gpu["environment"].items()


def test_prometheus_reaches_either_under_the_name_it_scrapes() -> None:
    scraped = yaml.safe_load((ROOT / "docker" / "prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
    targets = {target for one in scraped for group in one["static_configs"] for target in group["targets"]}
    assert targets == {
        f"drcap:{service('drcap')['environment']['DRCAP_SERVER__OPS_PORT']}",
        "qdrant:6333",
        "127.0.0.1:9090",
    }
    assert "data" in service("prometheus")["networks"]
    assert "data" in service("drcap")["networks"]
    assert service("drcap-gpu")["networks"]["data"]["aliases"] == ["drcap"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_qdrant_is_healthy_exactly_while_it_says_that_it_is_ready(status: int, healthy: bool) -> None:
    kind, shell, *arguments = service("qdrant")["healthcheck"]["test"]
    assert (kind, shell) == ("CMD", "/bin/bash")
    with answering(status) as (port, asked):
        script = arguments[-1].replace("$$", "$").replace("6333", str(port))
        code = run([BASH, *arguments[:-1], script])
    assert (code == 0) is healthy
    assert asked == ["/readyz"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(
    ("keys", "starts"), [(("w", "r"), True), (("", "r"), False), (("w", ""), False), (("w",), False)]
)
def test_qdrant_starts_with_both_keys_and_never_without(tmp_path: Path, keys: tuple[str, ...], starts: bool) -> None:
    for name, key in zip(("qdrant_write_key", "qdrant_read_key"), keys, strict=False):
        (tmp_path / name).write_text(key)
    stub = tmp_path / "entrypoint.sh"
    stub.write_text(
        f"#!{BASH}\nprintf '%s %s' $QDRANT__SERVICE__API_KEY $QDRANT__SERVICE__READ_ONLY_API_KEY > {tmp_path}/started\n"
    )
    stub.chmod(0o755)
    _, flags, script = service("qdrant")["entrypoint"]
    code = run([BASH, flags, script.replace("$$", "$").replace("/run/secrets", str(tmp_path))], {}, tmp_path)
    assert (code == 0) is starts
    assert (tmp_path / "started").exists() is starts
    if starts:
        assert (tmp_path / "started").read_text() == "w r"
