"""The port for operations, served beside the main one."""

import httpx
import pytest

from cli.common.service_process import free_port
from service.app import create_app
from service.runtime import Loaders
from service.settings import ServerSettings, Settings, SettingsError
from tests.api.conftest import reach, serving
from tests.fakes import FakeBundle
from tests.memory_store import MemoryStore
from tests.served import served


async def open_store(_: Settings) -> MemoryStore:
    return MemoryStore()


LOADERS = Loaders(lambda _: FakeBundle(), open_store)


async def test_figures_move_to_their_own_port_and_probes_answer_on_both(store: MemoryStore) -> None:
    port = free_port()
    async with (
        serving(store, settings=Settings(server=ServerSettings(ops_port=port))) as client,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as ops,
    ):
        await client.get("/domains")
        assert (await client.get("/metrics")).status_code == 404
        assert 'route="/domains",status="200"' in (await ops.get("/metrics")).text
        for path in ("/livez", "/readyz"):
            assert (await client.get(path)).status_code == 200
            assert (await ops.get(path)).status_code == 200
        for path in ("/domains", "/", "/docs", "/openapi.json"):
            missing = await ops.get(path)
            assert missing.status_code == 404
            assert missing.headers["x-content-type-options"] == "nosniff"


def test_both_ports_are_closed_when_the_service_ends() -> None:
    port = free_port()
    with served(create_app(Settings(server=ServerSettings(ops_port=port)), LOADERS)) as url:
        assert httpx.get(f"{url}/livez", trust_env=False).status_code == 200
        assert httpx.get(f"http://127.0.0.1:{port}/livez", trust_env=False).status_code == 200
    for address in (url, f"http://127.0.0.1:{port}"):
        with pytest.raises(httpx.ConnectError):
            httpx.get(address, trust_env=False)


async def test_a_port_that_is_taken_is_named_with_its_setting() -> None:
    port = free_port()
    taken = Settings(server=ServerSettings(ops_port=port))
    async with reach(create_app(taken, LOADERS)):
        with pytest.raises(SettingsError, match=f"DRCAP_SERVER__OPS_PORT: 127.0.0.1:{port} cannot be listened on"):
            async with reach(create_app(taken, LOADERS)):
                pass
