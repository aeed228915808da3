"""The documentation's page, which needs no other host."""

import base64
import hashlib
import re

import httpx


async def test_the_documentation_loads_nothing_from_other_hosts(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")
    assert "://" not in page.text
    for path in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        answer = await client.get(path)
        assert answer.status_code == 200, path
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_the_documentation_runs_its_own_scripts_only(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")
    policy = page.headers["content-security-policy"]
    (script,) = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'self' 'sha256-{digest}';" in policy
    assert "frame-ancestors 'none'" in policy


async def test_other_files_of_the_package_are_not_served(client: httpx.AsyncClient) -> None:
    for name in ("redoc.standalone.js", "..%2fcore.py", "none"):
        answer = await client.get(f"/docs/{name}")
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
    assert (await client.get("/redoc")).status_code == 404
