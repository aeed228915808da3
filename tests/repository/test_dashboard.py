"""Alerts and dashboard ask for nothing that the service does not expose."""

import importlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.monitoring import labels
from tests.touched_metrics import samples, touched

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
GRAFANA = DOCKER / "grafana"

# What PromQL says besides names of metrics.
_WORDS = {"sum", "by", "rate", "increase", "histogram_quantile", "deriv", "time", "vector", "min", "max", "and", "or"}
_WORDS |= {"changes", "on", "label_values"}

yaml = importlib.import_module("yaml")  # without stubs


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def dashboard() -> Any:
    return json.loads((GRAFANA / "dashboards" / "drcap.json").read_text(encoding="utf-8"))


def panels() -> Iterator[Any]:
    for panel in dashboard()["panels"]:
        if panel["type"] != "row":
            yield panel


def alert_rules() -> list[Any]:
    return [rule for group in load(DOCKER / "alerts.yml")["groups"] for rule in group["rules"]]


def alert_expressions() -> list[str]:
    return [rule["expr"] for rule in alert_rules()]


def dashboard_expressions() -> list[str]:
    asked = [target["expr"] for panel in panels() for target in panel["targets"]]
    asked += [one["expr"] for one in dashboard()["annotations"]["list"]]
    return asked + [one["definition"] for one in dashboard()["templating"]["list"]]


def names(expression: str) -> set[str]:
    """The metrics that an expression asks for."""
    bare = re.sub(r"\bby\s*\([^)]*\)|\{[^}]*\}|\[[^\]]*\]|, *instance\)", " ", expression)
    return set(re.findall(r"\b[a-z][a-z_:]*\b", bare)) - _WORDS


def selectors(expression: str) -> list[tuple[str, str, str]]:
    """Each ``metric{label="value"}`` of an expression, alternatives of a pattern one by one."""
    found = []
    for metric, inside in re.findall(r"\b([a-z_]+)\{([^}]*)\}", expression):
        for label, values in re.findall(r'(\w+)[!=][=~]?"([^"]*)"', inside):
            found += [(metric, label, value) for value in values.split("|")]
    return found


def exposed() -> set[str]:
    # `up` is Prometheus' own.
    return {name for name, _ in samples(touched())} | {"up"}


@pytest.mark.parametrize("expression", [*alert_expressions(), *dashboard_expressions()])
def test_every_metric_that_is_asked_for_is_exposed(expression: str) -> None:
    assert names(expression)
    assert names(expression) - exposed() == set()


def test_a_metric_that_is_not_exposed_would_be_noticed() -> None:
    assert names('sum by (le) (rate(drcap_nonsense_total{a="b"}[5m]))') - exposed() == {"drcap_nonsense_total"}


def test_every_metric_of_the_service_is_shown_on_the_dashboard() -> None:
    shown = set().union(*(names(expression) for expression in dashboard_expressions()))
    bases = {re.sub(r"_(total|bucket|sum|count|info)$", "", name) for name in shown}
    own = {name for name in exposed() if name.startswith("drcap_") and not name.endswith("_created")}
    assert {name for name in own if re.sub(r"_(total|bucket|sum|count|info)$", "", name) not in bases} == set()


def test_every_label_and_value_that_is_asked_for_exists() -> None:
    had: dict[str, set[str]] = {}
    for name, pairs in samples(touched()):
        had.setdefault(name, set()).update(label for label, _ in pairs)
    known = {"outcome": set(labels.OUTCOMES), "reason": set(labels.REASONS)}
    for expression in (*alert_expressions(), *dashboard_expressions()):
        for metric, label, value in selectors(expression):
            if label in ("job", "instance"):  # which Prometheus adds
                continue
            assert label in had[metric], expression
            if label in known:
                assert value in known[label], expression


def test_the_stages_that_are_asked_for_are_stages_of_a_caption() -> None:
    asked = {
        value
        for expression in (*alert_expressions(), *dashboard_expressions())
        for _, label, value in selectors(expression)
        if label == "stage"
    }
    paths = [*(ROOT / "service" / "routes").glob("*.py"), *(ROOT / "service" / "captioning").glob("*.py")]
    paths.append(ROOT / "models" / "conditioning" / "method.py")
    sources = "".join(path.read_text(encoding="utf-8") for path in paths)
    # The stopwatch itself adds the total.
    timed = set(re.findall(r'\.(?:stage\(|seconds\[)"(\w+)"', sources))
    assert asked
    assert asked <= timed


def test_the_service_is_scraped_under_the_job_that_the_rules_name() -> None:
    jobs = {one["job_name"] for one in load(DOCKER / "prometheus.yml")["scrape_configs"]}
    asked = {
        value
        for expression in (*alert_expressions(), *dashboard_expressions())
        for _, label, value in selectors(expression)
        if label == "job"
    }
    assert asked
    assert asked <= jobs


def test_every_alert_says_how_bad_it_is_and_what_has_happened() -> None:
    assert alert_rules()
    for rule in alert_rules():
        assert rule["labels"]["severity"] in ("warning", "critical"), rule["alert"]
        assert rule["annotations"]["summary"], rule["alert"]


def test_every_alert_has_a_test() -> None:
    tested = {
        case["alertname"] for test in load(DOCKER / "alerts_test.yml")["tests"] for case in test["alert_rule_test"]
    }
    assert tested == {rule["alert"] for rule in alert_rules()}


def test_the_documentation_explains_every_alert() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(Drcap\w+)` \|", text, re.MULTILINE) == [rule["alert"] for rule in alert_rules()]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_the_rules_fire_when_they_should_and_not_else() -> None:
    done = subprocess.run(  # noqa: S603 - our own rules
        [str(shutil.which("promtool")), "test", "rules", "alerts_test.yml"],
        cwd=DOCKER,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_panels_lie_side_by_side_and_have_ids_of_their_own() -> None:
    taken: set[tuple[int, int]] = set()
    everything = dashboard()["panels"]
    for panel in everything:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in everything}) == len(everything)


def test_the_dashboard_has_its_rows_in_order() -> None:
    rows = [panel["title"] for panel in dashboard()["panels"] if panel["type"] == "row"]
    assert rows == ["Traffic", "Latency by stage", "Queues and batches", "Datastore", "Registration", "Process"]


def test_the_dashboard_asks_the_datasource_that_is_provisioned_where_compose_runs_it() -> None:
    (source,) = load(GRAFANA / "provisioning" / "datasources" / "prometheus.yml")["datasources"]
    asked = {panel["datasource"]["uid"] for panel in panels()}
    asked |= {target["datasource"]["uid"] for panel in panels() for target in panel["targets"]}
    assert asked == {source["uid"]}
    host, port = re.fullmatch(r"http://(\w+):(\d+)", source["url"]).groups()  # type: ignore[union-attr]
    services = load(ROOT / "docker-compose.yml")["services"]
    assert any(str(published).endswith(f":{port}") for published in services[host]["ports"])


def test_the_provider_reads_the_folder_that_compose_mounts() -> None:
    (provider,) = load(GRAFANA / "provisioning" / "dashboards" / "drcap.yml")["providers"]
    mounted = load(ROOT / "docker-compose.yml")["services"]["grafana"]["volumes"]
    assert f"./docker/grafana/dashboards:{provider['options']['path']}:ro" in mounted
