"""The page at ``/`` and its files under ``/static/``."""

from functools import cache

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

router = APIRouter(include_in_schema=False)

# The page uses only files from here, and nothing inline. Blobs are recordings that the visitor plays.
_POLICY = "; ".join(
    (
        "default-src 'self'",
        "media-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    # Names do not change with the content, so browsers revalidate their copy with its ETag at each use.
    "Cache-Control": "no-cache",
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@router.api_route("/", methods=["GET", "HEAD"])
async def index(request: Request) -> Response:
    """Return the page."""
    return await _file("index.html", request)


@router.api_route("/static/{path:path}", methods=["GET", "HEAD"])
async def static(path: str, request: Request) -> Response:
    """Return a file of the page. Raises the 404 of `StaticFiles` for any other path."""
    return await _file(path, request)


async def _file(path: str, request: Request) -> Response:
    answer = await _files().get_response(path, request.scope)
    answer.headers.update(_HEADERS)
    return answer


@cache
def _files() -> StaticFiles:
    return StaticFiles(packages=[("service", "static")])
