"""The page at ``/docs``: Swagger UI for the OpenAPI document. It loads nothing from other hosts."""

import hashlib
import re
from base64 import b64encode
from functools import cache

from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

router = APIRouter(include_in_schema=False)

_FILES = {"swagger-ui-bundle.js", "swagger-ui.css"}
_INLINE = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


@router.get("/docs")
async def documentation(request: Request) -> Response:
    """Return the page. Its policy allows the inline script by hash, and inline styles because Swagger UI sets them."""
    root = request.scope.get("root_path", "").rstrip("/")
    page: HTMLResponse = get_swagger_ui_html(
        openapi_url=f"{root}{request.app.openapi_url}",
        title=f"{request.app.title} API",
        swagger_js_url=f"{root}/docs/swagger-ui-bundle.js",
        swagger_css_url=f"{root}/docs/swagger-ui.css",
        swagger_favicon_url=f"{root}/static/favicon.svg",
    )
    scripts = " ".join(f"'sha256-{_hash(script)}'" for script in _INLINE.findall(bytes(page.body)))
    page.headers["Content-Security-Policy"] = (
        f"default-src 'self'; script-src 'self' {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
        " object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
    return page


@router.get("/docs/{name}")
async def documentation_file(name: str, request: Request) -> Response:
    """Return a file of Swagger UI. Browsers revalidate their copy with its ETag."""
    if name not in _FILES:
        raise HTTPException(404)
    answer = await _files().get_response(name, request.scope)
    answer.headers["Cache-Control"] = "no-cache"
    return answer


def _hash(script: bytes) -> str:
    return b64encode(hashlib.sha256(script).digest()).decode()


@cache
def _files() -> StaticFiles:
    return StaticFiles(packages=[("fastapi_offline", "static")])
