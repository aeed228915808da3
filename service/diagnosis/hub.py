"""The model hub: only asked where the bundle names something of it that is not on this machine, or where one wants."""

from collections.abc import Iterator

from service.diagnosis.bundle import look_at_bundle
from service.diagnosis.check import Finding, failure, ok, warning
from service.settings import Settings

NAME = "hub"
_SECONDS = 3.0


def look(settings: Settings, *, asked: bool = False) -> Iterator[Finding]:
    """Whether what the bundle needs of the hub can be had.

    Args:
        asked: look whether the hub can be reached even if nothing is needed of it.
    """
    from huggingface_hub import constants

    parts = look_at_bundle(settings).parts
    lacking = [f"{part.name} {part.source}" for part in parts if part.kind == "hub" and part.path is None]
    if not lacking and not asked:
        yield ok(NAME, "nothing is needed of it: every part is on this machine")
        return
    for one in lacking:
        yield warning(NAME, f"{one} is not in {constants.HF_HUB_CACHE}", "the first start fetches it; or name a folder")
    if constants.HF_HUB_OFFLINE:
        said = "HF_HUB_OFFLINE is set, so it is not asked"
        way = "unset HF_HUB_OFFLINE for the first start, or name folders on this machine in bundle.json"
        yield failure(NAME, f"{said}, and {', '.join(lacking)} cannot be had", way) if lacking else ok(NAME, said)
        return
    yield _reached(constants.ENDPOINT)


def _reached(endpoint: str) -> Finding:
    import httpx

    try:
        httpx.head(endpoint, timeout=_SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        said = f"{endpoint} cannot be reached: {str(error) or type(error).__name__}"
        way = "open a way to it (HTTPS_PROXY, HF_ENDPOINT), or name folders on this machine in bundle.json"
        return failure(NAME, said, way)
    return ok(NAME, f"{endpoint} answers")
