"""Checks the model hub, if the bundle names parts there that are not on this machine or the user asks for it."""

from collections.abc import Iterator

from service.diagnosis.bundle import look_at_bundle
from service.diagnosis.finding import Finding, failure, ok, warning
from service.settings import Settings

_SECONDS = 3.0


def look(settings: Settings, *, asked: bool = False) -> Iterator[Finding]:
    """Check that the hub can deliver the parts that are not on this machine.

    Args:
        settings: whose bundle is checked.
        asked: try to reach the hub even if the bundle needs nothing from it.
    """
    from huggingface_hub import constants

    parts = look_at_bundle(settings).parts
    lacking = [f"{part.name} {part.source}" for part in parts if part.kind == "hub" and part.path is None]
    if not lacking and not asked:
        yield ok("not needed: every part is on this machine")
        return
    for one in lacking:
        yield warning(f"{one} is not in {constants.HF_HUB_CACHE}", "the first start fetches it; or name a folder")
    if not constants.HF_HUB_OFFLINE:
        yield _reached(constants.ENDPOINT)
    elif lacking:
        said = f"HF_HUB_OFFLINE is set, so {', '.join(lacking)} cannot be fetched"
        yield failure(said, "unset HF_HUB_OFFLINE for the first start, or name local folders in bundle.json")
    else:
        yield ok("not asked: HF_HUB_OFFLINE is set")


def _reached(endpoint: str) -> Finding:
    import httpx

    try:
        httpx.head(endpoint, timeout=_SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        said = f"{endpoint} cannot be reached: {str(error) or type(error).__name__}"
        return failure(said, "allow access to it (HTTPS_PROXY, HF_ENDPOINT), or name local folders in bundle.json")
    return ok(f"{endpoint} answers")
