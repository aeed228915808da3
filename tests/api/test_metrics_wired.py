"""What happens in the service shows in its figures."""

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from datastores.base import DatastoreUnavailable, DomainVersion
from tests.api.conftest import CITY, serving
from tests.memory_store import MemoryStore
from tests.recordings import wav

pytestmark = pytest.mark.usefixtures("jobs_folder")


async def figures(client: httpx.AsyncClient) -> dict[tuple[str, str], float]:
    """Every value by its name and the values of its labels."""
    text = (await client.get("/metrics")).text
    return {
        (sample.name, " ".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_a_caption_shows_in_queues_tokens_and_its_domain(client: httpx.AsyncClient) -> None:
    (await client.post("/caption?domain=city", content=wav(2.0))).raise_for_status()
    shown = await figures(client)
    assert shown["drcap_captions_total", "city"] == 1
    assert shown["drcap_tokens_total", ""] > 0
    for queue in ("clap", "llm"):
        assert shown["drcap_queue_wait_seconds_count", queue] > 0
        assert shown["drcap_batch_size_sum", queue] > 0


async def test_a_service_that_is_ready_shows_its_model_and_domains(client: httpx.AsyncClient) -> None:
    shown = await figures(client)
    assert shown["drcap_ready", ""] == 1
    assert shown["drcap_domains", ""] == 2
    assert shown["drcap_domain_captions", "city"] == len(CITY)
    text = (await client.get("/metrics")).text
    samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
    (info,) = [one for one in samples if one.name == "drcap_model_info"]
    # Where the models run, not the wish for it in the settings.
    assert (info.labels["bundle"], info.labels["device"]) == ("fake", "cpu")


async def test_a_registration_shows_its_outcome_and_its_captions(client: httpx.AsyncClient) -> None:
    body = {"captions": ["a new bell", "an old bell"]}
    (await client.put("/domains/bells", params={"wait": "true"}, json=body)).raise_for_status()
    shown = await figures(client)
    assert shown["drcap_registrations_total", "succeeded"] == 1
    assert shown["drcap_registered_captions_total", "embedded"] == 2
    assert shown["drcap_jobs", "succeeded"] == 1
    assert shown["drcap_domains", ""] == 3


async def test_a_datastore_that_is_gone_shows_as_not_ready_and_as_errors(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(*_: object) -> list[DomainVersion]:
        raise DatastoreUnavailable("it does not answer")

    async with serving(store) as client:
        monkeypatch.setattr(store, "list", gone)
        assert (await client.get("/domains")).status_code == 503
        shown = await figures(client)
    assert shown["drcap_ready", ""] == 0
    assert shown["drcap_datastore_errors_total", ""] == 1


async def test_what_is_too_large_shows_as_a_rejection_and_a_probe_that_fails_does_not(
    client: httpx.AsyncClient,
) -> None:
    headers = {"Content-Length": str(10**12)}
    assert (await client.post("/caption?domain=city", content=b"x", headers=headers)).status_code == 413
    shown = await figures(client)
    assert shown["drcap_rejections_total", "too-large"] == 1
    assert shown["drcap_rejections_total", "not-ready"] == 0
